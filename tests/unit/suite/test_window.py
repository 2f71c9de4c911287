"""A new pod's first moments: what they prove, and what they don't."""

from __future__ import annotations

import pytest

from lateral.model import Assessment, Observation, Outcome, Phase, Sample, Verdict
from lateral.verdict import judge
from lateral.window import Window, judge_window

from .synthetic import DENIED, ROGUE, assess, sample


def window(assessment: Assessment, allowed: float = 0.0) -> Window:
    return judge_window(assessment, {finding.flow.id: finding for finding in judge(assessment)}, ROGUE.id, allowed)


def seen(*samples: Sample) -> Assessment:
    """An assessment whose newcomer saw this on its one denied path."""
    return assess(newcomers={DENIED.id: Observation(DENIED.id, Phase.ENFORCED, samples, "2025-01-01T00:00:00Z")})


CLOSED = [sample(Outcome.DROPPED, at=at) for at in (0.0, 0.5, 1.5)]


def test_closed_from_the_first_dial() -> None:
    """A new pod that never gets through is kept out."""
    found = window(seen(*CLOSED))
    assert found.verdict is Verdict.CONTAINED
    assert "in all of 3 dials, the first 0 ms and the last 1.5 s after its start" in found.reason


@pytest.mark.parametrize(("allowed", "verdict"), [(0.0, Verdict.EXPOSED), (2.0, Verdict.CONTAINED)])
def test_open_at_first(allowed: float, verdict: Verdict) -> None:
    """A new pod that gets through at first was exposed, unless for so long it may."""
    found = window(seen(sample(Outcome.OPEN, at=0.0), sample(Outcome.OPEN, at=1.2), *CLOSED[2:]), allowed)
    assert (found.verdict, found.seconds, found.targets) == (verdict, 1.2, (DENIED.target.id,))
    assert "got through to user-db.sock-shop:27017/TCP until 1.2 s after its start" in found.reason


@pytest.mark.parametrize(
    ("assessment", "reason"),
    [
        pytest.param(seen(*CLOSED, sample(Outcome.INCONCLUSIVE, detail="no log")), "no log", id="inconclusive"),
        pytest.param(assess(newcomers={}), "didn't dial user-db", id="not dialled"),
        pytest.param(
            assess(odd={DENIED.id: {Phase.ENFORCED: Outcome.OPEN}}), "nothing is contained", id="open for good"
        ),
    ],
)
def test_unproven(assessment: Assessment, reason: str) -> None:
    """Where nothing was seen, or nothing is closed for good, nothing is said of a window."""
    found = window(assessment)
    assert found.verdict is Verdict.UNPROVEN
    assert reason in found.reason
