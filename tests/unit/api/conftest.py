"""A server for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .served import Served, serve


@pytest.fixture
def served() -> Iterator[Served]:
    with serve() as running:
        yield running
