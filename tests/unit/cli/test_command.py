"""The command line: mistakes are one line, and nothing was started by then."""

from __future__ import annotations

from pathlib import Path

import pytest

from lateral.cli import main
from lateral.providers import lab


@pytest.fixture(autouse=True)
def no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a lab was started")

    monkeypatch.setattr(lab, "_Process", refuse)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bare", "--policies", "tutorial"], "--policies are the shop's, and --bare is without it"),
        (["--policies", "typo"], "'typo' is neither a known policy set (kubernetes, tutorial, none) nor a file"),
        (["--policies", ""], "'' is neither a known policy set"),
        (["--policies", "/absent/file.yaml"], "policy file /absent/file.yaml does not exist"),
        (["--fault", "typo"], "the lab has no fault 'typo'; it has:"),
        (["--kubeconfig", "/absent/config"], "the kubeconfig can't be written to /absent/config: No such file"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", *arguments]) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"lateral: {said}")
    assert printed.err.count("\n") == 1


def test_a_kubeconfig_that_is_there_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "config"
    mine.write_text("mine")
    assert main(["lab", "--kubeconfig", str(mine)]) == 4
    assert "neither overwrites nor merges" in capsys.readouterr().err
    assert mine.read_text() == "mine"


def test_no_command_is_told_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err
