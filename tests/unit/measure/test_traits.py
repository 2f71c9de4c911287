"""What looks at the canaries show of an engine's traits, and what they don't."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from lateral.canary.documents import LATECOMER, PORTS
from lateral.canary.traits import Traits
from lateral.model import Outcome, Sample, Trait, Verdict

if TYPE_CHECKING:
    from lateral.probe import Dial


class Looks:
    """Watchers to whom these ports answer, look by look; the others are closed."""

    def __init__(self, *opened: Sequence[int]) -> None:
        self._opened = iter(opened)

    def dial(self, client: str, dials: Sequence[Dial]) -> list[Sample]:
        assert client == "client-0"
        opened = next(self._opened)
        return [_sample(Outcome.OPEN if one.port in opened else Outcome.DROPPED, one) for one in dials]


def _sample(outcome: Outcome, dial: Dial) -> Sample:
    return Sample(outcome, dial.via, dial.address, 1.0, replied=outcome is Outcome.OPEN, detail=outcome.lower())


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        pytest.param(PORTS, PORTS[1:], Verdict.CONTAINED, id="followed"),
        pytest.param(PORTS[1:], PORTS[1:], Verdict.UNPROVEN, id="kept out before its labels changed"),
        pytest.param((), PORTS[1:], Verdict.UNPROVEN, id="closed before"),
    ],
)
def test_labels_are_followed_by_what_was_free_before(
    before: Sequence[int], after: Sequence[int], verdict: Verdict
) -> None:
    """An engine that keeps every pod to a policy follows no labels."""
    traits = Traits(Looks(before, after), settle=0.0)  # type: ignore[arg-type]
    traits.begin("client-0", {LATECOMER: "10.0.0.9"})
    traits.look_before()
    traits.look_at_labels()
    [found] = [one for one in traits.checks() if one.trait is Trait.LABELS]
    assert found.verdict is verdict
