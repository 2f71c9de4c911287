"""`lateral clean`: mistakes are one line, nothing is deleted from a cluster that wasn't named, and it asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lateral import cli
from lateral.clean import Leftover
from lateral.cli.clean import seconds, table
from lateral.resources import Run

CONTEXT = {"name": "mine", "context": {"cluster": "c", "user": "u"}}


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    file = tmp_path / "config"
    file.write_text(json.dumps({"contexts": [CONTEXT], "current-context": "mine", "clusters": [], "users": []}))
    return str(file)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say whose leftovers: one of --run ID, --older-than DURATION, --all"),
        (["--all", "--run", "1f2e3d4c"], "say whose leftovers: one of --run ID"),
        (["--older-than", "2 hours"], "--older-than: '2 hours' is no duration: expected one such as 90m, 2h or 1d"),
        (["--run", "sock-shop"], "--run: 'sock-shop' is no run's id"),
        (["--run", ""], "--run: '' is no run's id"),
        (["--all"], "nobody can be asked here: give --yes to delete, or --dry-run to look"),
        (["--all", "--yes"], "attaching needs a context by name, never the current one: there are: mine"),
        (["--all", "--yes", "--context", "other"], "the kubeconfig has no context 'other'; there are: mine"),
        (["--all", "--yes", "--context", "mine", "--kubeconfig", "/absent"], "kubeconfig /absent can't be read"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    said: str,
    kubeconfig: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    assert cli.main(["clean", *arguments]) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("lateral: ")
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_a_cluster_that_is_away_is_asked_once_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not once for each kind."""
    away = {"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}
    user = {"name": "u", "user": {"token": "t"}}
    (tmp_path / "config").write_text(json.dumps({"contexts": [CONTEXT], "clusters": [away], "users": [user]}))
    where = ["--context", "mine", "--kubeconfig", str(tmp_path / "config")]
    assert cli.main(["clean", "--all", "--dry-run", *where]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("lateral: GET https://127.0.0.1:9/")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(("text", "expected"), [("45s", 45), ("90m", 5400), ("2h", 7200), ("1d", 86400)])
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


def test_the_table_says_what_goes() -> None:
    def leftover(kind: str, **metadata: Any) -> Leftover:
        stamped = Run("1f2e3d4c", "2026-01-01T00:00:00Z").stamp({"metadata": metadata})
        return Leftover({"kind": kind, **stamped})

    rows = table([leftover("Namespace", name="sock-shop"), leftover("Pod", name="rogue-1f2e3d4c", namespace="default")])
    assert rows[0].split() == ["KIND", "NAMESPACE", "NAME", "RUN", "AGE"]
    assert rows[1].split()[:3] == ["Namespace", "sock-shop", "1f2e3d4c"]
    assert rows[2].split()[:4] == ["Pod", "default", "rogue-1f2e3d4c", "1f2e3d4c"]
    assert all(row.endswith("d") for row in rows[1:])
    assert len({row.index("1f2e3d4c", 30) for row in rows[1:]}) == 1
