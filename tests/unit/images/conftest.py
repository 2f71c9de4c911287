"""Fixtures of the stand-ins' tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from .loopback import Loopback


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    network = Loopback()
    try:
        yield network
    finally:
        network.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Poll a condition until it holds, for a bounded time."""

    def wait(condition: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(200):
            if condition():
                return
            pause.wait(0.05)
        pytest.fail("what was awaited did not come within 10 s")

    return wait
