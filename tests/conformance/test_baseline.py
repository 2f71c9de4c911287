"""Before the policies: is each flow fit to be tested? Nothing here says that a flow is safe."""

from __future__ import annotations

import pytest

from lateral.model import Finding, Phase

pytestmark = pytest.mark.lateral(phase=Phase.BASELINE)


def test_baseline(testable: Finding) -> None:
    """Before the policies the path is open, so that a policy has something to close or to keep."""
    assert Phase.BASELINE in testable.observations
