"""A clone's own rules: bare `pytest` runs the project's tests, `pytest -m lateral` the suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from lateral.plugin.collection import wants_lateral

# The entry point's name, so that an installed package isn't registered twice.
pytest_plugins = ["lateral.plugin"]

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Without a path, -m decides what is collected: neither half has to import the other's tests."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS and wants_lateral(config):
        config.args = [str(HERE / "tests" / "conformance")]
