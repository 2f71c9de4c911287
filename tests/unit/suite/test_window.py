"""A new pod's first moments: what they prove, and what they don't."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from lateral.model import Assessment, Enforcement, Observation, Outcome, Phase, Proof, Sample, Verdict
from lateral.verdict import judge
from lateral.window import Window, judge_window, newcomers

from .synthetic import (
    CONTROL,
    DENIED,
    FLOWS,
    IN_FORCE,
    INTENDED,
    NODE,
    REJECTING,
    ROGUE,
    assess,
    kept_out,
    newcomer,
    pods,
    sample,
)


def window(assessment: Assessment) -> Window:
    return judge_window(assessment, {finding.flow.id: finding for finding in judge(assessment)}, ROGUE.id)


def seen(
    *samples: Sample,
    allowed: float = 0.0,
    control: Sequence[Sample] | None = None,
    after: Outcome = Outcome.OPEN,
    enforcement: Enforcement = IN_FORCE,
) -> Assessment:
    """An assessment whose new rogue saw this on its one denied path, this of its control, and this without policies."""
    told = {DENIED.id: samples} if control is None else {DENIED.id: samples, CONTROL.id: control}
    made = newcomer(ROGUE.id, [DENIED, CONTROL], told)
    restored = {DENIED.id: Observation(DENIED.id, Phase.RESTORED, (sample(after),), "2025-01-01T00:00:00Z")}
    return assess(newcomers={ROGUE.id: replace(made, restored=restored)}, window=allowed, enforcement=enforcement)


def took(milliseconds: float, at: float) -> Sample:
    return replace(sample(Outcome.OPEN, at=at), milliseconds=milliseconds)


CLOSED = [sample(Outcome.DROPPED, at=at) for at in (0.0, 0.5, 1.5)]
OPEN_AT_FIRST = [
    sample(Outcome.OPEN, at=0.0),
    took(5.0, at=1.7),
    sample(Outcome.DROPPED, at=2.3),
    sample(Outcome.DROPPED, at=2.9),
]


def test_closed_from_the_first_dial() -> None:
    """A new pod that never gets through is kept out."""
    found = window(seen(*CLOSED))
    assert found.verdict is Verdict.CONTAINED
    assert "in all of 3 dials, the first 0 ms and the last 1.5 s after its start" in found.reason


@pytest.mark.parametrize(
    ("allowed", "verdict"),
    [
        pytest.param(0.0, Verdict.EXPOSED, id="none is allowed"),
        pytest.param(1.7, Verdict.EXPOSED, id="less than it was"),
        pytest.param(1.8, Verdict.UNPROVEN, id="between the last open and the first closed dial"),
        pytest.param(2.2, Verdict.UNPROVEN, id="just before the first closed dial"),
        pytest.param(2.3, Verdict.CONTAINED, id="until the first closed dial"),
    ],
)
def test_open_at_first(allowed: float, verdict: Verdict) -> None:
    """A window lasts from its last open dial at least to its first closed one at most: only that may be held against
    what is allowed."""
    found = window(seen(*OPEN_AT_FIRST, allowed=allowed))
    assert (found.verdict, found.targets) == (verdict, (DENIED.target.id,))
    assert found.seconds == pytest.approx(1.705)
    assert (
        "got through to user-db.sock-shop:27017/TCP until 1.7 s after its start, and was kept out from 2.3 s on"
        in found.reason
    )


@pytest.mark.parametrize("last", [[], [sample(Outcome.REFUSED, detail="ECONNREFUSED", at=2.3)]])
def test_open_to_the_last(last: list[Sample]) -> None:
    """Where a new pod wasn't seen to be denied any more, no allowance covers its window."""
    found = window(seen(*OPEN_AT_FIRST[:2], *last, allowed=60.0))
    assert found.verdict is Verdict.EXPOSED
    assert "kept out" not in found.reason


def test_an_allowed_window_needs_everything_to_be_known() -> None:
    """What is allowed on one path says nothing of another dial that told nothing."""
    found = window(seen(*OPEN_AT_FIRST, sample(Outcome.INCONCLUSIVE, at=3.0, detail="stalled"), allowed=10.0))
    assert found.verdict is Verdict.UNPROVEN
    assert "stalled" in found.reason


def test_what_was_closed_before_the_pod_could_dial_isnt_counted() -> None:
    """A pod whose network comes up late is closed to nothing until then."""
    late = [sample(Outcome.DROPPED, at=0.0), took(1030.0, at=0.5), took(2.0, at=1.6)]
    closed = [sample(Outcome.DROPPED, at=at) for at in (0.0, 0.5, 1.2, 1.6, 2.0, 2.4)]
    found = window(seen(*closed, control=late))
    assert found.verdict is Verdict.CONTAINED
    assert "in all of 4 dials" not in found.reason
    assert "in all of 3 dials, the first 1.6 s" in found.reason


def test_a_refusal_that_looks_as_the_canarys_denies() -> None:
    """An engine that refuses does so to new pods, too."""
    refused = [sample(Outcome.REFUSED, detail="ECONNREFUSED", at=at) for at in (0.0, 0.5, 1.5)]
    assert window(seen(*refused, enforcement=REJECTING)).verdict is Verdict.CONTAINED


