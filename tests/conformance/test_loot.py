"""What an open path gives: the tutorial's rogue reads the customers' cards, until it can't."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pytest

from lateral.errors import UnprovenError
from lateral.model import Assessment, Finding, Loot, Outcome, Phase, Verdict
from lateral.plugin.allowing import pass_over
from lateral.reports.explanation import headline
from lateral.reports.summary import INTENDED_LEAK, is_intended, taken

if TYPE_CHECKING:
    from lateral.allowance import Allowance


def _of(assessment: Assessment, phase: Phase, *, intended: bool) -> Sequence[Loot]:
    return [one for one in assessment.loot if one.phase is phase and is_intended(one.path) is intended]


def _told(loot: Sequence[Loot]) -> str:
    return "; ".join(f"{one.source} by {one.path}: {taken(one)}" for one in loot)


def _taken_before(assessment: Assessment) -> Sequence[Loot]:
    """What rogues took from databases before the policies; nothing at all leaves nothing to prove."""
    loot = _of(assessment, Phase.BASELINE, intended=False)
    if not loot or not all(one.reached and one.cards for one in loot):
        raise UnprovenError(f"UNPROVEN loot: not taken before the policies ({_told(loot) or 'never tried'})")
    return loot


@pytest.fixture
def before(lateral_assessment: Assessment) -> Sequence[Loot]:
    """What rogues took from databases before the policies."""
    return _taken_before(lateral_assessment)


@pytest.fixture
def under(
    lateral_assessment: Assessment,
    lateral_findings: Mapping[str, Finding],
    lateral_allowance: Allowance,
    request: pytest.FixtureRequest,
) -> Sequence[Loot]:
    """What rogues took from databases under the policies; nothing taken is proven only where its path is contained."""
    loot = _of(lateral_assessment, Phase.ENFORCED, intended=False)
    reached = [one for one in loot if one.reached]
    enforcement = lateral_assessment.enforcement
    if reached and enforcement.disturbed:
        raise UnprovenError(f"UNPROVEN loot: under the policies {_told(reached)}, but {enforcement.detail}")
    if reached and all(one.flow in lateral_allowance.flows for one in reached):
        pass_over(request.node, f"EXPOSED loot: under the policies {_told(reached)}")
    if reached:
        return loot
    if {one.path for one in loot} != {one.path for one in _taken_before(lateral_assessment)}:
        raise UnprovenError("UNPROVEN loot: not tried on the same paths under the policies")
    for one in loot:
        finding = lateral_findings[one.flow]
        if finding.verdict is not Verdict.CONTAINED:
            raise UnprovenError(f"UNPROVEN loot: {headline(finding)}")
        if one.outcome not in {sample.outcome for sample in finding.observations[Phase.ENFORCED].samples}:
            raise UnprovenError(
                f"UNPROVEN loot: under the policies {_told([one])}: the path is closed in another way, that is no deny"
            )
    return loot


@pytest.mark.tutorial
@pytest.mark.lateral(phase=Phase.BASELINE)
def test_rogue_reads_the_database(before: Sequence[Loot]) -> None:
    """Before the policies a rogue pod reads the customers' cards, without any credentials."""
    assert all(one.cards for one in before)


@pytest.mark.tutorial
@pytest.mark.lateral(phase=Phase.ENFORCED)
def test_rogue_reads_nothing(under: Sequence[Loot]) -> None:
    """Under the policies the same rogue reads nothing."""
    taken_still = [one for one in under if one.reached]
    if taken_still:
        pytest.fail(f"EXPOSED loot: under the policies {_told(taken_still)}", pytrace=False)


@pytest.fixture
def served(lateral_assessment: Assessment) -> Sequence[Loot]:
    """What rogues took by the public entry point under the policies; what can't be told is an error."""
    loot = _of(lateral_assessment, Phase.ENFORCED, intended=True)
    if not loot or any(one.outcome is Outcome.INCONCLUSIVE for one in loot):
        raise UnprovenError(f"UNPROVEN loot by the entry point: {_told(loot) or 'never tried'}")
    return loot


@pytest.mark.lateral(phase=Phase.ENFORCED)
def test_cards_by_the_entry_point(served: Sequence[Loot], request: pytest.FixtureRequest) -> None:
    """What the public entry point serves to anyone is on record; no policy on addresses and ports can close it."""
    leaks = [one for one in served if one.reached and one.cards]
    warning = f"warning: {_told(leaks)}: {INTENDED_LEAK}" if leaks else _told(served)
    request.node.add_report_section("call", "lateral", warning)
    request.node.user_properties.append(("lateral.loot", warning))
