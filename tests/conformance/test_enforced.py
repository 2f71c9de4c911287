"""Under the policies: the verdict on each flow."""

from __future__ import annotations

import pytest

from lateral.model import Finding, Phase, Verdict

pytestmark = pytest.mark.lateral(phase=Phase.ENFORCED)


def test_enforced(proven: Finding, explanation: str) -> None:
    """Under the policies a path is open if and only if the application needs it."""
    if proven.verdict in (Verdict.EXPOSED, Verdict.DISRUPTED):
        pytest.fail(explanation, pytrace=False)
