"""The JUnit report as a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lateral.reports.junit import Case, Report, Result, group, render, write

CASES = (
    Case("lateral.enforced.a", "passes", Result.PASSED, 0.5, "tests/test_a.py", 7, properties=(("lateral.flow", "a"),)),
    Case("lateral.enforced.a", "fails", Result.FAILURE, 0.25, text="EXPOSED a to b: open\n\nClaim: closed"),
    Case("lateral.enforced.a", "errs", Result.ERROR, 0.0, text="UNPROVEN a", output="more"),
    Case("lateral.enforced.a", "skips", Result.SKIPPED, 0.0, text="not here"),
)
REPORT = Report(CASES, "2025-01-01T00:00:00Z", 12.5, (("lateral.run", "4f1c2a"),))


def parse(text: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314  # our own text


def test_counts_and_properties() -> None:
    """The suite counts its cases by result, and carries the run's properties."""
    [suite] = parse(render(REPORT))
    counted = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time", "timestamp")}
    assert counted == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
        "time": "12.500",
        "timestamp": "2025-01-01T00:00:00Z",
    }
    properties = [(p.get("name"), p.get("value")) for p in suite.iterfind("properties/property")]
    assert properties == [("lateral.run", "4f1c2a")]


def test_cases() -> None:
    """A case has its name, place and time; what went wrong has its first line as the message and all of it inside."""
    passes, fails, errs, skips = parse(render(REPORT)).iter("testcase")
    assert passes.attrib == {
        "classname": "lateral.enforced.a",
        "name": "passes",
        "time": "0.500",
        "file": "tests/test_a.py",
        "line": "7",
    }
    assert [child.tag for child in passes] == ["properties"]
    failure = fails.find("failure")
    assert failure is not None
    assert (failure.get("message"), failure.text) == ("EXPOSED a to b: open", "EXPOSED a to b: open\n\nClaim: closed")
    assert [child.tag for child in errs] == ["error", "system-out"]
    assert errs.findtext("system-out") == "more"
    assert [child.tag for child in skips] == ["skipped"]


def test_group() -> None:
    """A group has exactly the dots that CI pages may split at."""
    assert group("enforced", "user-db.sock-shop:27017/TCP") == "lateral.enforced.user-db_sock-shop:27017/TCP"


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\ufffe", "\ud800"])
def test_what_xml_cannot_hold(character: str) -> None:
    """A character from a pod's output that XML can't hold doesn't spoil the report."""
    case = Case("g", "n", Result.ERROR, 0.0, text=f"<&>{character}\u00e9")
    [error] = parse(render(Report([case], "", 0.0))).iter("error")
    assert error.text == "<&>?\u00e9"


def test_write_replaces_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that can't be finished leaves the old one and nothing else."""
    path = tmp_path / "new" / "junit.xml"
    write(REPORT, path)
    assert path.read_bytes() == render(REPORT)
    monkeypatch.setattr("lateral.reports.junit.render", lambda _report: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(REPORT, path)
    assert path.read_bytes() == render(REPORT)
    assert [found.name for found in path.parent.iterdir()] == ["junit.xml"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_it_is_the_users_to_say(tmp_path: Path, umask: int, mode: int) -> None:
    """A report holds addresses and open paths: a strict umask counts for it, too."""
    before = os.umask(umask)
    try:
        write(REPORT, tmp_path / "junit.xml")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "junit.xml").stat().st_mode) == mode
