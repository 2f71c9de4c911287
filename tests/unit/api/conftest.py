"""A server for each test."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from .served import Served, serve


@pytest.fixture
def served() -> Iterator[Served]:
    with serve() as running:
        yield running
    gc.collect()  # what a client left behind is this test's affair
