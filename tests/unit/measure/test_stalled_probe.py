"""The probes' scripts while they are starved, stopped and killed: what they didn't wait for is never a silence."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from lateral.model import Outcome, Protocol, Speaks, Via
from lateral.probe import Dial, Prober
from lateral.probe.marker import request
from lateral.waiting import until

from .local import local

LOOPBACK = "127.0.0.1"
CONNECT, REPLY = 0.6, 0.4
STOPPED = 0.9
SYN_SENT = "02"

INTERPRETERS = pytest.mark.parametrize("interpreter", ["perl", "bash"])

# Holds bash up just before it runs what the pattern describes: every bash that isn't interactive reads this first.
_BASH_TRAP = """set -T
trap 'if [[ $BASH_COMMAND == {pattern} && -z $held ]]; then held=yes; {how}; fi' DEBUG
"""
_BASH_PLACES = {"connect": "exec*/dev/tcp/*", "syswrite": r"printf\ \"*", "send": r"printf\ \"*"}

# The same for one of Perl's functions, from a module that is loaded first.
_PERL_MODULE = """package Held;
my $held;
sub hold { if (!$held++) { HOW } }
BEGIN {
    *CORE::GLOBAL::connect = sub (*$) { hold() if 'PLACE' eq 'connect'; CORE::connect($_[0], $_[1]) };
    *CORE::GLOBAL::send = sub (*$$;$) { hold() if 'PLACE' eq 'send'; CORE::send($_[0], $_[1], $_[2]) };
    *CORE::GLOBAL::syswrite = sub (*$;$$) {
        hold() if 'PLACE' eq 'syswrite';
        CORE::syswrite($_[0], $_[1], $_[2], $_[3]);
    };
}
1;
"""


def image(folder: Path, *tools: str) -> dict[str, str]:
    """The environment of a pod that has these programs only."""
    for tool in tools:
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    return dict(os.environ) | {"PATH": str(folder)}


def held_perl(folder: Path, place: str, how: str) -> dict[str, str]:
    """A pod whose Perl does something else before it calls a function for the first time."""
    (folder / "Held.pm").write_text(_PERL_MODULE.replace("PLACE", place).replace("HOW", how))
    return dict(os.environ) | {"PERL5OPT": f"-I{folder} -MHeld"}


def held_bash(folder: Path, place: str, how: str) -> dict[str, str]:
    """A pod whose bash does something else before it comes to the same."""
    (folder / "held").write_text(_BASH_TRAP.format(pattern=_BASH_PLACES[place], how=how))
    return image(folder, "bash", "dd") | {"BASH_ENV": str(folder / "held")}


def held(interpreter: str, folder: Path, place: str, seconds: float) -> dict[str, str]:
    """A pod with one interpreter, that isn't let run for so long before it calls something for the first time."""
    if interpreter == "perl":
        return held_perl(folder, place, f"select undef, undef, undef, {seconds}")
    return held_bash(folder, place, f"read -t {seconds} -u 9 9<> <(:)")


def plain(interpreter: str, folder: Path) -> dict[str, str]:
    return dict(os.environ) if interpreter == "perl" else image(folder, "bash", "dd")


def dial(port: int, speaks: Speaks = Speaks.HTTP, *, intended: bool = False) -> Dial:
    return Dial(LOOPBACK, port, Protocol.TCP, speaks, Via.POD, intended=intended)


def prober(env: Mapping[str, str], connect: float = CONNECT) -> Prober:
    return Prober(local(env)[0], connect_timeout=connect, reply_timeout=REPLY)


def connecting(port: int) -> int:
    """How many sockets have sent a SYN to a port that wasn't answered."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(line[2].endswith(f":{port:04X}") and line[3] == SYN_SENT for line in lines)


def processes() -> dict[int, tuple[int, int]]:
    """Parent and session of every process that isn't a zombie."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(") ")
        except OSError:
            continue
        state, parent, _, session, *_ = rest.split()
        if state not in "ZX":
            found[int(name.split()[0])] = int(parent), int(session)
    return found


