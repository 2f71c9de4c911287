"""Whether the cluster enforces NetworkPolicy at all: without that no other verdict means anything."""

from __future__ import annotations

import pytest

from lateral.errors import UnprovenError
from lateral.model import Assessment, Enforcement, Phase
from lateral.reports.summary import unenforced

pytestmark = [pytest.mark.lateral(phase=Phase.ENFORCED), pytest.mark.tutorial]


@pytest.fixture
def enforcement(lateral_assessment: Assessment) -> Enforcement:
    """What the canary showed; one that stayed open is an error, because it leaves every closed path unproven."""
    found = lateral_assessment.enforcement
    if not found.proven:
        raise UnprovenError(unenforced(found))
    return found


def test_cluster_enforces_policies(enforcement: Enforcement) -> None:
    """A policy that denies closes the canary's port, and keeps the one that it allows open."""
    assert enforcement.proven
