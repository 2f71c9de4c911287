"""What pytest collects in a clone, with its conftest and its configuration."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[3]


@pytest.fixture
def clone(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder laid out like this repository, with one test of the project's own of each kind."""
    shutil.copy(ROOT / "conftest.py", pytester.path)
    shutil.copytree(ROOT / "tests" / "conformance", pytester.path / "tests" / "conformance")
    for kind in ("unit", "lab"):
        (pytester.path / "tests" / kind).mkdir()
        (pytester.path / "tests" / kind / f"test_{kind}.py").write_text("def test_own(): pass")
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\n" + "".join(f"{k} = {v!r}\n" for k, v in options.items()))
    return pytester


def collected(clone: pytest.Pytester, arguments: Sequence[str]) -> dict[str, int]:
    """How many items came from which folder under tests/, before -m deselects any."""
    items, _ = clone.inline_genitems(*arguments)
    folders = [item.path.parent.name for item in items]
    return {folder: folders.count(folder) for folder in sorted(set(folders))}


@pytest.mark.parametrize(
    ("arguments", "folders"),
    [
        pytest.param([], {"lab": 1, "unit": 1}, id="bare"),
        pytest.param(["-m", "lateral"], {"conformance": 751}, id="-m lateral"),
        pytest.param(["-m", "tutorial"], {"conformance": 751}, id="-m tutorial"),
        pytest.param(["-m", "not lateral"], {"lab": 1, "unit": 1}, id="-m not lateral"),
        pytest.param(["tests/conformance/test_enforced.py"], {"conformance": 357}, id="a path of the suite"),
        pytest.param(["tests/lab"], {"lab": 1}, id="another path"),
        pytest.param(["-m", "lateral", "tests"], {"conformance": 751, "lab": 1, "unit": 1}, id="all paths with -m"),
    ],
)
def test_collection(clone: pytest.Pytester, arguments: Sequence[str], folders: dict[str, int]) -> None:
    """Bare pytest takes the project's own tests, -m lateral the suite, and explicit paths are taken as they are."""
    assert collected(clone, arguments) == folders


@pytest.mark.parametrize("option", ["--lateral-reports", "--lateral-policies"])
def test_folder_as_an_option(clone: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory, option: str) -> None:
    """An existing folder as an option's value is neither taken for the project's root nor collected."""
    elsewhere = str(tmp_path_factory.mktemp("elsewhere"))
    assert collected(clone, ["-m", "lateral", option, elsewhere]) == {"conformance": 751}
    result = clone.runpytest("--collect-only", "-q", "-m", "tutorial", option, elsewhere)
    result.stdout.fnmatch_lines(["tests/conformance/test_loot.py::test_rogue_reads_nothing"])
    result = clone.runpytest("--collect-only", option, elsewhere, "tests/unit")
    result.stdout.fnmatch_lines(["*1 test collected*"])
