"""Each way in which the lab can fail on purpose, seen through a whole measurement: what is wrong is found and named,
nothing that is open is called closed, and what is merely unusual passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from tests.faulty import NAMES, TRUTHS, Measured, measure

from lateral.model import Outcome, SourceKind, Trait, Verdict
from lateral.window import Window, judge_window, newcomers

SETTLE = 8.0
CONCURRENT = 4

Runs = Mapping[str, Future[Measured]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """A measurement under every fault, some at a time: they mostly wait."""
    folder = tmp_path_factory.mktemp("estate")
    with ThreadPoolExecutor(CONCURRENT) as pool:
        yield {name: pool.submit(measure, folder / name, name, SETTLE) for name in NAMES}


@pytest.fixture
def seen(runs: Runs, name: str) -> Measured:
    return runs[name].result()


def windows(seen: Measured) -> dict[str, Window]:
    """How long each attacker's new pod got through."""
    flows = [finding.flow for finding in seen.findings.values()]
    attackers = [flow.source for flow in flows if flow.source.kind is SourceKind.ROGUE]
    sources = dict.fromkeys(newcomers(attackers, flows))
    return {source: judge_window(seen.assessment, seen.findings, source) for source in sources}


def test_every_fault_is_known_here() -> None:
    """A fault of which nothing is said here could pass unseen."""
    assert set(TRUTHS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_verdicts(seen: Measured, name: str) -> None:
    """Every path that the fault leaves open is EXPOSED, no other is, and nothing is left undecided that needn't be."""
    truth = TRUTHS[name]
    assert not truth.wrong(seen)
    assert seen.having(Verdict.EXPOSED) >= seen.denied(truth.always)
    assert not truth.undecided(seen)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("leaky", "agent-dies", "one-node")])
def test_traits(seen: Measured, name: str) -> None:
    """A trait that the fault breaks is found missing, and no other."""
    expected = {**dict.fromkeys(Trait, Verdict.CONTAINED), **TRUTHS[name].traits}
    assert {check.trait: check.verdict for check in seen.assessment.traits} == expected


@pytest.mark.parametrize("name", [name for name in NAMES if not TRUTHS[name].unprovable and name != "new-pod-window"])
def test_no_window(seen: Measured, name: str) -> None:
    """Where no new pod is let through at first, none is said to have been."""
    truth = TRUTHS[name]
    for window in windows(seen).values():
        if not seen.denied(truth.sometimes) and not seen.denied(truth.always):
            assert window.verdict is Verdict.CONTAINED, window.reason


def _slow(seen: Measured) -> None:
    assert 4.5 <= seen.assessment.enforcement.seconds < SETTLE


def _rejects(seen: Measured) -> None:
    closed = {outcome for node in seen.assessment.enforcement.nodes.values() for outcome, _ in node.closed}
    assert closed
    assert Outcome.DROPPED not in closed


def _ignored(seen: Measured) -> None:
    assert seen.assessment.enforcement.ignored


def _leaky(seen: Measured) -> None:
    """Now and then: where even the canaries never held still, that is said; else every closed path says what leaked."""
    assert seen.having(Verdict.EXPOSED)
    enforcement = seen.assessment.enforcement
    told = [enforcement.detail] if not enforcement.proven else [f.reason for f in seen.findings.values()]
    assert any("policies leak" in words or "didn't hold" in words for words in told), told


def _portless(seen: Measured) -> None:
    assert not seen.assessment.enforcement.ignored
    assert "as if they named no ports" in seen.assessment.enforcement.detail


def _egress_only(seen: Measured) -> None:
    assert not seen.assessment.enforcement.ignored
    assert "not for ingress" in seen.assessment.enforcement.detail


def _died(seen: Measured) -> None:
    assert not seen.assessment.enforcement.proven
    assert "canary" in seen.assessment.enforcement.detail
    assert not [check for check in seen.assessment.traits if check.verdict is Verdict.EXPOSED]


def _one_node(seen: Measured) -> None:
    enforcement = seen.assessment.enforcement
    assert not enforcement.proven
    assert not enforcement.ignored
    assert "enforces no policy, while" in enforcement.detail


def _new_pod_window(seen: Measured) -> None:
    found = windows(seen)
    assert found["rogue.estate"].verdict is Verdict.EXPOSED
    assert 1.0 < found["rogue.estate"].seconds < 4.0
    assert found["rogue.default"].verdict is Verdict.CONTAINED


SAYINGS: Mapping[str, Callable[[Measured], None]] = {
    "slow-5s": _slow,
    "rejects": _rejects,
    "ignore-policies": _ignored,
    "leaky": _leaky,
    "ports-ignored": _portless,
    "egress-only": _egress_only,
    "agent-dies": _died,
    "one-node": _one_node,
    "new-pod-window": _new_pod_window,
}


@pytest.mark.parametrize("name", SAYINGS)
def test_what_is_said(seen: Measured, name: str) -> None:
    """The run says what the engine did."""
    SAYINGS[name](seen)


@pytest.mark.parametrize(
    ("name", "trait", "word"),
    [
        ("no-except", Trait.EXCEPTIONS, "except"),
        ("stale-labels", Trait.LABELS, "labels"),
        ("stale-update", Trait.UPDATES, "updated"),
        ("never-removed", Trait.REMOVALS, "deleted"),
    ],
)
def test_a_trait_is_named(seen: Measured, trait: Trait, word: str) -> None:
    """What a broken trait is about is said in words."""
    assert word in seen.trait(trait).detail
