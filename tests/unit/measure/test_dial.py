"""The probes' scripts, run for real against sockets that are open, refusing, silent and mute."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from lateral.model import Outcome, Protocol, Sample, Speaks, Via
from lateral.probe import Dial, Prober

from .local import LocalApi, local

LOOPBACK = "127.0.0.1"


@pytest.fixture(params=["perl", "perl without Time::HiRes", "bash"])
def prober(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Prober, LocalApi]:
    """A prober in a pod that has what the parameter says."""
    env = dict(os.environ)
    if request.param == "perl without Time::HiRes":
        (tmp_path / "Time").mkdir()
        (tmp_path / "Time" / "HiRes.pm").write_text("die 'not in this image';\n")
        env["PERL5LIB"] = str(tmp_path)
    elif request.param == "bash":
        for tool in ("bash", "dd"):
            found = shutil.which(tool)
            assert found is not None
            (tmp_path / tool).symlink_to(found)
        env["PATH"] = str(tmp_path)
    cluster, api = local(env)
    api.expected = ["perl", "bash", "bash"] if request.param == "bash" else ["perl", "perl"]
    return Prober(cluster, connect_timeout=0.6, reply_timeout=0.4), api


def dial(port: int, speaks: Speaks, protocol: Protocol = Protocol.TCP, address: str = LOOPBACK) -> Dial:
    return Dial(address, port, protocol, speaks, Via.POD)


def seen(samples: list[Sample]) -> list[tuple[Outcome, bool]]:
    return [(sample.outcome, sample.replied) for sample in samples]


def test_one_exec_tells_every_kind_of_address_apart(
    prober: tuple[Prober, LocalApi],
    listener: dict[str, int],
    refusing: int,
    silent: int,
    mute: int,
    deaf: int,
) -> None:
    samples = prober[0].probe(
        "default",
        "here",
        [
            dial(listener["http"], Speaks.HTTP),
            dial(listener["dns"], Speaks.DNS, Protocol.UDP),
            dial(listener["dns"], Speaks.DNS, Protocol.TCP),
            dial(refusing, Speaks.HTTP),
            dial(silent, Speaks.HTTP),
            dial(mute, Speaks.MYSQL),
            dial(deaf, Speaks.DNS, Protocol.UDP),
            dial(refusing, Speaks.DNS, Protocol.UDP),
            dial(80, Speaks.HTTP, address="255.255.255.255"),
        ],
    )
    assert seen(samples) == [
        (Outcome.OPEN, True),
        (Outcome.OPEN, True),
        (Outcome.OPEN, True),
        (Outcome.REFUSED, False),
        (Outcome.DROPPED, False),
        (Outcome.OPEN, False),
        (Outcome.DROPPED, False),
        (Outcome.REFUSED, False),
        (Outcome.UNREACHABLE, False),
    ], samples
    assert samples[4].milliseconds >= 590
    assert samples[0].milliseconds < 590


def test_a_delayed_dial_starts_late_and_all_dials_share_the_timeout(
    prober: tuple[Prober, LocalApi], listener: dict[str, int], silent: int
) -> None:
    late = Dial(LOOPBACK, listener["http"], Protocol.TCP, Speaks.HTTP, Via.POD, delay=0.3)
    *silence, last = prober[0].probe("default", "here", [*(dial(silent, Speaks.HTTP) for _ in range(20)), late])
    assert seen([last]) == [(Outcome.OPEN, True)]
    # A machine that is too busy can't tell of some of so many, and says so.
    assert Outcome.DROPPED in {sample.outcome for sample in silence} <= {Outcome.DROPPED, Outcome.INCONCLUSIVE}


def test_the_interpreter_is_found_out_once(prober: tuple[Prober, LocalApi], listener: dict[str, int]) -> None:
    for _ in range(2):
        assert seen(prober[0].probe("default", "here", [dial(listener["http"], Speaks.HTTP)])) == [(Outcome.OPEN, True)]
    assert [command[0] for command in prober[1].commands] == prober[1].expected


def test_a_pod_without_any_interpreter_is_inconclusive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    cluster, _ = local()
    [sample] = Prober(cluster).probe("default", "here", [dial(80, Speaks.HTTP)])
    assert sample.outcome is Outcome.INCONCLUSIVE
    assert "the pod has neither Perl nor bash" in sample.detail
    assert "executable file not found" in sample.detail


def test_a_script_that_dies_is_inconclusive_whatever_it_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    perl = tmp_path / "perl"
    perl.write_text("#!/bin/sh\necho $2 0 ok 0 1.0 -\nexit 3\n")
    perl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    cluster, _ = local()
    [sample] = Prober(cluster).probe("default", "here", [dial(80, Speaks.HTTP)])
    assert sample.outcome is Outcome.INCONCLUSIVE
    assert "exit code 3" in sample.detail


@pytest.mark.parametrize(
    ("milliseconds", "outcome"),
    [(1900, Outcome.INCONCLUSIVE), (2000, Outcome.DROPPED), (2400, Outcome.DROPPED), (4000, Outcome.INCONCLUSIVE)],
)
def test_a_silence_that_wasnt_waited_for_in_time_is_inconclusive(
    milliseconds: int, outcome: Outcome, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    perl = tmp_path / "perl"
    perl.write_text(f"#!/bin/sh\necho $2 0 timeout 0 {milliseconds} -\necho $2 END 1 {milliseconds}\n")
    perl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    cluster, _ = local()
    [sample] = Prober(cluster, connect_timeout=2.0).probe("default", "here", [dial(80, Speaks.HTTP)])
    assert sample.outcome is outcome
    assert (f"the probe stalled: it waited {milliseconds} ms" in sample.detail) == (outcome is Outcome.INCONCLUSIVE)


def test_more_dials_than_descriptors_take_turns(listener: dict[str, int], silent: int) -> None:
    """Where a pod may open few sockets its dials wait for each other, and no limit passes for a closed path."""
    cluster, _ = local()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        samples = Prober(cluster, connect_timeout=0.6, reply_timeout=0.4).probe(
            "default", "here", [dial(port, Speaks.HTTP) for _ in range(150) for port in (listener["http"], silent)]
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert seen(samples) == [(Outcome.OPEN, True), (Outcome.DROPPED, False)] * 150


def test_many_dials_at_once_share_one_timeout(silent: int) -> None:
    """A closed path costs its timeout once, however many are dialled."""
    cluster, _ = local()
    prober = Prober(cluster, connect_timeout=0.6, reply_timeout=0.4)
    samples = prober.probe("default", "here", [dial(silent, Speaks.HTTP) for _ in range(1600)])
    assert {sample.outcome for sample in samples} == {Outcome.DROPPED}
    assert max(sample.at for sample in samples) - min(sample.at for sample in samples) < 0.6


def test_times_count_from_the_epoch_and_are_never_too_early(listener: dict[str, int]) -> None:
    """A sample's time is when its dial began, or a little later, on the caller's clock, to a thousandth."""
    cluster, _ = local()
    late = Dial(LOOPBACK, listener["http"], Protocol.TCP, Speaks.HTTP, Via.POD, delay=0.4)
    epoch = time.monotonic()
    first, second = Prober(cluster).probe("default", "here", [dial(listener["http"], Speaks.HTTP), late], epoch)
    ended = time.monotonic() - epoch
    assert 0.0 < first.at < second.at < ended + 0.001
    assert second.at - first.at >= 0.39


def test_datagrams_come_from_ports_of_their_own(listener: dict[str, int]) -> None:
    """What was once answered is let through for a while: no dial may pass for an earlier one."""
    cluster, api = local()
    prober = Prober(cluster)
    for _ in range(2):
        prober.probe("default", "here", [dial(listener["dns"], Speaks.DNS, Protocol.UDP) for _ in range(3)])
    assert len(set(api.origins)) == 6


@contextlib.contextmanager
def tls(version: ssl.TLSVersion, ciphers: str = "DEFAULT") -> Iterator[int]:
    """A port of a TLS server that speaks one version of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    trustme.CA().issue_cert("here.test").configure_cert(context)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError), context.wrap_socket(self.request, server_side=True):
                pass

    with socketserver.ThreadingTCPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_whatever_a_tls_server_makes_of_the_hello_is_a_reply(prober: tuple[Prober, LocalApi]) -> None:
    """It may go on, in any version, or raise an alert, as where it has no cipher in common."""
    with (
        tls(ssl.TLSVersion.TLSv1_3) as new,
        tls(ssl.TLSVersion.TLSv1_2) as old,
        tls(ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-CHACHA20-POLY1305") as odd,
    ):
        samples = prober[0].probe("default", "here", [dial(port, Speaks.TLS) for port in (new, old, odd)])
    assert [(one.outcome, one.replied, one.detail) for one in samples] == [
        (Outcome.OPEN, True, "TLS handshake"),
        (Outcome.OPEN, True, "TLS handshake"),
        (Outcome.OPEN, True, "TLS alert"),
    ]


def test_a_connection_is_all_that_is_asked_of_an_unknown_protocol(
    prober: tuple[Prober, LocalApi], listener: dict[str, int], refusing: int, silent: int, mute: int
) -> None:
    """What stands counts whether anything is said or not; what is refused or dropped doesn't."""
    ports = (mute, listener["http"], refusing, silent)
    samples = prober[0].probe("default", "here", [dial(port, Speaks.TCP) for port in ports])
    assert seen(samples) == [
        (Outcome.OPEN, True),
        (Outcome.OPEN, True),
        (Outcome.REFUSED, False),
        (Outcome.DROPPED, False),
    ]
    assert samples[0].detail == "connected"


@pytest.mark.parametrize(
    ("stalls", "outcomes"),
    [(1, [Outcome.REFUSED, Outcome.OPEN]), (2, [Outcome.INCONCLUSIVE, Outcome.OPEN])],
    ids=["once", "again and again"],
)
def test_what_told_nothing_is_dialled_once_more(
    stalls: int, outcomes: list[Outcome], refusing: int, listener: dict[str, int], tmp_path: Path
) -> None:
    """A stall is no answer: only what stalled is dialled once more, and no answer ever is."""
    perl = shutil.which("perl")
    script = f"""#!/bin/sh
echo >>"$0.calls"
{perl} "$@" | if [ $(wc -l <"$0.calls") -le {stalls} ]; then sed 's/ 0 ECONNREFUSED / 0 stalled /'; else cat; fi
"""
    (tmp_path / "perl").write_text(script)
    (tmp_path / "perl").chmod(0o755)
    cluster, api = local({**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    asked = [dial(refusing, Speaks.HTTP), dial(listener["http"], Speaks.HTTP)]
    samples = Prober(cluster, connect_timeout=0.6, reply_timeout=0.4).probe("default", "here", asked)
    assert [sample.outcome for sample in samples] == outcomes
    assert len(api.commands) == 2
    assert b"".join(api.heard).decode().count(f"{LOOPBACK} {listener['http']} tcp") == 1


def test_every_dial_comes_from_a_port_of_its_own(listener: dict[str, int]) -> None:
    """What a kernel remembers of one connection must not carry another past the policies."""
    cluster, api = local()
    prober = Prober(cluster, connect_timeout=0.6, reply_timeout=0.4)
    for _ in range(2):
        prober.probe("default", "here", [dial(listener["http"], Speaks.HTTP)] * 20)
    lines = (line.split() for line in b"".join(api.heard).decode().splitlines())
    ports = [int(line[6]) for line in lines if len(line) == 9 and line[5] == "tcp"]
    assert len(set(ports)) == len(ports) == 40
    assert all(10_000 <= port <= 32_000 for port in ports)
