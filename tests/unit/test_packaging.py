"""What is installed is what is in the tree: no package is forgotten, no file that it reads stays behind."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def setuptools() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    return table


def test_every_package_of_the_tree_is_listed(setuptools: dict[str, Any]) -> None:
    source = ROOT / "fixtures"
    found = {".".join(init.parent.relative_to(source).parts) for init in source.rglob("__init__.py")}
    assert found | {"lateral.conformance", "lateral.manifests"} == set(setuptools["packages"])


def test_every_file_that_is_not_python_is_shipped(setuptools: dict[str, Any]) -> None:
    for root in (ROOT / "fixtures/lateral", ROOT / "manifests", ROOT / "tests/conformance"):
        present = {
            path
            for path in root.rglob("*")
            if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts
        }
        assert present <= _shipped(setuptools)


def _shipped(setuptools: dict[str, Any]) -> set[Path]:
    found = set()
    for package, patterns in setuptools["package-data"].items():
        folder = ROOT / (setuptools["package-dir"].get(package) or f"fixtures/{package.replace('.', '/')}")
        found |= {path for pattern in patterns for path in folder.glob(pattern)}
    return found
