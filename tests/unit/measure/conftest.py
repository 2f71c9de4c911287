"""Sockets on loopback that behave in each way that a probe must tell apart."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lateral.waiting import until

LISTENER = Path(__file__).parents[3] / "manifests" / "rogue" / "listener.pl"


def _free(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _connects(port: int) -> bool | None:
    with socket.socket() as probe:
        return True if probe.connect_ex(("127.0.0.1", port)) == 0 else None


@pytest.fixture(scope="session")
def listener() -> Iterator[dict[str, int]]:
    """The suite's own listener, as its pods run it."""
    ports = {"http": _free(socket.SOCK_STREAM), "dns": _free(socket.SOCK_DGRAM)}
    perl = shutil.which("perl")
    assert perl is not None
    with subprocess.Popen([perl, LISTENER, f"http:{ports['http']}", f"dns:{ports['dns']}"]) as process:
        for port in ports.values():
            until("the listener", lambda port=port: _connects(port), timeout=10)  # type: ignore[misc]
        yield ports
        process.terminate()


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
