"""A lab that enforces no policy, or only some, measured by someone who allows a cluster that enforces none."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests import estate

from lateral import application, run
from lateral.allowance import allowance
from lateral.policy import LIVE
from lateral.providers.lab import lab
from lateral.resources import Run
from lateral.verdict import judge

REASON = "not enforced: allowed by --lateral-allow-unenforced"
ALLOW = "--lateral-allow-unenforced"
IGNORING = ("--lateral-lab-fault", "ignore-policies")


def suite(folder: Path, *options: str) -> tuple[int, list[str], Counter[tuple[str, str]]]:
    """The suite on an estate: its status, what it said, and how many cases ended how in which phase."""
    estate.write(folder)
    words = ["--pyargs", "lateral.conformance", "-m", "lateral", "-ra", "--lateral-app", "topology.yaml"]
    policies = () if "--lateral-policies=none" in options else ("--lateral-policies=policies",)
    command = [sys.executable, "-m", "pytest", *words, *policies, "--lateral-settle", "4", *options]
    environ = {**os.environ, "PYTEST_ADDOPTS": ""}
    ran = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False)
    report = ElementTree.parse(folder / "reports" / "junit.xml")  # noqa: S314 - our own file
    ended: Counter[tuple[str, str]] = Counter()
    for case in report.iter("testcase"):
        found = [one for one in case if one.tag in ("failure", "error", "skipped")]
        ended[case.get("classname", "").split(".")[1], found[0].tag if found else "passed"] += 1
        assert all(one.get("message") == REASON for one in found if one.tag == "skipped")
    return ran.returncode, ran.stdout.splitlines(), ended


@pytest.mark.parametrize("distributed", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_nothing_fails_and_nothing_passes_for_closed(distributed: tuple[str, ...], tmp_path: Path) -> None:
    """The one line is said first, every test that needs policies is skipped with the reason, and the status is 0."""
    status, said, ended = suite(tmp_path, ALLOW, *IGNORING, *distributed)
    assert status == 0, said[-40:]
    summary = said[next(at for at, line in enumerate(said) if "= lateral =" in line) + 1 :]
    assert summary[0].startswith("this cluster does not enforce NetworkPolicy: ")
    assert summary[1].startswith(f"allowed by {ALLOW}: ")
    [counts] = [line for line in said if " flows: " in line]
    assert " 0 contained, " in counts
    assert " 0 preserved, " in counts
    assert set(ended) == {("baseline", "passed"), ("enforced", "passed"), ("enforced", "skipped")}
    # What became of connections from before is on record, and claims nothing of the policies.
    assert ended["enforced", "passed"] == 1
    assert f"{ended['enforced', 'skipped']} tests were skipped, {REASON}: nothing is proven by that" in said
    told = [re.match(rf"SKIPPED \[(\d+)\] .*: {REASON}$", line) for line in said]
    assert sum(int(found[1]) for found in told if found) == ended["enforced", "skipped"]


@pytest.mark.parametrize("fault", ["one-node", "ingress-only", "egress-only", "ports-ignored", "leaky"])
def test_a_cluster_that_enforces_in_part_fails_as_ever(fault: str, tmp_path: Path) -> None:
    """It isn't what was allowed: what is open there is open."""
    status, said, ended = suite(tmp_path, ALLOW, "--lateral-lab-fault", fault)
    assert status == 1
    assert not any(how == "skipped" for _, how in ended)
    assert any(line.startswith(ALLOW) for line in said)


def test_without_policies_what_is_open_fails_as_ever(tmp_path: Path) -> None:
    """Nothing would have closed it on any cluster."""
    status, said, ended = suite(tmp_path, ALLOW, *IGNORING, "--lateral-policies=none")
    assert status == 1
    assert ended["enforced", "failure"]
    assert ended["enforced", "skipped"]
    assert any(line.startswith("this cluster does not enforce NetworkPolicy: ") for line in said)


def test_a_cluster_that_enforces_is_judged_as_ever(tmp_path: Path) -> None:
    """That the option wasn't needed is said."""
    status, said, ended = suite(tmp_path, ALLOW)
    assert status == 0
    assert set(ended) == {("baseline", "passed"), ("enforced", "passed")}
    assert any(line.startswith(f"{ALLOW} wasn't needed: ") for line in said)


def test_unallowed_it_fails(tmp_path: Path) -> None:
    status, _, ended = suite(tmp_path, *IGNORING)
    assert status == 1
    assert not any(how == "skipped" for _, how in ended)


@pytest.mark.parametrize(("fault", "ignored"), [("ignore-policies", True), ("egress-only", False)])
def test_an_application_that_is_there_under_policies_that_are_enforced_in_part(
    fault: str, ignored: bool, tmp_path: Path
) -> None:
    """Without a time before the policies, a port that is closed to one and open to another shows that something is."""
    found = estate.write(tmp_path)
    theirs = [*application.documents(found.topology, Run("theirs")), *map(copy.deepcopy, found.policies.documents)]
    for document in theirs:
        document["metadata"].pop("labels", None)
        document["metadata"].pop("annotations", None)
    with lab(fault) as cluster:
        cluster.apply(theirs)
        application.wait_ready(cluster, found.topology, lambda _: None, time.monotonic())
        assessment = run.measure(
            cluster, found.topology, LIVE, progress=lambda _: None, settle=4.0, guest=run.Guest(), existing=True
        )
    assert not assessment.enforcement.proven
    assert assessment.enforcement.ignored == ignored
    assert ("something is enforced" in assessment.enforcement.detail) != ignored
    assert any(one.startswith("NetworkPolicy default-deny in estate") for one in assessment.standing)
    allowed = allowance(assessment, judge(assessment), given=True)
    assert allowed.holds == ignored
    assert bool(allowed.flows) == ignored
