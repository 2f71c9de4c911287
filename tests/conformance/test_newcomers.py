"""A rogue pod is always a new one: is it kept out from its first moment?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

from lateral.errors import UnprovenError
from lateral.model import Assessment, Finding, Phase, Proof, Verdict
from lateral.plugin.allowing import pass_over
from lateral.plugin.existing import is_live
from lateral.plugin.options import topology
from lateral.window import Window, judge_window, newcomers

if TYPE_CHECKING:
    from lateral.allowance import Allowance

pytestmark = pytest.mark.lateral(phase=Phase.ENFORCED)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """An item an attacker."""
    if "newcomer" in metafunc.fixturenames:
        measured = topology(metafunc.config)
        proof = Proof.CONTROLS if is_live(metafunc.config) else Proof.RESTORED
        metafunc.parametrize("newcomer", newcomers(measured.attackers, measured.flows(), proof))


@pytest.fixture
def window(
    newcomer: str,
    lateral_assessment: Assessment,
    lateral_findings: Mapping[str, Finding],
    lateral_allowance: Allowance,
    request: pytest.FixtureRequest,
) -> Window:
    """How long the newcomer got through; where nothing can be told of that, it is an error."""
    found = judge_window(lateral_assessment, lateral_findings, newcomer)
    request.node.user_properties += [("lateral.window", found.reason), ("lateral.window_s", f"{found.seconds:.3f}")]
    if found.verdict is Verdict.UNPROVEN and newcomer in lateral_allowance.newcomers:
        pass_over(request.node, f"UNPROVEN new pod of {newcomer}: {found.reason}")
    if found.verdict is Verdict.UNPROVEN:
        raise UnprovenError(f"UNPROVEN new pod of {newcomer}: {found.reason}")
    return found


def test_a_new_pod_is_kept_out(window: Window) -> None:
    """A pod that is launched under the policies gets through to nothing that they deny, not even at first."""
    if window.verdict is not Verdict.CONTAINED:
        pytest.fail(f"{window.verdict} new pod: {window.reason}", pytrace=False)
