"""Verdicts on sources that dial from several pods, on different nodes: each path from one is judged by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pytest

from lateral.model import (
    Enforcement,
    Finding,
    Flow,
    NodeEnforcement,
    Outcome,
    Phase,
    PodState,
    Proof,
    Sample,
    Verdict,
)
from lateral.verdict import judge

from . import synthetic
from .synthetic import sample

DENIED, INTENDED, CONTROL = FLOWS = tuple(
    dataclasses.replace(flow, target=dataclasses.replace(flow.target, service=None)) for flow in synthetic.FLOWS
)
"""Without Services, so that every dial is by a pod's address."""

HERE, THERE = "default/rogue-1", "default/rogue-1-2"
"""Two pods of one source: the first on the target's node, the second on another."""
NODES = {HERE: synthetic.NODE, THERE: "node-b"}
_OPEN_THROUGHOUT = dict.fromkeys(Phase, (Outcome.OPEN,) * synthetic.DIALS)
_CLOSED = {**_OPEN_THROUGHOUT, Phase.ENFORCED: (Outcome.DROPPED,) * synthetic.DIALS}

Story = Mapping[Phase, Sequence[Outcome]]
"""What one pod saw by a pod's address, dial after dial."""


def judged(
    denied: Mapping[str, Story], control: Mapping[str, Story], enforcement: Enforcement = synthetic.IN_FORCE
) -> Finding:
    """The verdict on the denied path from these pods, whose control tells this of them."""
    nodes = dict.fromkeys(NODES.values(), synthetic.IN_FORCE.nodes[synthetic.NODE])
    shown = dataclasses.replace(enforcement, nodes={**nodes, **enforcement.nodes})
    assessment = synthetic.assess(FLOWS, enforcement=shown)
    sweeps = {}
    for phase, swept in assessment.sweeps.items():
        observations = dict(swept.observations)
        for flow, stories in ((DENIED, denied), (CONTROL, control)):
            samples = tuple(one for foothold, story in stories.items() for one in dials(foothold, story[phase]))
            observations[flow.id] = dataclasses.replace(observations[flow.id], samples=samples)
        dialling = tuple(PodState("default", one.partition("/")[2], one, 0, True, node) for one, node in NODES.items())
        pods = {**swept.pods, DENIED.source.key: dialling}
        sweeps[phase] = dataclasses.replace(swept, observations=observations, pods=pods)
    found = judge(dataclasses.replace(assessment, sweeps=sweeps))
    return next(finding for finding in found if finding.flow == DENIED)


def dials(foothold: str, outcomes: Sequence[Outcome]) -> list[Sample]:
    return [
        sample(outcome, foothold=foothold, crosses=foothold == THERE, at=synthetic.LATER + number)
        for number, outcome in enumerate(outcomes)
    ]


BOTH = {HERE: _OPEN_THROUGHOUT, THERE: _OPEN_THROUGHOUT}


def test_closed_to_all_pods_is_contained() -> None:
    finding = judged({HERE: _CLOSED, THERE: _CLOSED}, BOTH)
    assert finding.verdict is Verdict.CONTAINED
    assert finding.reason.startswith("open before, closed in 8 of 8 dials under the policies")


@pytest.mark.parametrize(("exposed", "side"), [(HERE, "on one node only"), (THERE, "between nodes only")])
def test_open_to_one_pod_is_exposed(exposed: str, side: str) -> None:
    """The reason says which of the two an engine looks away from."""
    finding = judged({HERE: _CLOSED, THERE: _CLOSED} | {exposed: _OPEN_THROUGHOUT}, BOTH)
    assert finding.verdict is Verdict.EXPOSED
    assert f"still open by pod IP {side} 1.2 s after the policies (DROPPED by pod IP)" in finding.reason


def test_open_to_one_and_closed_to_another_is_no_leak() -> None:
    """No path opened again after it had been closed: other paths' being closed isn't in doubt."""
    spoof = dataclasses.replace(DENIED.source, name="spoof")
    other, control = (dataclasses.replace(flow, source=spoof) for flow in (DENIED, CONTROL))
    assessment = synthetic.assess((*FLOWS, other, control))
    enforced = assessment.sweeps[Phase.ENFORCED]
    split = (*dials(HERE, _CLOSED[Phase.ENFORCED]), *dials(THERE, _OPEN_THROUGHOUT[Phase.ENFORCED]))
    observation = dataclasses.replace(enforced.observations[DENIED.id], samples=split)
    observations = {**enforced.observations, DENIED.id: observation}
    sweeps = {**assessment.sweeps, Phase.ENFORCED: dataclasses.replace(enforced, observations=observations)}
    found = {finding.flow.id: finding.verdict for finding in judge(dataclasses.replace(assessment, sweeps=sweeps))}
    assert found[DENIED.id] is Verdict.EXPOSED
    assert found[other.id] is Verdict.CONTAINED


