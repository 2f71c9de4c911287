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
    for package, patterns in setuptools["package-data"].items():
        where = setuptools["package-dir"].get(package) or f"fixtures/{package.replace('.', '/')}"
        shipped = {path for pattern in patterns for path in (ROOT / where).glob(pattern)}
        present = {
            path
            for path in (ROOT / where).rglob("*")
            if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
        }
        if package == "lateral":
            present = {path for path in present if path.parent == ROOT / where}
        assert present == shipped, package
