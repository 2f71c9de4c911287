"""A test item a flow, and the short fixtures that the claims are made with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lateral import journey, loot
from lateral.errors import UnprovenError
from lateral.model import Assessment, Finding, Flow, Verdict
from lateral.plugin.allowing import pass_over
from lateral.plugin.existing import exists, is_live
from lateral.plugin.options import topology
from lateral.plugin.recorder import claim
from lateral.reports.explanation import body
from lateral.verdict import untestable

if TYPE_CHECKING:
    from lateral.allowance import Allowance

TUTORIAL = (
    "rogue.default-to-user-db.sock-shop:27017/TCP",
    "user.sock-shop-to-user-db.sock-shop:27017/TCP",
)
"""The flows that the tutorial looks at."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What can't be measured makes no tests.

    Of most applications neither a journey nor what their data is are known, and where one is there already it is no
    business of a run's; policies that are there already had no before.
    """
    measured = topology(config)
    made = {
        "test_journey.py": bool(journey.steps(measured)) and not exists(config),
        "test_loot.py": loot.is_known(measured) and not exists(config),
        "test_baseline.py": not is_live(config),
        "test_established.py": not is_live(config),
    }
    return None if made.get(collection_path.name, True) else True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "flow" in metafunc.fixturenames:
        flows = topology(metafunc.config).flows()
        metafunc.parametrize("flow", [_parameter(flow) for flow in flows])


def _parameter(flow: Flow) -> object:
    marks = (pytest.mark.tutorial,) if flow.id in TUTORIAL else ()
    return pytest.param(flow, id=f"{flow.expectation}-{flow.id}", marks=marks)


@pytest.fixture
def finding(flow: Flow, lateral_findings: Mapping[str, Finding]) -> Finding:
    """The verdict on the item's flow, and what led to it."""
    return lateral_findings[flow.id]


@pytest.fixture
def explanation(finding: Finding, lateral_assessment: Assessment, request: pytest.FixtureRequest) -> str:
    """The finding in words, for whoever has to act on it."""
    return body(finding, lateral_assessment, claim(request.node))


@pytest.fixture
def proven(finding: Finding, explanation: str, lateral_allowance: Allowance, request: pytest.FixtureRequest) -> Finding:
    """A finding that says something; one that doesn't is an error, never a pass; a skip only where allowed."""
    if finding.flow.id in lateral_allowance.flows:
        pass_over(request.node, explanation)
    if finding.verdict is Verdict.UNPROVEN:
        raise UnprovenError(explanation)
    return finding


@pytest.fixture
def testable(finding: Finding, explanation: str) -> Finding:
    """A finding whose flow was fit to be tested before the policies."""
    reason = untestable(finding)
    if reason:
        flow = finding.flow
        raise UnprovenError(f"UNTESTABLE {flow.source.id} to {flow.target.id}: {reason}\n\n{explanation}")
    return finding
