"""What three journeys prove of each step, and of the pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from lateral.continuity import judge_pods, judge_step
from lateral.model import Phase, Verdict

from .synthetic import IGNORED, assess, journey

BASELINE, ENFORCED, RESTORED = Phase
WELL = {phase: journey(phase) for phase in Phase}


def broken(*phases: Phase) -> dict[Phase, dict[str, str]]:
    return {phase: {"login": "HTTP 401"} for phase in phases}


@pytest.mark.parametrize(
    ("phases", "verdict", "reason"),
    [
        ((), Verdict.PRESERVED, "worked before, under and after the policies"),
        (
            (ENFORCED,),
            Verdict.DISRUPTED,
            "worked before, failed under the policies (HTTP 401), works again without them",
        ),
        (
            (ENFORCED, RESTORED),
            Verdict.DISRUPTED,
            "worked before, failed under the policies (HTTP 401), does not work without them either",
        ),
        ((BASELINE,), Verdict.UNPROVEN, "did not work before the policies: HTTP 401"),
        ((BASELINE, ENFORCED), Verdict.UNPROVEN, "did not work before the policies: HTTP 401"),
        ((RESTORED,), Verdict.UNPROVEN, "did not work after the policies were removed: HTTP 401"),
    ],
)
def test_step(phases: tuple[Phase, ...], verdict: Verdict, reason: str) -> None:
    """Only what worked before the policies, and fails under them, is disrupted by them."""
    journeys = {phase: journey(phase, broken(*phases).get(phase)) for phase in Phase}
    assessment = assess(journeys=journeys)
    assert judge_step(assessment, "login") == (verdict, reason)
    assert judge_step(assessment, "catalogue")[0] is Verdict.PRESERVED


@pytest.mark.parametrize("missing", Phase)
def test_step_that_was_not_measured(missing: Phase) -> None:
    """A journey that was not taken proves nothing."""
    journeys = {phase: one for phase, one in WELL.items() if phase is not missing}
    verdict, reason = judge_step(assess(journeys=journeys), "login")
    assert verdict is Verdict.UNPROVEN
    assert reason.startswith("not measured")
    assert judge_pods(assess(journeys=journeys))[0] is Verdict.UNPROVEN


def test_step_where_policies_are_ignored() -> None:
    """Working under policies that are not in force shows nothing."""
    verdict, reason = judge_step(assess(enforcement=IGNORED), "login")
    assert (verdict, reason) == (
        Verdict.UNPROVEN,
        "worked throughout, but no policy was shown to be in force: the canary was still open after 30 s",
    )


@pytest.mark.parametrize("phase", [ENFORCED, RESTORED])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"restarts": 1}, "carts restarted"),
        ({"ready": False}, "carts became unready"),
        ({"uid": "other"}, "carts is gone"),
    ],
)
def test_pods_that_change(phase: Phase, change: Mapping[str, Any], reason: str) -> None:
    """A restart, a lost readiness or a replaced pod between two phases is the policies' doing."""
    assert judge_pods(assess())[0] is Verdict.PRESERVED
    verdict, why = judge_pods(assess(journeys=WELL | {phase: journey(phase, **change)}))
    assert verdict is Verdict.DISRUPTED
    assert why.startswith(reason)


def test_pods_that_were_never_ready() -> None:
    """What is not ready before the policies leaves nothing to lose."""
    journeys = {phase: journey(phase, ready=False) for phase in Phase}
    verdict, reason = judge_pods(assess(journeys=journeys))
    assert (verdict, reason) == (Verdict.UNPROVEN, "not ready before the policies: carts, user")


def test_pods_where_policies_are_ignored() -> None:
    """Pods that stay as they are under policies that aren't in force show nothing."""
    assert judge_pods(assess(enforcement=IGNORED)) == (
        Verdict.UNPROVEN,
        "the same throughout, but no policy was shown to be in force: the canary was still open after 30 s",
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"enforcement": IGNORED}, id="ignored"),
        pytest.param({"enforcement": replace(IGNORED, ignored=False, disturbed=True)}, id="changed by somebody"),
        pytest.param({"policies": "none"}, id="none applied"),
    ],
)
def test_what_no_policy_did_is_not_disrupted(changes: Mapping[str, Any]) -> None:
    """A shop that breaks where no policy is in force breaks by itself, or of somebody else's."""
    failed = {phase: journey(phase, broken(ENFORCED).get(phase)) for phase in Phase}
    assert judge_step(assess(journeys=failed, **changes), "login")[0] is Verdict.UNPROVEN
    restarted = WELL | {ENFORCED: journey(ENFORCED, restarts=1)}
    assert judge_pods(assess(journeys=restarted, **changes))[0] is Verdict.UNPROVEN
