"""Compiled policies allow exactly what a plain reading of NetworkPolicy allows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from tests.unit.network.plain_reading import NAMESPACES, POLICIES, Object, clusters, plainly_allowed, pod_object, policy

from lateral.lab.network.policy import Allow, Isolation, Isolations, Pod, compile_policies, pod


def compiled_allowed(source: Pod, target: Pod, protocol: str, port: int, isolations: Isolations) -> bool:
    if source.address == target.address:
        return True
    return _passes(isolations.egress, source, target, protocol, port) and _passes(
        isolations.ingress, target, source, protocol, port
    )


def _passes(isolations: Sequence[Isolation], subject: Pod, peer: Pod, protocol: str, port: int) -> bool:
    mine = [isolation for isolation in isolations if subject.address in isolation.pods]
    assert len(mine) <= 1, "a pod has one isolation in each direction"
    return not mine or any(_permits(allow, subject, peer, protocol, port) for allow in mine[0].allowed)


def _permits(allow: Allow, subject: Pod, peer: Pod, protocol: str, port: int) -> bool:
    for ranges, address in ((allow.peers, peer.address), (allow.pods, subject.address)):
        if ranges is not None and not any(first <= address <= last for first, last in ranges):
            return False
    if allow.ports is None:
        return True
    return any(each.protocol == protocol and each.first <= port <= each.last for each in allow.ports)


@settings(max_examples=200, deadline=None)
@given(clusters(), POLICIES)
def test_compiled_policies_agree_with_a_plain_reading(objects: list[Object], policies: list[Object]) -> None:
    pods = read(objects)
    isolations = compile_policies(policies, pods, NAMESPACES)
    for source, source_object in zip(pods, objects, strict=True):
        for target, target_object in zip(pods, objects, strict=True):
            for protocol in ("TCP", "UDP"):
                for port in (53, 80, 81, 8080, 9001):
                    plain = plainly_allowed(source_object, target_object, protocol, port, policies)
                    compiled = compiled_allowed(source, target, protocol, port, isolations)
                    flow = (
                        f"{source_object['metadata']['name']} to {target_object['metadata']['name']}:{port}/{protocol}"
                    )
                    assert compiled == plain, flow


def read(objects: Sequence[Object]) -> list[Pod]:
    return [found for found in map(pod, objects) if found is not None]


# Single rules, by name.


@pytest.mark.parametrize(
    ("spec", "ingress", "egress"),
    [
        pytest.param({"podSelector": {}}, True, False, id="without types or rules, ingress"),
        pytest.param({"podSelector": {}, "egress": []}, True, False, id="an empty list of egress rules asks for none"),
        pytest.param({"podSelector": {}, "egress": [{}]}, True, True, id="egress rules ask for egress too"),
        pytest.param({"podSelector": {}, "policyTypes": ["Egress"]}, False, True, id="types alone decide when given"),
        pytest.param(
            {"podSelector": {"matchLabels": {"no": "body"}}}, False, False, id="nobody selected, nobody closed"
        ),
    ],
)
def test_directions_in_which_a_policy_isolates(spec: Object, ingress: bool, egress: bool) -> None:
    isolations = compile_policies([policy(spec)], read([pod_object("web", "10.101.0.1")]), NAMESPACES)
    assert (bool(isolations.ingress), bool(isolations.egress)) == (ingress, egress)


def test_pods_that_have_ended_or_share_the_nodes_network_are_no_concern_of_policies() -> None:
    objects = [
        pod_object("done", "10.101.0.1", phase="Succeeded"),
        pod_object("failed", "10.101.0.2", phase="Failed"),
        pod_object("agent", "10.100.0.1", host_network=True),
        pod_object("early", ""),
    ]
    assert read(objects) == []


def test_pods_that_are_not_ready_count_on_both_sides() -> None:
    objects = [pod_object("web", "10.101.0.1", phase="Pending"), pod_object("client", "10.101.0.2", phase="Pending")]
    spec: Object = {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}
    isolations = compile_policies([policy(spec)], read(objects), NAMESPACES)
    assert [len(isolation.pods) for isolation in isolations.ingress] == [2]
    web, client = read(objects)
    assert compiled_allowed(client, web, "TCP", 80, isolations)


def test_pods_under_the_same_policies_share_one_isolation() -> None:
    objects = [pod_object(f"web-{at}", f"10.101.0.{at}", labels={"app": "web"}) for at in range(1, 40)]
    objects.append(pod_object("db", "10.101.0.40", labels={"app": "db"}))
    policies = [policy({"podSelector": {}}), policy({"podSelector": {"matchLabels": {"app": "db"}}})]
    assert len(compile_policies(policies, read(objects), NAMESPACES).ingress) == 2


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param({"ports": [{"protocol": "SCTP"}]}, id="SCTP"),
        pytest.param({"from": [{"ipBlock": {"cidr": "fd00::/8"}}]}, id="IPv6"),
        pytest.param({"from": [{}]}, id="an empty peer"),
    ],
)
def test_what_the_lab_does_not_have_opens_nothing(rule: Object) -> None:
    objects = [pod_object("web", "10.101.0.1"), pod_object("client", "10.101.0.2")]
    isolations = compile_policies([policy({"podSelector": {}, "ingress": [rule]})], read(objects), NAMESPACES)
    web, client = read(objects)
    assert not any(
        compiled_allowed(client, web, protocol, port, isolations) for protocol in ("TCP", "UDP") for port in (0, 80)
    )
