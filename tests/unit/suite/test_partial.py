"""Whether anything is enforced where the canaries stayed open: then nobody may say that nothing is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from lateral.model import Expectation, Flow, Outcome, Phase, Reachability
from lateral.partial import enforced_part
from lateral.topology import load

from . import synthetic
from .synthetic import sample

SHOP = load("sock-shop")
DENIED = [flow for flow in SHOP.flows() if flow.expectation is Expectation.DENY]
FROM_OUTSIDE = next(flow for flow in DENIED if flow.source.namespace not in SHOP.namespaces)
FROM_WITHIN = next(flow for flow in DENIED if flow.source.namespace in SHOP.namespaces)
HERE, THERE = "default/rogue-1", "default/rogue-1-2"
"""Two pods of each source: the first on the targets' node, the second on another."""
OPEN, CLOSED = (Outcome.OPEN,), (Outcome.DROPPED,) * synthetic.DIALS


def swept(phase: Phase, odd: Mapping[str, Mapping[str, tuple[Outcome, ...]]]) -> Reachability:
    """Everything open to everybody, but for what the pods of some flows saw."""
    found = synthetic.sweep(SHOP.flows(), phase)
    observations = {}
    for key, one in found.observations.items():
        stories = {HERE: OPEN, THERE: OPEN, **odd.get(key, {})}
        samples = tuple(
            sample(outcome, foothold=who, address=f"{key.rpartition('-to-')[2]}'s pod")
            for who, story in stories.items()
            for outcome in story
        )
        observations[key] = dataclasses.replace(one, samples=samples)
    return dataclasses.replace(found, observations=observations)


def told(odd: Mapping[str, Mapping[str, tuple[Outcome, ...]]], *phases: Phase) -> str:
    sweeps = {phase: swept(phase, {}) for phase in phases}
    return enforced_part(SHOP, {**sweeps, Phase.ENFORCED: swept(Phase.ENFORCED, odd)})


@pytest.mark.parametrize("phases", [(Phase.BASELINE,), ()], ids=["restored", "controls-only"])
def test_where_nothing_closed_nothing_is_enforced(phases: tuple[Phase, ...]) -> None:
    assert told({}, *phases) == ""


@pytest.mark.parametrize("flow", [FROM_OUTSIDE, FROM_WITHIN], ids=["from outside", "from within"])
def test_what_closed_to_all_pods_is_told(flow: Flow) -> None:
    assert f"{flow.id} closed" in told({flow.id: {HERE: CLOSED, THERE: CLOSED}}, Phase.BASELINE)


@pytest.mark.parametrize("phases", [(Phase.BASELINE,), ()], ids=["restored", "controls-only"])
@pytest.mark.parametrize("shut", [HERE, THERE])
def test_what_closed_to_one_pod_only_is_told(shut: str, phases: tuple[Phase, ...]) -> None:
    """As of rules for egress that hold between nodes only: the canaries' own are for ingress, and flows are open."""
    assert FROM_OUTSIDE.id in told({FROM_OUTSIDE.id: {shut: CLOSED}}, *phases)


@pytest.mark.parametrize("phases", [(Phase.BASELINE,), ()], ids=["restored", "controls-only"])
def test_a_lost_packet_is_no_policy(phases: tuple[Phase, ...]) -> None:
    assert told({FROM_OUTSIDE.id: {THERE: (Outcome.DROPPED, Outcome.OPEN)}}, *phases) == ""


def test_a_pod_that_could_dial_nothing_shows_nothing_by_itself() -> None:
    """Its own network may be dead, where there is no time before to tell."""
    assert told({flow.id: {THERE: CLOSED} for flow in SHOP.flows()}) == ""
