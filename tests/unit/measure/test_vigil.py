"""What a watch over the canaries says of looks that tell something and nothing at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lateral.canary.rounds import Pair
from lateral.canary.vigil import Vigil
from lateral.model import Outcome, Sample

if TYPE_CHECKING:
    from lateral.probe import Dial

SHUT, OPEN = 8080, 8081
PAIR = Pair("client-0", "10.0.0.1", "node-a")


class Looks:
    """Watchers of one pair whose closed port is as told, look by look; the open one answers."""

    def __init__(self, *closed: Outcome) -> None:
        self._closed = closed

    def look(self, dials: Sequence[Dial]) -> list[tuple[Pair, list[Sample]]]:
        closed = iter(self._closed)
        return [(PAIR, [_sample(next(closed) if one.port == SHUT else Outcome.OPEN, one) for one in dials])]


class Once:
    """Is done after one look."""

    def __init__(self) -> None:
        self._asked = 0

    def is_set(self) -> bool:
        self._asked += 1
        return self._asked > 1

    def wait(self, timeout: float) -> bool:
        return timeout > 0


def _sample(outcome: Outcome, dial: Dial) -> Sample:
    return Sample(outcome, dial.via, PAIR.address, 1.0, replied=outcome is Outcome.OPEN, detail=outcome.lower())


def keep(*closed: Outcome) -> str:
    return Vigil(Looks(*closed), closed=SHUT, opened=OPEN).keep(Once())  # type: ignore[arg-type]


def test_a_look_that_told_nothing_hides_no_open_one() -> None:
    """A probe that stalled once doesn't close the port that another dial of the same look went through."""
    stalled, closed = Outcome.INCONCLUSIVE, Outcome.DROPPED
    assert "its closed port was OPEN in 1 of 3 looks" in keep(closed, Outcome.OPEN, stalled)
    assert not keep(closed, stalled, closed)
    assert not keep(closed, closed, closed)


def test_the_last_look_must_be_conclusive() -> None:
    """What can't be looked at isn't known to have held."""
    said = Vigil(Looks(Outcome.INCONCLUSIVE), closed=SHUT, opened=OPEN).last()  # type: ignore[arg-type]
    assert said == "the canary could not be looked at during the sweep: inconclusive"