def descendants() -> set[int]:
    found, parents = {os.getpid()}, processes()
    while more := {pid for pid, (parent, _) in parents.items() if parent in found} - found:
        found |= more
    return found


def test_a_bash_that_never_came_to_dial_is_inconclusive(listener: dict[str, int], tmp_path: Path) -> None:
    """It said that it was about to, and was stopped: nobody has dialled, so nobody was silent."""
    env = held_bash(tmp_path, "connect", "kill -STOP $BASHPID")
    before = descendants()
    [sample] = prober(env).probe("default", "here", [dial(listener["http"])])
    assert sample.outcome is Outcome.INCONCLUSIVE, sample
    assert "the probe stalled: it was not seen to dial" in sample.detail
    assert until("the probe's processes to end", lambda: descendants() <= before or None, timeout=5)


@INTERPRETERS
def test_a_silence_counts_from_the_moment_of_the_dial(interpreter: str, silent: int, tmp_path: Path) -> None:
    """Who comes late to dial waits as long as anybody, and tells when that was."""
    epoch = time.monotonic()
    [sample] = prober(held(interpreter, tmp_path, "connect", 0.4)).probe("default", "here", [dial(silent)], epoch)
    assert sample.outcome is Outcome.DROPPED, sample
    assert sample.at >= 0.4
    assert time.monotonic() - epoch >= 0.4 + CONNECT


@INTERPRETERS
def test_the_silence_of_a_datagram_counts_from_its_sending(interpreter: str, deaf: int, tmp_path: Path) -> None:
    datagram = Dial(LOOPBACK, deaf, Protocol.UDP, Speaks.DNS, Via.POD)
    epoch = time.monotonic()
    [sample] = prober(held(interpreter, tmp_path, "send", 0.4)).probe("default", "here", [datagram], epoch)
    assert sample.outcome is Outcome.DROPPED, sample
    assert sample.at >= 0.4
    assert time.monotonic() - epoch >= 0.4 + CONNECT


@INTERPRETERS
def test_a_reply_is_waited_for_though_it_was_asked_for_late(
    interpreter: str, listener: dict[str, int], tmp_path: Path
) -> None:
    env = held(interpreter, tmp_path, "syswrite", 2 * REPLY)
    [sample] = prober(env).probe("default", "here", [dial(listener["http"], intended=True)])
    assert (sample.outcome, sample.replied) == (Outcome.OPEN, True), sample


@INTERPRETERS
def test_a_reply_that_is_missing_after_a_stall_breaks_no_intended_path(
    interpreter: str, mute: int, tmp_path: Path
) -> None:
    """That it connected is still enough to show a path open that should be closed."""
    env = held(interpreter, tmp_path, "syswrite", 2 * REPLY)
    [denied] = prober(env).probe("default", "here", [dial(mute)])
    assert (denied.outcome, denied.replied) == (Outcome.OPEN, False), denied
    [intended] = prober(env).probe("default", "here", [dial(mute, intended=True)])
    assert intended.outcome is Outcome.INCONCLUSIVE
    assert intended.detail == "connected, but the probe stalled while it waited for the reply"


@INTERPRETERS
def test_a_probe_that_was_stopped_while_it_waited_is_inconclusive(
    interpreter: str, silent: int, tmp_path: Path
) -> None:
    before, waiting = descendants(), connecting(silent)

    def stop() -> None:
        until("the probe to dial", lambda: connecting(silent) > waiting or None, timeout=10, interval=0.01)
        stopped = descendants() - before
        for number, seconds in ((signal.SIGSTOP, STOPPED), (signal.SIGCONT, 0.0)):
            for pid in stopped:
                os.kill(pid, number)
            threading.Event().wait(seconds)

    stopper = threading.Thread(target=stop)
    stopper.start()
    [sample] = prober(plain(interpreter, tmp_path), connect=3.0).probe("default", "here", [dial(silent)])
    stopper.join()
    # What told nothing was dialled once more, and has waited as long as it should behind the stop.
    assert sample.outcome is Outcome.INCONCLUSIVE or sample.at >= STOPPED, sample
    assert sample.outcome is not Outcome.INCONCLUSIVE or "the probe stalled" in sample.detail


