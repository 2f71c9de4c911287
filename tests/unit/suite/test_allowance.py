"""What is passed over where a cluster that enforces no policy is allowed: what fails of that alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from lateral.allowance import Allowance, allowance
from lateral.model import Assessment, Outcome, Phase, Proof, Trait, TraitCheck, Verdict
from lateral.verdict import judge

from .synthetic import CONTROL, DENIED, IGNORED, IN_FORCE, INTENDED, REJECTING, Seen, assess, journey

BASELINE, ENFORCED, RESTORED = Phase
OPEN: Mapping[str, Seen] = {DENIED.id: {ENFORCED: Outcome.OPEN}}
UNSEEN = tuple(TraitCheck(trait, Verdict.UNPROVEN, "not shown to be in force") for trait in Trait)


def ignoring(**changes: Any) -> Assessment:
    """A cluster that enforces nothing, on which all else is well."""
    return assess(**{"odd": OPEN, "enforcement": IGNORED, "traits": UNSEEN, **changes})


def allowed(assessment: Assessment, *, given: bool = True) -> Allowance:
    return allowance(assessment, judge(assessment), given=given)


def test_what_fails_of_that_alone_is_passed_over() -> None:
    found = allowed(ignoring())
    assert found.holds
    assert found.flows == {DENIED.id, INTENDED.id, CONTROL.id}
    assert found.steps == {step.name for step in journey(ENFORCED).steps}
    assert found.pods
    assert found.traits == set(Trait)
    assert found.newcomers == {DENIED.source.id}
    assert found.said.startswith("allowed by --lateral-allow-unenforced: ")


def test_no_verdict_is_changed_by_it() -> None:
    verdicts = {finding.verdict for finding in judge(ignoring())}
    assert verdicts == {Verdict.EXPOSED, Verdict.UNPROVEN}


def test_nothing_is_passed_over_unasked() -> None:
    assert allowed(ignoring(), given=False) == Allowance()


@pytest.mark.parametrize(
    ("enforcement", "said"),
    [
        pytest.param(IN_FORCE, "wasn't needed: this cluster enforces policies", id="enforced"),
        pytest.param(REJECTING, "wasn't needed", id="enforced by refusing"),
        pytest.param(dataclasses.replace(IGNORED, ignored=False), "doesn't apply", id="unproven"),
        pytest.param(dataclasses.replace(IGNORED, ignored=False, disturbed=True), "doesn't apply", id="disturbed"),
        pytest.param(dataclasses.replace(IN_FORCE, proven=False, detail="a node died"), "doesn't apply", id="broken"),
    ],
)
def test_it_holds_only_where_no_node_enforces_anything(enforcement: Any, said: str) -> None:
    """It is said to have been needless, or not to be for that; and nothing is passed over."""
    found = allowed(ignoring(enforcement=enforcement))
    assert found == Allowance(said=found.said)
    assert said in found.said


@pytest.mark.parametrize(
    ("odd", "kept"),
    [
        pytest.param({INTENDED.id: {ENFORCED: Outcome.DROPPED}}, INTENDED.id, id="broken by something"),
        pytest.param({INTENDED.id: {ENFORCED: Outcome.INCONCLUSIVE}}, INTENDED.id, id="not known under them"),
        pytest.param({INTENDED.id: {BASELINE: Outcome.DROPPED}}, INTENDED.id, id="never worked"),
        pytest.param({INTENDED.id: {RESTORED: Outcome.REFUSED}}, INTENDED.id, id="doesn't work afterwards"),
        pytest.param({DENIED.id: {ENFORCED: Outcome.DROPPED}}, DENIED.id, id="closed by something"),
        pytest.param({DENIED.id: {ENFORCED: Outcome.INCONCLUSIVE}}, DENIED.id, id="a probe that failed"),
    ],
)
def test_what_is_wrong_for_another_reason_stays_wrong(odd: Mapping[str, Seen], kept: str) -> None:
    found = allowed(ignoring(odd={**OPEN, **odd}))
    assert found.holds
    assert found.flows == {DENIED.id, INTENDED.id, CONTROL.id} - {kept}


def test_what_the_journey_suffers_from_something_else_stays() -> None:
    journeys = {phase: journey(phase) for phase in Phase} | {
        ENFORCED: journey(ENFORCED, {"login": "HTTP 500"}, restarts=1)
    }
    found = allowed(ignoring(journeys=journeys))
    assert found.steps == {step.name for step in journey(ENFORCED).steps} - {"login"}
    assert not found.pods


@pytest.mark.parametrize(
    ("policed", "exposed"),
    [
        pytest.param((), False, id="nowhere"),
        pytest.param(("kube-system",), False, id="elsewhere"),
        pytest.param(("kube-system", DENIED.target.namespace), True, id="at the target"),
        pytest.param((DENIED.source.namespace,), True, id="at the source"),
        pytest.param(("",), True, id="everywhere"),
    ],
)
def test_what_is_under_no_policies_at_all_is_open_anyway(policed: tuple[str, ...], exposed: bool) -> None:
    """Only where some policy might have closed a path is that passed over: the DNS servers' close none to others."""
    live = ignoring(proof=Proof.CONTROLS, policies="live", journeys={})
    found = allowed(dataclasses.replace(live, policed=frozenset(policed)))
    assert found.holds
    assert (DENIED.id in found.flows) == exposed
    assert ("what no policy might have closed is open as ever, and fails" in found.said) != exposed


def test_without_policies_what_is_open_would_be_open_anyway() -> None:
    """Only what the canaries alone are missed for is passed over."""
    found = allowed(ignoring(policies="none"))
    assert found.holds
    assert found.flows == {INTENDED.id, CONTROL.id}
    assert not found.newcomers
    assert found.said.endswith("; what no policy might have closed is open as ever, and fails")
