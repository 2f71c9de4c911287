"""Nothing of a lab outlives what started it, or itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lateral.errors import ConfigurationError, LateralError, ProviderError
from lateral.providers.faults import FAULTS
from lateral.providers.lab import check, lab

if TYPE_CHECKING:
    from lateral.cluster import Cluster

START_TIMEOUT = 60.0
SECONDS = 2.0
"""In which everything has to be gone."""

RUNNER = """
import sys, time
from lateral.providers.lab import lab
try:
    with lab():
        print("up", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


@dataclass(frozen=True)
class Tree:
    """A process that holds a lab, and what the lab consists of on the host. `first` is its first process."""

    runner: subprocess.Popen[bytes]
    first: int
    init: int
    processes: frozenset[tuple[int, str]]
    namespaces: frozenset[str]

    def left(self) -> list[str]:
        """Processes of the lab that still run, and namespaces that a process is still in.

        A process that was started since is another's: the kernel gives a namespace's number again.
        """
        processes = [f"process {pid}" for pid, started in self.processes if _started(pid) == started]
        newest = max(int(started) for _, started in self.processes)
        used = {name for pid in _processes() if int(_started(pid) or newest + 1) <= newest for name in _namespaces(pid)}
        return processes + sorted(self.namespaces & used)


@pytest.fixture
def tree() -> Iterator[Tree]:
    """A lab in a runner of its own, in a session of its own, as a terminal would start it."""
    mounts = Path("/proc/self/mountinfo").read_text()
    interfaces = Path("/proc/net/dev").read_text().count("\n")
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert runner.stdout
    with runner:
        assert runner.stdout.readline() == b"up\n"
        (first,) = _children(runner.pid)
        (init,) = _children(first)
        below = _descendants(runner.pid)
        own = set(_namespaces(os.getpid()))
        inside = {name for pid in below for name in _namespaces(pid)} - own
        assert len(inside) > 5
        yield Tree(runner, first, init, frozenset((pid, _started(pid)) for pid in below), frozenset(inside))
        runner.kill()
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert Path("/proc/net/dev").read_text().count("\n") == interfaces


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    """State, parent and so on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _started(pid: int) -> str:
    """When a process was started, in ticks; "" when it is gone, or dead and only not collected."""
    stat = _stat(pid)
    return stat[19] if stat and stat[0] not in "ZX" else ""


def _children(parent: int) -> list[int]:
    return [pid for pid in _processes() if _started(pid) and _stat(pid)[1:2] == [str(parent)]]


def _descendants(pid: int) -> list[int]:
    return [found for child in _children(pid) for found in (child, *_descendants(child))]


def _namespaces(pid: int) -> list[str]:
    names = []
    for kind in ("mnt", "net", "pid", "uts", "ipc", "user"):
        try:
            names.append(str(Path(f"/proc/{pid}/ns/{kind}").readlink()))
        except OSError:  # gone, or another user's
            continue
    return names


def _gone(tree: Tree) -> None:
    """Wait until nothing is left; fail with what is."""
    deadline = time.monotonic() + SECONDS
    left = tree.left()
    while left and time.monotonic() < deadline:
        left = tree.left()
    assert not left


@pytest.mark.parametrize("victim", ["runner", "first", "init"])
def test_killing_any_part_leaves_nothing(tree: Tree, victim: str) -> None:
    victims: dict[str, Callable[[], int]] = {
        "runner": lambda: tree.runner.pid,
        "first": lambda: tree.first,
        "init": lambda: tree.init,
    }
    os.kill(victims[victim](), signal.SIGKILL)
    _gone(tree)


def test_killing_the_runner_while_the_lab_starts_leaves_nothing() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", RUNNER], env=env, start_new_session=True) as runner:
            deadline = time.monotonic() + START_TIMEOUT
            while not _children(runner.pid) and time.monotonic() < deadline:
                pass
            runner.kill()
        deadline = time.monotonic() + SECONDS
        while _of_runner(runner.pid) and time.monotonic() < deadline:
            pass
        assert _of_runner(runner.pid) == []


def _of_runner(runner: int) -> list[int]:
    """The lab's processes, by the command line that all of them have."""
    return [pid for pid in _processes() if f"--starter\0{runner}\0" in _command_line(pid)]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_ctrl_c_leaves_nothing_and_the_runner_ends_in_its_own_way(tree: Tree) -> None:
    os.killpg(tree.runner.pid, signal.SIGINT)
    _gone(tree)
    assert tree.runner.wait(SECONDS) == 130


def test_a_runner_that_forked_takes_the_lab_along_all_the_same() -> None:
    """A process that inherits the lifeline and lives on must not keep the lab alive."""
    script = """
import os, sys, time
from lateral.providers.lab import lab
with lab():
    children = [pid for pid in os.listdir("/proc") if pid.isdigit()
                and open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1] == str(os.getpid())]
    print(*children, flush=True)
    if not os.fork():
        os.close(0); os.close(1); os.close(2)
        time.sleep(5)
        os._exit(0)
    os.kill(os.getpid(), 9)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=False)
    (first,) = map(int, done.stdout.split())
    _wait_until_dead(first)
    assert not _started(first)


def test_the_end_of_the_block_ends_the_lab() -> None:
    others = _descendants(os.getpid())
    with lab():
        below = set(_descendants(os.getpid())) - {*others}
        assert len(below) >= 3
    assert [pid for pid in below if _started(pid)] == []


def test_a_lab_that_died_is_reported_as_such() -> None:
    others = _children(os.getpid())
    with pytest.raises(ProviderError, match="the lab ended by itself"), lab():
        _kill_init(others)


def test_who_waits_for_a_lab_that_dies_is_told_at_once() -> None:
    """Without that, a run would spend minutes on retries before it said so."""
    others = _children(os.getpid())
    with pytest.raises(ProviderError, match="the lab ended by itself"), lab() as cluster:
        _ask_a_dying(cluster, others)


def _ask_a_dying(cluster: Cluster, others: list[int]) -> None:
    _kill_init(others)
    died = time.monotonic()
    for _ in range(10):
        with pytest.raises(LateralError):
            cluster.list("v1", "Pod", "default")
    assert time.monotonic() - died < SECONDS


def _kill_init(others: list[int]) -> None:
    """End the init of the lab whose first process isn't among these children."""
    (first,) = set(_children(os.getpid())) - {*others}
    (init,) = _children(first)
    os.kill(init, signal.SIGKILL)
    _wait_until_dead(first)


def _wait_until_dead(pid: int) -> None:
    deadline = time.monotonic() + SECONDS
    while _started(pid) and time.monotonic() < deadline:
        pass


def test_an_unknown_fault_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigurationError, match=r"no fault 'typo'; it has: .*ignore-policies"), lab("typo"):
        pass
    with pytest.raises(ConfigurationError, match="ignore-policies"):
        check("typo")


def test_a_cluster_says_in_words_what_it_was_told_to_do() -> None:
    with lab("rejects") as cluster:
        assert cluster.facts.note.endswith(f"; it was told to {FAULTS['rejects']}")


def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfigurationError, match="needs Linux"):
        check()


def test_this_machine_allows_a_lab() -> None:
    assert check() is None  # type: ignore[func-returns-value]
