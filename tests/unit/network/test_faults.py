"""What each fault makes of the cluster, held against a plain reading of policies that are wrong in that very way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from tests.unit.network.plain_reading import NAMESPACES, POLICIES, Object, clusters, plainly_allowed, pod_object, policy
from tests.unit.network.test_policy_compilation import compiled_allowed, read

from lateral.errors import ConfigurationError
from lateral.lab.faults import FAULTS
from lateral.lab.faults.effects import EFFECTS, effect
from lateral.lab.network.addresses import SECOND_NODE
from lateral.lab.network.agent import Agent, Reading

WEB, CLIENT = pod_object("web", "10.101.0.1", labels={"app": "web"}), pod_object("client", "10.101.0.2")
DENY: Object = {"podSelector": {}, "policyTypes": ["Ingress"]}
FROM_CLIENTS: Object = {"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]}


def known(spec: Object, uid: str = "1") -> Object:
    """A policy as the store has it."""
    made = policy(spec)
    made["metadata"]["uid"] = uid
    return made


class Engine:
    """An agent, asked for one cluster after another."""

    def __init__(self, fault: str) -> None:
        self._agent: Agent = effect(fault).agent()
        self.until = math.inf

    def open(self, now: float, *policies: Object, pods: Sequence[Object] = (WEB, CLIENT)) -> bool:
        """Whether the second pod reaches the first."""
        target, source = read(pods)
        isolations, self.until = self._agent(Reading(policies, [target, source], NAMESPACES), now)
        return compiled_allowed(source, target, "TCP", 80, isolations)


def test_every_fault_that_is_told_of_has_an_effect() -> None:
    assert set(EFFECTS) == set(FAULTS)


def test_an_unknown_fault_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match=f"no fault 'typo'; it has: {', '.join(FAULTS)}$"):
        effect("typo")


def test_without_a_fault_nothing_is_open_that_should_not_be() -> None:
    isolations, until = effect(None).agent()(Reading([known(DENY)], read([WEB, CLIENT]), NAMESPACES), 0.0)
    assert [len(isolation.pods) for isolation in isolations.ingress] == [2]
    assert until == math.inf


# A fault that reads policies wrongly is one that reads other policies rightly.


def _edited(edit: Callable[[Object], Object]) -> Callable[[Object], Object]:
    def everywhere(spec: Object) -> Object:
        sides: Object = {key: [edit(rule) for rule in spec[key]] for key in ("ingress", "egress") if key in spec}
        return {**spec, **sides}

    return everywhere


def _peers(name: str, to: Callable[[Any], Any]) -> Callable[[Object], Object]:
    def rule(found: Object) -> Object:
        sides: Object = {
            key: [{**peer, name: to(peer[name])} if name in peer else peer for peer in found[key]]
            for key in ("from", "to")
            if key in found
        }
        return {**found, **sides}

    return _edited(rule)


MEANT: dict[str, Callable[[Object], Object]] = {
    "any-namespace": _peers("namespaceSelector", lambda _: {}),
    "any-pod": _peers("podSelector", lambda _: {}),
    "no-except": _peers("ipBlock", lambda block: {"cidr": block["cidr"]}),
    "ports-ignored": _edited(lambda rule: {**rule, "ports": []}),
}


@pytest.mark.parametrize("fault", [*MEANT, "ignore-policies", "ingress-only", "egress-only", "udp-open"])
@settings(max_examples=60, deadline=None)
@given(objects=clusters(), policies=POLICIES)
def test_a_misreading_is_the_right_reading_of_something_else(
    fault: str, objects: list[Object], policies: list[Object]
) -> None:
    pods = read(objects)
    isolations, until = effect(fault).agent()(Reading(policies, pods, NAMESPACES), 0.0)
    assert until == math.inf
    for source, source_object in zip(pods, objects, strict=True):
        for target, target_object in zip(pods, objects, strict=True):
            for protocol in ("TCP", "UDP"):
                for port in (53, 80, 8080):
                    plain = _plainly(fault, source_object, target_object, protocol, port, policies)
                    assert compiled_allowed(source, target, protocol, port, isolations) == plain


def _plainly(fault: str, source: Object, target: Object, protocol: str, port: int, policies: Sequence[Object]) -> bool:
    if fault == "ignore-policies" or (fault == "udp-open" and protocol == "UDP"):
        return True
    if fault in ("ingress-only", "egress-only"):
        policies = _one_way("Ingress" if fault == "ingress-only" else "Egress", policies)
    elif fault in MEANT:
        policies = [{**each, "spec": MEANT[fault](each["spec"])} for each in policies]
    return plainly_allowed(source, target, protocol, port, policies)


def _one_way(direction: str, policies: Sequence[Object]) -> list[Object]:
    """A policy of both directions, or of none that it states, is one of this direction where that is among its own."""
    kept = []
    for each in policies:
        spec = each["spec"]
        own = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        if direction in own:
            kept.append({**each, "spec": {**spec, "policyTypes": [direction]}})
    return kept


# Faults that keep something, or wait for something.


def test_a_slow_engine_is_five_seconds_behind_with_every_change() -> None:
    engine = Engine("slow-5s")
    assert engine.open(0.0)
    assert engine.open(10.0, known(DENY))
    assert engine.until == 15.0
    assert engine.open(12.0, known({"podSelector": {}, "ingress": [{}]}))
    assert engine.until == 15.0
    assert not engine.open(15.0, known({"podSelector": {}, "ingress": [{}]}))
    assert engine.until == 17.0
    assert engine.open(17.0, known({"podSelector": {}, "ingress": [{}]}))
    assert engine.until == math.inf


def test_a_slow_engine_knows_new_pods_at_once() -> None:
    engine = Engine("slow-5s")
    engine.open(0.0, known(DENY))
    newcomer = pod_object("newcomer", "10.101.0.9")
    assert not engine.open(6.0, known(DENY), pods=(newcomer, CLIENT))


def test_an_updated_policy_keeps_its_old_rules_until_it_is_made_anew() -> None:
    engine = Engine("stale-update")
    assert not engine.open(0.0, known(DENY))
    assert not engine.open(1.0, known({"podSelector": {}, "ingress": [{}]}))
    assert engine.open(2.0, known({"podSelector": {}, "ingress": [{}]}, uid="2"))
    assert engine.open(3.0)


def test_a_relabelled_pod_is_taken_for_what_it_was_until_another_has_its_address() -> None:
    engine = Engine("stale-labels")
    friend = pod_object("client", "10.101.0.2", labels={"app": "client"})
    assert not engine.open(0.0, known(FROM_CLIENTS))
    assert not engine.open(1.0, known(FROM_CLIENTS), pods=(WEB, friend))
    assert engine.open(2.0, known(FROM_CLIENTS), pods=(WEB, pod_object("x", "10.101.0.3", labels={"app": "client"})))
    assert engine.open(3.0, known(FROM_CLIENTS), pods=(WEB, friend))


def test_a_deleted_policy_stays_in_force_as_it_was_last() -> None:
    engine = Engine("never-removed")
    assert engine.open(0.0, known({"podSelector": {}, "ingress": [{}]}))
    assert not engine.open(1.0, known(DENY))
    assert not engine.open(2.0)
    assert engine.open(3.0, known({"podSelector": {}, "ingress": [{}]}, uid="2"))


def test_an_agent_dies_after_a_set_of_policies_and_not_after_a_few() -> None:
    engine = Engine("agent-dies")
    few, many = ([known(DENY, str(at)) for at in range(number)] for number in (7, 8))
    assert not engine.open(0.0, *few)
    assert engine.until == math.inf
    assert not engine.open(10.0, *many)
    assert not engine.open(11.0, *many, known(DENY, "one more"))
    assert engine.until == 14.0
    assert not engine.open(13.0, *few)
    assert engine.open(14.0, *few)
    assert engine.open(15.0, *many, known(DENY, "one more"), known(DENY, "and another"))
    assert engine.until == math.inf


@pytest.mark.parametrize("direction", ["Ingress", "Egress"])
def test_one_node_enforces_nothing_for_its_own_pods(direction: str) -> None:
    engine = Engine("one-node")
    spec: Object = {"podSelector": {}, "policyTypes": [direction]}
    there = {**(WEB if direction == "Ingress" else CLIENT)}
    there["spec"] = {**there["spec"], "nodeName": SECOND_NODE}
    pods = (there, CLIENT) if direction == "Ingress" else (WEB, there)
    assert not engine.open(0.0, known(spec))
    assert engine.open(0.0, known(spec), pods=pods)


def test_the_pods_of_a_node_that_enforces_nothing_are_peers_all_the_same() -> None:
    engine = Engine("one-node")
    friend = pod_object("client", "10.101.0.2", labels={"app": "client"})
    friend["spec"]["nodeName"] = SECOND_NODE
    assert engine.open(0.0, known(FROM_CLIENTS), pods=(WEB, friend))


@pytest.mark.parametrize("direction", ["Ingress", "Egress"])
def test_a_new_pod_is_left_open_for_two_seconds(direction: str) -> None:
    engine = Engine("new-pod-window")
    spec: Object = {"podSelector": {}, "policyTypes": [direction]}
    new = pod_object("new", "10.101.0.9")
    pods = (new, CLIENT) if direction == "Ingress" else (WEB, new)
    engine.open(0.0, known(spec))
    assert not engine.open(10.0, known(spec))
    assert engine.open(20.0, known(spec), pods=pods)
    assert engine.until == 22.0
    assert engine.open(21.9, known(spec), pods=pods)
    assert not engine.open(22.0, known(spec), pods=pods)
    assert engine.until == math.inf
