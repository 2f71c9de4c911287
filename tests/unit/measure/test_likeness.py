"""Policies that tell twins from the pods of an application's manifests are refused before anything is deployed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lateral import topology as topologies
from lateral.errors import ConfigurationError
from lateral.policy import PolicySet
from lateral.run import measure

from .simulated import Faults, by_kind, simulated

if TYPE_CHECKING:
    from lateral.topology import Topology

TOPOLOGY = """
application: shop
namespace: shop
manifests: manifests
workloads:
  - {name: web, labels: {app: web}, ports: [{port: 80, speaks: http}]}
  - {name: db, labels: {app: db}, ports: [{port: 80, speaks: http}], twin: false}
"""


def shop(folder: Path, labels: dict[str, str], kind: str = "Deployment", **spec: Any) -> Topology:
    """A web shop whose pods wear these labels besides their own; so do those of its database, which has no twin."""
    (folder / "manifests").mkdir()
    (folder / "shop.yaml").write_text(TOPOLOGY)
    found = []
    for name in ("web", "db"):
        worn = {"app": name, **labels}
        pod = {"metadata": {"labels": worn}, "spec": {"containers": [{"name": name, "image": name}], **spec}}
        found.append(
            {
                "apiVersion": "apps/v1",
                "kind": kind,
                "metadata": {"name": name},
                "spec": {"selector": {"matchLabels": worn}, "template": pod},
            }
        )
    (folder / "manifests" / "shop.yaml").write_text(yaml.safe_dump_all(found))
    return topologies.load(folder / "shop.yaml")


def policies(**spec: Any) -> PolicySet:
    made = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return PolicySet("mine", ({**made, "metadata": {"name": "mine", "namespace": "shop"}, "spec": spec},), ("mine:1",))


def refusal(topology: Topology, applied: PolicySet, faults: Faults | None = None) -> str:
    cluster, api = simulated(faults)
    before = by_kind(api)
    with pytest.raises(ConfigurationError) as refused:
        measure(cluster, topology, applied, progress=lambda _: None)
    assert by_kind(api) == before
    return str(refused.value)


@pytest.mark.parametrize(
    "spec",
    [
        {"podSelector": {"matchLabels": {"tier": "front"}}},
        {"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"tier": "front"}}}]}]},
        {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}},
    ],
    ids=("whom it selects", "a peer", "those that don't wear it"),
)
def test_a_label_that_the_topology_leaves_out(tmp_path: Path, spec: dict[str, Any]) -> None:
    """The twin would be kept out where its pods are let through, or the other way round."""
    said = refusal(shop(tmp_path, {"tier": "front"}), policies(**spec))
    assert said.startswith(
        "mine:1: NetworkPolicy mine goes by the label tier: the pods of web.shop wear it, and its twin wouldn't: "
        "add it to that workload's labels in the topology, or "
    )


@pytest.mark.parametrize(
    ("kind", "label"),
    [("StatefulSet", "statefulset.kubernetes.io/pod-name"), ("Deployment", "pod-template-hash")],
)
def test_a_label_of_kubernetes_own(tmp_path: Path, kind: str, label: str) -> None:
    said = refusal(shop(tmp_path, {}, kind), policies(podSelector={"matchLabels": {label: "web-0"}}))
    assert said.startswith(f"mine:1: NetworkPolicy mine goes by the label {label}: the pods of web.shop wear it")


def test_pods_on_their_nodes_network(tmp_path: Path) -> None:
    said = refusal(shop(tmp_path, {}, hostNetwork=True), policies(podSelector={}))
    assert said.startswith("shop: the pods of web.shop are on their nodes' network, under no policy, and its twin ")


def test_what_no_policy_asks_pods_for_may_be_left_out(tmp_path: Path) -> None:
    """A label of a namespace is none of a pod's: it is the cluster that refuses this policy, which is asked next."""
    peer = {"namespaceSelector": {"matchLabels": {"tier": "front"}}, "podSelector": {"matchLabels": {"app": "tier"}}}
    topology = shop(tmp_path, {"tier": "front", "owner": "me"})
    applied = policies(podSelector={"matchLabels": {"app": "web"}}, ingress=[{"from": [peer]}])
    assert refusal(topology, applied, Faults(invalid={"mine"})).endswith("no such protocol")
