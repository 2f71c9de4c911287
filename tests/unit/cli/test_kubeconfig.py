"""The lab's kubeconfig is for one user and one lab, and in nobody's way."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lateral.cli.kubeconfig import written
from lateral.errors import ConfigurationError

CONFIG = {"apiVersion": "v1", "kind": "Config", "current-context": "lab"}


def test_only_the_user_can_read_it_and_it_goes_with_the_block(tmp_path: Path) -> None:
    wanted = tmp_path / "config"
    with written(CONFIG, wanted) as path:
        assert path == wanted
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert yaml.safe_load(path.read_text()) == CONFIG
    assert list(tmp_path.iterdir()) == []


def test_without_a_wish_each_lab_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with written(CONFIG, None) as one, written(CONFIG, None) as other:
        assert one != other
        assert one.parent == other.parent == tmp_path
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    ["", "apiVersion: v1\n", f"# written by lateral lab, process {os.getpid()}; it goes\n"],
    ids=["empty", "another's", "a running lab's"],
)
def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path, content: str) -> None:
    mine = tmp_path / "config"
    mine.write_text(content)
    with pytest.raises(ConfigurationError, match="neither overwrites nor merges"), written(CONFIG, mine):
        pass
    assert mine.read_text() == content


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="there already"), written(CONFIG, link):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_killed_lab_left_is_replaced(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / "config"
    left.write_text(f"# written by lateral lab, process {ended.pid}; it goes when that ends\n")
    with written(CONFIG, left) as path:
        assert yaml.safe_load(path.read_text()) == CONFIG


def test_a_file_that_took_its_place_is_not_removed(tmp_path: Path) -> None:
    wanted = tmp_path / "config"
    with written(CONFIG, wanted):
        (tmp_path / "new").write_text("somebody else's")
        (tmp_path / "new").rename(wanted)
    assert wanted.read_text() == "somebody else's"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match=r"can't be written to .*absent/config: No such file"),
        written(CONFIG, tmp_path / "absent/config"),
    ):
        pass
