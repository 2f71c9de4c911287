"""What became of connections from before the policies: on record, since Kubernetes leaves it to the engine."""

from __future__ import annotations

import pytest

from lateral.errors import UnprovenError
from lateral.model import Assessment, Established, Phase

pytestmark = [pytest.mark.lateral(phase=Phase.ENFORCED), pytest.mark.usefixtures("lateral_findings")]


def _told(one: Established) -> str:
    if one.survived is None:
        return f"{one.flow}: can't be told: {one.detail}"
    return f"{one.flow}: {'went on working' if one.survived else f'cut ({one.detail})'}"


@pytest.fixture
def established(lateral_assessment: Assessment) -> str:
    """What became of each, in words; where none can be told of, though some were to be held, it is an error."""
    used = lateral_assessment.established
    told = "; ".join(map(_told, used)) or "no denied path speaks a protocol in which a connection is used twice"
    if used and all(one.survived is None for one in used):
        raise UnprovenError(f"UNPROVEN connections from before the policies: {told}")
    return told


def test_connections_from_before(established: str, request: pytest.FixtureRequest) -> None:
    """Connections that a rogue opened before the policies are used under them, and what becomes of them is told."""
    request.node.add_report_section("call", "lateral", established)
    request.node.user_properties.append(("lateral.established", established))
