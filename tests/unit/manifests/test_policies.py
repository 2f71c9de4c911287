"""The packaged policy sets, judged by an evaluator of NetworkPolicy written for this test alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import pytest
import yaml

from lateral import topology
from lateral.model import Expectation, Flow

Policy = dict[str, Any]

SHOP = topology.load("sock-shop")


@dataclass(frozen=True, slots=True)
class _Pod:
    namespace: str
    labels: Mapping[str, str]


def _policies(name: str) -> list[Policy]:
    folder = resources.files("lateral.manifests").joinpath("policies", name)
    return [document for file in folder.iterdir() for document in yaml.safe_load_all(file.read_text()) if document]


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, "the evaluator knows no expressions"
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def _peer_matches(peer: Mapping[str, Any], pod: _Pod, home: str) -> bool:
    assert set(peer) <= {"podSelector", "namespaceSelector"}, "the evaluator knows no ipBlock"
    if "namespaceSelector" in peer:
        placed = _selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": pod.namespace})
    else:
        placed = pod.namespace == home
    return placed and _selects(peer.get("podSelector", {}), pod.labels)


def _admits(policies: list[Policy], direction: str, pod: _Pod, other: _Pod, port: int, protocol: str) -> bool:
    """Whether the policies on one pod let a connection with the other pass in one direction."""
    kind, peers = ("Ingress", "from") if direction == "ingress" else ("Egress", "to")
    selecting = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and kind in policy["spec"]["policyTypes"]
        and _selects(policy["spec"]["podSelector"], pod.labels)
    ]
    if not selecting:
        return True
    return any(
        (not rule.get(peers) or any(_peer_matches(peer, other, pod.namespace) for peer in rule[peers]))
        and any((entry["protocol"], entry["port"]) == (protocol, port) for entry in rule["ports"])
        for policy in selecting
        for rule in policy["spec"].get(direction, [])
    )


def _open(policies: list[Policy], flow: Flow) -> bool:
    source = _Pod(flow.source.namespace, flow.source.labels)
    target = _Pod(flow.target.namespace, flow.target.selector)
    port, protocol = flow.target.pod_port, flow.target.protocol
    return _admits(policies, "egress", source, target, port, protocol) and _admits(
        policies, "ingress", target, source, port, protocol
    )


def test_exactly_the_intended_flows_are_open() -> None:
    """The kubernetes set lets through every flow that the topology intends, and no other of all pairs."""
    policies = _policies("kubernetes")
    wrong = [
        f"{flow.id}: {flow.expectation}, but {'open' if _open(policies, flow) else 'closed'}"
        for flow in SHOP.flows()
        if _open(policies, flow) is not (flow.expectation is Expectation.ALLOW)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_policy_of_the_set_is_needed() -> None:
    """Without any one of them some flow is wrongly open or wrongly closed."""
    policies = _policies("kubernetes")
    idle = []
    for policy in policies:
        rest = [other for other in policies if other is not policy]
        changed = any(_open(rest, flow) is not _open(policies, flow) for flow in SHOP.flows())
        if not changed:
            idle.append(policy["metadata"]["name"])
    assert idle == []


def test_the_tutorials_policy_closes_user_db_to_all_but_user() -> None:
    """It leaves everything else as open as it was."""
    closed = {(flow.source.id, flow.target.id) for flow in SHOP.flows() if not _open(_policies("tutorial"), flow)}
    assert closed == {
        (source.id, "user-db.sock-shop:27017/TCP") for source in SHOP.sources() if source.id != "user.sock-shop"
    }


@pytest.mark.parametrize("name", ["kubernetes", "tutorial"])
def test_ports_are_numbers_of_pods(name: str) -> None:
    """Some engines skip named ports, and all compare with the port that the pod listens on."""
    listened = {(target.selector["name"], target.pod_port) for target in SHOP.targets() if "name" in target.selector}
    for policy in _policies(name):
        for rule in policy["spec"].get("ingress", []):
            for entry in rule["ports"]:
                assert (policy["spec"]["podSelector"]["matchLabels"]["name"], entry["port"]) in listened


def _services() -> Iterator[tuple[str, Mapping[str, str]]]:
    for file in resources.files("lateral.manifests").joinpath("sock-shop").iterdir():
        for document in yaml.safe_load_all(file.read_text()):
            if document.get("kind") == "Service":
                yield document["metadata"]["name"], document["spec"]["selector"]


def test_peers_select_exactly_as_the_services_do() -> None:
    """An engine that knows a Service by its peers' selector then opens its address as well."""
    selectors = dict(_services())
    peers = [
        peer["podSelector"]["matchLabels"]
        for policy in _policies("kubernetes")
        for direction, key in (("ingress", "from"), ("egress", "to"))
        for rule in policy["spec"].get(direction, [])
        for peer in rule.get(key, [])
        if "namespaceSelector" not in peer
    ]
    assert peers
    assert all(peer in selectors.values() for peer in peers)
