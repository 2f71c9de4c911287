"""Sockets on loopback that behave in each way that a probe must tell apart."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from lateral.waiting import until

LISTENER = Path(__file__).parents[3] / "manifests" / "rogue" / "listener.pl"


def _free(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def listener() -> Iterator[dict[str, int]]:
    """The suite's own listener, as its pods run it."""
    perl = shutil.which("perl")
    assert perl is not None
    while True:
        ports = {"http": _free(socket.SOCK_STREAM), "dns": _free(socket.SOCK_DGRAM)}
        with subprocess.Popen([perl, LISTENER, *(f"{speaks}:{port}" for speaks, port in ports.items())]) as process:
            try:
                if _listens(process, tuple(ports.values())):
                    yield ports
                    return
            finally:
                process.terminate()


def _listens(process: subprocess.Popen[bytes], ports: Collection[int]) -> bool:
    """Whether it listens on them, once it does; not where somebody else came before it to a port that was free."""

    def listens() -> bool | None:
        return False if process.poll() is not None else all(map(_connects, ports)) or None

    return until("the listener", listens, timeout=10)


@pytest.fixture
def refusing() -> Iterator[int]:
    """A port that is taken but not listened on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that answers no SYN: its backlog is full."""
    with socket.socket() as full, socket.socket() as only:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        only.connect(full.getsockname())
        yield full.getsockname()[1]


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that accepts and never says anything."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield server.getsockname()[1]


@pytest.fixture
def deaf() -> Iterator[int]:
    """A UDP port whose owner never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as owner:
        owner.bind(("127.0.0.1", 0))
        yield owner.getsockname()[1]
