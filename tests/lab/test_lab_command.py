"""`lateral lab` as a person runs it: what it prints, what it shows, and how it ends."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import stat
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateral.cluster import Cluster
from lateral.model import ClusterFacts
from lateral.pods import is_ready
from lateral.resources import Run, load, template
from lateral.waiting import until

SECONDS = 60.0
END = 2.0
"""In which a lab has to be gone."""
FACTS = ClusterFacts("lab", "", "lab")
RUN = Run("cafe0002")


@dataclass
class Command:
    """A running `lateral lab`. `lines` grow as they are printed."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def read(self) -> None:
        assert self.process.stdout
        self.lines.extend(line.rstrip("\n") for line in self.process.stdout)

    def line(self, pattern: str) -> re.Match[str]:
        """The first line that matches, waited for."""

        def find() -> re.Match[str] | None:
            return next((found for line in list(self.lines) if (found := re.search(pattern, line))), None)

        return until(f"a line like {pattern}", find, timeout=SECONDS, state=lambda: "\n".join(self.lines))

    def kubeconfig(self) -> Path:
        return Path(self.line(r"^export KUBECONFIG=(.*)")[1])

    def cluster(self) -> Cluster:
        return Cluster.from_kubeconfig(yaml.safe_load(self.kubeconfig().read_text()), FACTS)

    def up(self) -> Command:
        self.line("Ctrl-C ends the lab")
        return self

    def end(self, how: Callable[[subprocess.Popen[str]], object]) -> int:
        how(self.process)
        return self.process.wait(END)


@contextmanager
def command(*arguments: str, env: dict[str, str] | None = None) -> Iterator[Command]:
    """In a session of its own, as in a terminal of its own."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "lateral", "lab", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(env or {})},
    ) as process:
        running = Command(process)
        reader = threading.Thread(target=running.read)
        reader.start()
        try:
            yield running
        finally:
            # Killed at once, it would leave its kubeconfig behind.
            process.terminate()
            try:
                process.wait(END)
            finally:
                process.kill()
                reader.join()


@pytest.fixture(scope="module")
def shop() -> Iterator[Command]:
    with command() as running:
        yield running.up()


@pytest.fixture(scope="module")
def rogue(shop: Command) -> Iterator[tuple[Cluster, str]]:
    """A cluster and a rogue's name in it."""
    with shop.cluster() as cluster:
        cluster.apply([RUN.stamp(template("rogue"), name="rogue-1", namespace="default")])

        def ready() -> bool | None:
            pod = cluster.get("v1", "Pod", "rogue-1", "default")
            return True if pod and is_ready(pod) else None

        until("the rogue", ready, timeout=SECONDS)
        yield cluster, "rogue-1"


def test_the_front_page_is_served_on_loopback(shop: Command) -> None:
    url = shop.line(r"^front page: (http://127\.0\.0\.1:\d+/) ")[1]
    with urllib.request.urlopen(f"{url}catalogue", timeout=10) as answer:  # noqa: S310 - what was printed
        assert answer.status == 200
        assert b"id" in answer.read()


def test_the_kubeconfig_is_the_users_own_and_leads_to_the_lab(shop: Command) -> None:
    assert stat.S_IMODE(shop.kubeconfig().stat().st_mode) == 0o600
    with shop.cluster() as cluster:
        assert cluster.get("v1", "Namespace", "sock-shop") is not None


def test_pods_policies_and_dropped_connections_are_shown(shop: Command, rogue: tuple[Cluster, str]) -> None:
    cluster, name = rogue
    shop.line(r"pod +default/rogue-1 created")
    shop.line(r"pod +default/rogue-1 ready")
    applied = cluster.apply(RUN.stamp(document) for document in load("policies/tutorial"))
    shop.line(r"policy +sock-shop/user-db-allow-from-user applied: isolates ingress of pods with name=user-db")
    _dial_in_vain(cluster, name)
    ends = r"default/rogue-1 to sock-shop/user-db-[a-z0-9-]+:27017/TCP"
    shop.line(rf"drop +{ends}: NetworkPolicy user-db-allow-from-user isolates the target's ingress")
    for document in applied:
        cluster.delete(document)
    shop.line(r"policy +sock-shop/user-db-allow-from-user removed")


def _dial_in_vain(cluster: Cluster, name: str) -> None:
    """Dial user-db until it doesn't answer any more."""
    script = "timeout 0.5 bash -c 'echo >/dev/tcp/user-db.sock-shop.svc.cluster.local/27017'"

    def closed() -> bool | None:
        return True if cluster.exec("default", name, ["bash", "-c", script]).failure else None

    until("the policy to be in force", closed, timeout=SECONDS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_when_told_and_takes_its_file_along(tmp_path: Path, number: signal.Signals) -> None:
    wanted = tmp_path / "config"
    with command("--bare", "--kubeconfig", str(wanted)) as running:
        assert running.up().kubeconfig() == wanted
        assert "front page" not in "\n".join(running.lines)
        assert running.end(lambda process: process.send_signal(number)) == 0
        assert not wanted.exists()
    assert running.lines[-1] == "the lab has ended"


def test_it_ends_when_it_is_told_while_it_starts(tmp_path: Path) -> None:
    with command(env={"XDG_RUNTIME_DIR": str(tmp_path)}) as running:
        running.line("lab up")
        # A shell says 130 of both: CPython ends by the signal where the interrupt had passed through an exec(), such as
        # makes every dataclass that is imported, though it was caught and 130 was to be returned.
        assert running.end(lambda process: process.send_signal(signal.SIGINT)) in (130, -signal.SIGINT)
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in "\n".join(running.lines)


def test_a_second_lab_is_another_cluster(shop: Command) -> None:
    with command("--bare") as other, shop.cluster() as first:
        with other.up().cluster() as second:
            assert other.kubeconfig() != shop.kubeconfig()
            assert second.get("v1", "Namespace", "sock-shop") is None
            second.apply([RUN.namespace("mine")])
            assert first.get("v1", "Namespace", "mine") is None
        assert other.end(lambda process: process.send_signal(signal.SIGINT)) == 0
        assert first.get("v1", "Namespace", "sock-shop") is not None


def test_a_lab_that_dies_is_told_in_one_line() -> None:
    with command("--bare") as running:
        running.up()
        (first,) = _children(running.process.pid)
        os.kill(first, signal.SIGKILL)
        assert running.process.wait(END) == 1
    assert running.lines[-1] == "lateral: the lab was killed by SIGKILL"


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def test_policies_can_be_in_force_from_the_start() -> None:
    with command("--policies", "kubernetes") as running, running.up().cluster() as cluster:
        running.line(r"policies applied: kubernetes \(\d+\)")
        found: list[dict[str, Any]] = cluster.list("networking.k8s.io/v1", "NetworkPolicy", "sock-shop")
        assert "default-deny" in {one["metadata"]["name"] for one in found}


def test_a_terminal_that_has_gone_ends_it() -> None:
    controller, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "lateral", "lab", "--bare"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        os.close(terminal)
        printed, deadline = b"", time.monotonic() + SECONDS
        while b"Ctrl-C ends the lab" not in printed and time.monotonic() < deadline:
            printed += os.read(controller, 4096)
        os.close(controller)
        try:
            process.wait(END)
        finally:
            process.kill()
    path = re.search(rb"export KUBECONFIG=(\S+)", printed)
    assert path
    assert not Path(path[1].decode()).exists()