def test_each_pod_needs_its_own_control() -> None:
    """A pod whose own network is dead saw everything closed, whatever another pod of its source could dial."""
    dead = {**_OPEN_THROUGHOUT, Phase.ENFORCED: (Outcome.DROPPED,) * synthetic.DIALS}
    finding = judged({HERE: _CLOSED, THERE: _CLOSED}, {HERE: _OPEN_THROUGHOUT, THERE: dead})
    assert finding.verdict is Verdict.UNPROVEN
    assert finding.reason == (
        f"rogue.default, by pod {THERE}, could dial nothing under the policies, not even what it may"
    )


@pytest.mark.parametrize(("refusing", "verdict"), [("node-a", Verdict.CONTAINED), ("node-b", Verdict.UNPROVEN)])
def test_a_refusal_is_a_deny_only_where_the_canaries_of_its_own_nodes_refuse(refusing: str, verdict: Verdict) -> None:
    """One pod of the source and the target are on node-a, the other pod is on node-b and sees silence."""
    shown = {node: NodeEnforcement(1.0, ((Outcome.DROPPED, "timeout"),)) for node in ("node-a", "node-b")}
    shown[refusing] = NodeEnforcement(1.0, ((Outcome.REFUSED, "ECONNREFUSED"),))
    refused = {**_OPEN_THROUGHOUT, Phase.ENFORCED: (Outcome.REFUSED,) * synthetic.DIALS}
    enforcement = dataclasses.replace(synthetic.IN_FORCE, nodes=shown)
    assert judged({HERE: refused, THERE: _CLOSED}, BOTH, enforcement).verdict is verdict


def test_each_pod_must_have_dialled_often_enough() -> None:
    once = {**_CLOSED, Phase.ENFORCED: (Outcome.DROPPED,)}
    finding = judged({HERE: _CLOSED, THERE: once}, BOTH)
    assert finding.verdict is Verdict.UNPROVEN
    assert finding.reason.startswith("closed in only 1 of the 3 dials that each path needs")


@pytest.mark.parametrize("phase", [Phase.BASELINE, Phase.RESTORED])
def test_each_pod_must_have_found_it_open(phase: Phase) -> None:
    """What was closed to one of the pods without policies was closed by something else."""
    never = {**_CLOSED, phase: (Outcome.DROPPED,)}
    finding = judged({HERE: _CLOSED, THERE: never}, BOTH)
    assert finding.verdict is Verdict.UNPROVEN


def test_the_same_pods_must_have_dialled_in_all_phases() -> None:
    absent = {**_CLOSED, Phase.RESTORED: ()}
    finding = judged({HERE: _CLOSED, THERE: absent}, BOTH)
    assert finding.verdict is Verdict.UNPROVEN


@pytest.mark.parametrize(
    ("trouble", "verdict"), [("", Verdict.CONTAINED), ("its own node has not connected to it", Verdict.UNPROVEN)]
)
def test_each_pod_that_may_dial_nothing_must_have_a_network(trouble: str, verdict: Verdict) -> None:
    """Where there is no time without policies, each of them needs a sign of its own."""
    flows: tuple[Flow, ...] = (DENIED, INTENDED)
    swept = synthetic.sweep(flows, Phase.ENFORCED)
    samples = tuple(one for foothold in (HERE, THERE) for one in dials(foothold, _CLOSED[Phase.ENFORCED]))
    observations = {
        **swept.observations,
        DENIED.id: dataclasses.replace(swept.observations[DENIED.id], samples=samples),
    }
    swept = dataclasses.replace(swept, observations=observations, links={HERE: "", THERE: trouble})
    found = judge(synthetic.assess(flows, sweeps={Phase.ENFORCED: swept}, proof=Proof.CONTROLS, policies="live"))
    assert next(finding.verdict for finding in found if finding.flow == DENIED) is verdict
