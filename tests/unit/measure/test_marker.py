"""The marker protocol: nothing but a whole, well-formed answer to this very exec is believed."""

from __future__ import annotations

import pytest

from lateral.model import Outcome, Protocol, Speaks, Via
from lateral.probe.marker import Dial, ProbeError, parse, request

WHOLE = b"n0 1 ECONNREFUSED 500.00 0.50 -\nn0 0 ok 0.00 1.25 2b50\nn0 END 2 502.50\n"


def test_results_come_back_in_the_order_of_the_request() -> None:
    report = parse("n0", 2, WHOLE)
    first, second = report.results
    assert (first.began, second.began, report.elapsed) == (0.0, 0.5, 0.5025)
    assert (first.outcome, first.milliseconds, first.reply) == (Outcome.OPEN, 1.25, b"+P")
    assert (second.outcome, second.reply) == (Outcome.REFUSED, b"")


def test_a_terminals_line_ends_are_understood() -> None:
    assert parse("n0", 2, WHOLE.replace(b"\n", b"\r\n")) == parse("n0", 2, WHOLE)


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(WHOLE[:-1], id="last line cut"),
        pytest.param(WHOLE.rpartition(b"n0 END")[0], id="no end"),
        pytest.param(WHOLE[:12], id="cut within a result"),
        pytest.param(b"n0 0 ok 0.00 1.25 -\nn0 END 1 2.00\n", id="fewer than asked for"),
        pytest.param(b"n0 0 ok 0.00 1.25 -\nn0 END 2 2.00\n", id="a result is missing"),
        pytest.param(b"n0 0 ok 0.00 1.25 -\nn0 0 ok 0.00 1.25 -\nn0 END 2 2.00\n", id="a result twice"),
        pytest.param(b"n0 0 ok 0.00 1.25 -\nn0 2 ok 0.00 1.25 -\nn0 END 2 2.00\n", id="a result never asked for"),
        pytest.param(WHOLE.replace(b"n0 1", b"n1 1"), id="another nonce in a result"),
        pytest.param(WHOLE.replace(b"n0 END", b"n1 END"), id="another nonce at the end"),
        pytest.param(b"warning: locale\n" + WHOLE, id="a foreign line"),
        pytest.param(WHOLE + b"n0 END 2 2.00\n", id="two ends"),
        pytest.param(WHOLE.replace(b"ECONNREFUSED", b"closed"), id="an unknown result"),
        pytest.param(WHOLE.replace(b" 1.25", b" -1.25"), id="a negative time"),
        pytest.param(WHOLE.replace(b"2b50", b"2b5"), id="half a byte"),
        pytest.param(WHOLE.replace(b" 2b50", b""), id="a field is missing"),
        pytest.param(b"\xff" + WHOLE, id="not ASCII"),
    ],
)
def test_anything_else_is_refused(output: bytes) -> None:
    with pytest.raises(ProbeError):
        parse("n0", 2, output)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        ("timeout", Outcome.DROPPED),
        ("ETIMEDOUT", Outcome.DROPPED),
        ("ECONNREFUSED", Outcome.REFUSED),
        ("EHOSTUNREACH", Outcome.UNREACHABLE),
        ("ENETUNREACH", Outcome.UNREACHABLE),
        ("EPERM", Outcome.UNREACHABLE),
        ("EACCES", Outcome.UNREACHABLE),
        ("EMFILE", Outcome.INCONCLUSIVE),
        ("EOTHER", Outcome.INCONCLUSIVE),
        ("stalled", Outcome.INCONCLUSIVE),
        ("unable", Outcome.INCONCLUSIVE),
        ("unheard", Outcome.OPEN),
    ],
)
def test_an_errno_means_what_the_network_did_or_nothing(result: str, outcome: Outcome) -> None:
    [parsed] = parse("n0", 1, f"n0 0 {result} 0.0 1.0 -\nn0 END 1 2.00\n".encode()).results
    assert parsed.outcome is outcome


def test_a_request_ends_with_its_count() -> None:
    dial = Dial("10.0.0.1", 6379, Protocol.TCP, Speaks.REDIS, Via.SERVICE, delay=0.2)
    greeted = Dial("10.0.0.2", 3306, Protocol.TCP, Speaks.MYSQL, Via.POD)
    assert request("n0", [dial, greeted]).splitlines() == [
        "n0 0 200 10.0.0.1 6379 tcp 0 1 50494e470d0a",
        "n0 1 0 10.0.0.2 3306 tcp 0 5 -",
        "n0 END 2",
    ]