def test_the_canaries_of_a_node_that_no_new_pod_is_on_say_nothing_of_it() -> None:
    """Its source's other pods may be there; whom it dials isn't."""
    refusing = {**IN_FORCE.nodes, "node-b": REJECTING.nodes[NODE]}
    refused = [sample(Outcome.REFUSED, detail="ECONNREFUSED", at=at) for at in (0.0, 0.5, 1.5)]
    assessment = seen(*refused, enforcement=replace(IN_FORCE, nodes=refusing))
    sweeps = {
        phase: replace(swept, pods={**swept.pods, **pods([ROGUE.key], node="node-b")})
        for phase, swept in assessment.sweeps.items()
    }
    assert window(replace(assessment, sweeps=sweeps)).verdict is Verdict.UNPROVEN


@pytest.mark.parametrize(
    ("assessment", "reason"),
    [
        pytest.param(seen(*CLOSED, sample(Outcome.INCONCLUSIVE, detail="no log")), "no log", id="inconclusive"),
        pytest.param(assess(newcomers={}), "no new pod of rogue.default", id="not launched"),
        pytest.param(seen(), "didn't dial user-db", id="not dialled"),
        pytest.param(
            seen(*CLOSED, control=[sample(Outcome.DROPPED, at=0.0)]), "could dial nothing", id="no control was open"
        ),
        pytest.param(
            seen(*CLOSED, control=[sample(Outcome.OPEN, at=0.0), *CLOSED[1:]]),
            "could dial nothing reliably",
            id="a control that was open once",
        ),
        pytest.param(
            seen(*CLOSED, control=[sample(Outcome.OPEN, at=1.0)]),
            "able to dial from 1.0 s on, and user-db.sock-shop:27017/TCP was dialled only 1 times since",
            id="too few dials once it could",
        ),
        pytest.param(
            seen(*CLOSED, after=Outcome.DROPPED),
            "wasn't shown to reach user-db.sock-shop:27017/TCP after the policies were removed",
            id="closed without policies",
        ),
        pytest.param(
            seen(*CLOSED[:2], sample(Outcome.REFUSED, detail="ECONNREFUSED", at=1.5)),
            "user-db.sock-shop:27017/TCP was REFUSED (ECONNREFUSED)",
            id="a refusal unlike the canary's",
        ),
        pytest.param(
            assess(odd={DENIED.id: {Phase.ENFORCED: Outcome.OPEN}}), "nothing is contained", id="open for good"
        ),
    ],
)
def test_unproven(assessment: Assessment, reason: str) -> None:
    """Where nothing was seen, or the pod may have been unable to dial, nothing is said of a window."""
    found = window(assessment)
    assert found.verdict is Verdict.UNPROVEN
    assert reason in found.reason


def test_a_source_that_may_dial_nothing_needs_no_control() -> None:
    """Its new pod is shown to be able to dial once the policies are gone."""
    flows = (DENIED, INTENDED)
    assert window(assess(flows, newcomers=kept_out(flows))).verdict is Verdict.CONTAINED


def test_an_allowed_window_needs_the_other_paths_to_be_denied() -> None:
    """What a new pod may reach for a moment says nothing of an address that it perhaps never could reach."""
    other = "10.101.0.10:27017"
    shut = [replace(one, address=other) for one in CLOSED]
    opened = [sample(Outcome.OPEN, at=0.0), sample(Outcome.DROPPED, at=0.5), sample(Outcome.DROPPED, at=1.5)]
    both = (*opened, *shut)

    def told(*after: Sample, samples: Sequence[Sample] = both) -> Window:
        assessment = seen(*samples, allowed=1.0)
        restored = {DENIED.id: Observation(DENIED.id, Phase.RESTORED, after, "2025-01-01T00:00:00Z")}
        new = replace(assessment.newcomers[ROGUE.id], restored=restored)
        return window(replace(assessment, newcomers={ROGUE.id: new}))

    works, dead = sample(Outcome.OPEN), sample(Outcome.DROPPED, address=other)
    assert told(works, replace(works, address=other)).verdict is Verdict.CONTAINED
    assert told(works, dead).verdict is Verdict.UNPROVEN
    refused = [replace(one, outcome=Outcome.REFUSED, detail="ECONNREFUSED") for one in shut]
    found = told(works, replace(works, address=other), samples=(*opened, *refused))
    assert found.verdict is Verdict.UNPROVEN
    assert "no deny by itself" in found.reason


def test_without_a_time_without_policies_a_source_that_may_dial_nothing_isnt_judged() -> None:
    """Nothing would show that its new pod could have dialled, so nothing is claimed of it."""
    flows = (DENIED, INTENDED)
    assert newcomers([ROGUE], flows) == (ROGUE.id,)
    assert newcomers([ROGUE], flows, Proof.CONTROLS) == ()
    assert newcomers([ROGUE], FLOWS, Proof.CONTROLS) == (ROGUE.id,)
    live = assess(flows, newcomers=kept_out(flows), proof=Proof.CONTROLS, policies="live")
    assert window(live).verdict is Verdict.UNPROVEN
