"""Whether the application goes on working: its own journey, step by step, in every phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lateral import journey
from lateral.continuity import judge_pods, judge_step, taken, untravelled
from lateral.errors import UnprovenError
from lateral.model import Assessment, JourneyStep, Phase, Verdict
from lateral.plugin.allowing import pass_over
from lateral.plugin.options import topology
from lateral.verdict import WHEN

if TYPE_CHECKING:
    from lateral.allowance import Allowance

# With the findings made, the run has its summary also where these items alone are selected.
pytestmark = [pytest.mark.tutorial, pytest.mark.usefixtures("lateral_findings")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """An item a phase and step."""
    if "step" in metafunc.fixturenames:
        steps = journey.steps(topology(metafunc.config))
        parameters = [
            pytest.param(phase, step, id=f"{phase}-{step}", marks=pytest.mark.lateral(phase=phase))
            for phase in Phase
            for step in steps
        ]
        metafunc.parametrize(("phase", "step"), parameters)


def _told(assessment: Assessment, step: str, verdict: Verdict, reason: str) -> str:
    """The verdict and what every phase saw, for whoever has to act on it."""
    seen = taken(assessment, step)
    lines = [f"Seen {WHEN[phase]}: {_seen(seen[phase])}" for phase in Phase]
    return "\n".join([f"{verdict} journey {step}: {reason}", "", *lines, f"Policies: {assessment.policies}"])


def _seen(step: JourneyStep | None) -> str:
    if step is None:
        return "not measured"
    return f"{'worked' if step.ok else step.detail} in {step.milliseconds:.0f} ms"


@pytest.fixture
def travelled(
    phase: Phase,
    step: str,
    lateral_assessment: Assessment,
    lateral_allowance: Allowance,
    request: pytest.FixtureRequest,
) -> Verdict:
    """The step's verdict; a step that shows nothing in the item's phase is an error, never a pass and never a skip."""
    verdict, reason = judge_step(lateral_assessment, step)
    seen = taken(lateral_assessment, step)[phase]
    if seen is not None:
        request.node.user_properties += [
            ("lateral.phase", str(phase)),
            ("lateral.step", step),
            ("lateral.latency_ms", f"{seen.milliseconds:.1f}"),
        ]
    if phase is Phase.ENFORCED and step in lateral_allowance.steps:
        pass_over(request.node, _told(lateral_assessment, step, verdict, reason))
    unproven = verdict is Verdict.UNPROVEN if phase is Phase.ENFORCED else untravelled(seen, phase)
    if unproven:
        doubt = untravelled(seen, phase) or reason
        raise UnprovenError(_told(lateral_assessment, step, Verdict.UNPROVEN, doubt))
    return verdict


def test_journey(travelled: Verdict, phase: Phase, step: str, lateral_assessment: Assessment) -> None:
    """A customer can browse, log in, fill a cart and order, before, under and after the policies."""
    if phase is Phase.ENFORCED and travelled is Verdict.DISRUPTED:
        _, reason = judge_step(lateral_assessment, step)
        pytest.fail(_told(lateral_assessment, step, travelled, reason), pytrace=False)


@pytest.fixture
def pods(
    lateral_assessment: Assessment, lateral_allowance: Allowance, request: pytest.FixtureRequest
) -> tuple[Verdict, str]:
    """The verdict on the application's pods; pods that were never seen are an error."""
    verdict, reason = judge_pods(lateral_assessment)
    if lateral_allowance.pods:
        pass_over(request.node, f"{verdict} pods: {reason}")
    if verdict is Verdict.UNPROVEN:
        raise UnprovenError(f"UNPROVEN pods: {reason}")
    return verdict, reason


@pytest.mark.lateral(phase=Phase.ENFORCED)
def test_pods_stay_as_they_are(pods: tuple[Verdict, str]) -> None:
    """The policies cost the application no restart and no readiness."""
    verdict, reason = pods
    if verdict is not Verdict.PRESERVED:
        pytest.fail(f"{verdict} pods: {reason}", pytrace=False)
