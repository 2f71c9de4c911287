"""Whether the cluster enforces NetworkPolicy at all: without that no other verdict means anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lateral.errors import UnprovenError
from lateral.model import Assessment, Enforcement, Phase
from lateral.plugin.allowing import pass_over
from lateral.reports.summary import unenforced

if TYPE_CHECKING:
    from lateral.allowance import Allowance

pytestmark = [pytest.mark.lateral(phase=Phase.ENFORCED), pytest.mark.tutorial]


@pytest.fixture
def enforcement(
    lateral_assessment: Assessment, lateral_allowance: Allowance, request: pytest.FixtureRequest
) -> Enforcement:
    """What the canary showed; one that stayed open is an error, because it leaves every closed path unproven."""
    found = lateral_assessment.enforcement
    if lateral_allowance.holds:
        pass_over(request.node, unenforced(found))
    if not found.proven:
        raise UnprovenError(unenforced(found))
    return found


def test_cluster_enforces_policies(enforcement: Enforcement) -> None:
    """A policy that denies closes the canary's port, and keeps the one that it allows open."""
    assert enforcement.proven