def test_perl_looks_at_those_that_wait_though_many_are_still_to_be_started(silent: int, tmp_path: Path) -> None:
    env = held_perl(tmp_path, "connect", "$held = 0; select undef, undef, undef, 0.02")
    samples = prober(env).probe("default", "here", [dial(silent) for _ in range(70)])
    assert {sample.outcome for sample in samples} == {Outcome.DROPPED}, samples[0]


def test_a_pod_that_gives_no_socket_says_nothing_of_the_path(silent: int, tmp_path: Path) -> None:
    (tmp_path / "Held.pm").write_text(
        "package Held; use Errno; BEGIN { *CORE::GLOBAL::socket = sub (*$$$) { $! = Errno::EACCES; 0 } } 1;"
    )
    env = dict(os.environ) | {"PERL5OPT": f"-I{tmp_path} -MHeld"}
    [sample] = prober(env).probe("default", "here", [dial(silent)])
    assert sample.outcome is Outcome.INCONCLUSIVE
    assert "no socket" in sample.detail


def test_bash_dials_over_tcp_with_nothing_beside_it(listener: dict[str, int], tmp_path: Path) -> None:
    """What else it would need it names, and makes no verdict of."""
    datagram = Dial(LOOPBACK, listener["dns"], Protocol.UDP, Speaks.DNS, Via.POD)
    samples = prober(image(tmp_path, "bash")).probe("default", "here", [dial(listener["http"]), datagram])
    assert [(one.outcome, one.replied) for one in samples] == [(Outcome.OPEN, True), (Outcome.INCONCLUSIVE, False)]
    assert "has no dd" in samples[1].detail


def test_more_dials_than_bash_makes_at_once_tell_when_they_began(silent: int, tmp_path: Path) -> None:
    samples = prober(image(tmp_path, "bash")).probe("default", "here", [dial(silent) for _ in range(80)])
    assert {sample.outcome for sample in samples} <= {Outcome.DROPPED, Outcome.INCONCLUSIVE}, samples
    first = min(sample.at for sample in samples)  # the probe dials again what a busy machine kept from telling
    assert len([sample for sample in samples if sample.at - first >= CONNECT]) >= 80 - 64


def test_a_dial_ends_though_it_heeds_no_signal(silent: int, tmp_path: Path) -> None:
    (tmp_path / "held").write_text("trap '' TERM INT HUP\n")
    env = image(tmp_path, "bash") | {"BASH_ENV": str(tmp_path / "held")}
    before = descendants()
    samples = prober(env).probe("default", "here", [dial(silent) for _ in range(3)])
    assert {sample.outcome for sample in samples} == {Outcome.DROPPED}, samples
    assert until("the probe's processes to end", lambda: descendants() <= before or None, timeout=5)


@pytest.mark.parametrize("end", ["killed", "unheard"])
def test_nothing_outlives_a_bash(end: str, silent: int, refusing: int, tmp_path: Path) -> None:
    """Neither when it is killed nor when nobody reads what it writes, as after a connection was cut."""
    script = (resources.files("lateral.probe") / "dial.sh").read_text(encoding="utf-8")
    waiting = connecting(silent)
    env = image(tmp_path, "bash")
    late = replace(dial(refusing), delay=1.0)
    with subprocess.Popen(
        [tmp_path / "bash", "-s", "--", "n0", "60", "60"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write((script + request("n0", [*(dial(silent) for _ in range(10)), late])).encode())
        process.stdin.flush()
        until("all to dial", lambda: connecting(silent) - waiting >= 10 or None, timeout=10, interval=0.01)
        if end == "killed":
            process.kill()
        process.stdout.close()

    def ended() -> bool | None:
        return all(session != process.pid for _, session in processes().values()) or None

    assert until("the probe's processes to end", ended, timeout=5)
