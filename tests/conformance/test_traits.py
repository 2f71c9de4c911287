"""What any engine of NetworkPolicies must do, whatever the policies that are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lateral.errors import UnprovenError
from lateral.model import Assessment, Phase, Trait, TraitCheck, Verdict
from lateral.plugin.allowing import pass_over

if TYPE_CHECKING:
    from lateral.allowance import Allowance

pytestmark = [pytest.mark.lateral(phase=Phase.ENFORCED), pytest.mark.usefixtures("lateral_findings")]


@pytest.fixture(params=Trait)
def check(request: pytest.FixtureRequest, lateral_assessment: Assessment, lateral_allowance: Allowance) -> TraitCheck:
    """What the canaries showed of the trait; what they didn't show is an error."""
    trait: Trait = request.param
    found = next((one for one in lateral_assessment.traits if one.trait is trait), None)
    if found is not None and trait in lateral_allowance.traits:
        pass_over(request.node, f"{found.verdict} engine, {trait}: {found.detail}")
    if found is None or found.verdict is Verdict.UNPROVEN:
        why = found.detail if found else "the canaries did not get so far"
        raise UnprovenError(f"UNPROVEN engine, {trait}: {why}")
    return found


def test_engine(check: TraitCheck, request: pytest.FixtureRequest) -> None:
    """The engine follows updated policies, changed labels, exceptions of an ipBlock, and the removal of policies."""
    request.node.user_properties.append(("lateral.engine", f"{check.verdict}: {check.detail}"))
    if check.verdict is not Verdict.CONTAINED:
        pytest.fail(f"{check.verdict} engine, {check.trait}: {check.detail}", pytrace=False)
