"""Which pods dial and where everybody is, as the cluster tells."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lateral import application, attacker, foothold
from lateral.cluster import Cluster
from lateral.model import ClusterFacts
from lateral.resources import Run
from lateral.topology import load

from .simulated import SimulatedApi

SHOP = load("sock-shop")
RUN = Run("1f2e3d4c")
GOING: dict[str, Any] = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
EVICTED: dict[str, Any] = {"status": {"phase": "Failed"}}


@pytest.fixture
def api() -> SimulatedApi:
    api = SimulatedApi()
    cluster(api).apply([*application.documents(SHOP, RUN), *attacker.documents(SHOP, RUN)])
    return api


def cluster(api: SimulatedApi) -> Cluster:
    return Cluster(api, ClusterFacts("simulated", "v1.32.0", "simulated"))


def leave(api: SimulatedApi, prefix: str, how: dict[str, Any], node: str) -> None:
    """Another pod like the one whose name begins so, listed before it, on another node."""
    [pod] = [one for one in api.pods() if one["metadata"]["name"].startswith(prefix)]
    old = copy.deepcopy(pod)
    old["metadata"].update({"name": f"{prefix}-0", "uid": "old", **how.get("metadata", {})})
    old["status"].update(how.get("status", {}))
    old["spec"]["nodeName"] = node
    api.objects = {("Pod", old["metadata"]["namespace"], old["metadata"]["name"]): old, **api.objects}


@pytest.mark.parametrize("how", [GOING, EVICTED], ids=["going", "evicted"])
def test_what_a_lost_node_has_left_keeps_nobody_there(api: SimulatedApi, how: dict[str, Any]) -> None:
    """Nothing that is put on that node ever runs, and nobody dials such a pod."""
    leave(api, "user-db", how, "node-lost")
    found = foothold.sites(cluster(api), SHOP, RUN, existing=False)
    assert found is not None
    assert found.nodes == {"node-a", "node-b"}
    assert "node-lost" not in {node for nodes in found.further(None).values() for node in nodes}


@pytest.mark.parametrize("how", [GOING, EVICTED], ids=["going", "evicted"])
def test_a_twin_that_was_replaced_is_the_one_that_runs(api: SimulatedApi, how: dict[str, Any]) -> None:
    """What a node refuses stays behind as failed, and the ReplicaSet makes another."""
    leave(api, "twin-user-db", how, "node-a")
    found = foothold.wait_ready(cluster(api), SHOP, RUN, {})
    [twin] = [one for one in found if one.source.key == "twin user-db.sock-shop"]
    assert twin.pod["metadata"]["uid"] != "old"


UNPLACED: dict[str, Any] = {"conditions": [{"type": "PodScheduled", "status": "False"}]}


@pytest.mark.parametrize("status", [None, UNPLACED], ids=["scaled to nothing", "without a place"])
def test_what_an_application_has_no_pod_of_keeps_nobody_waiting(
    api: SimulatedApi, status: dict[str, Any] | None
) -> None:
    """Where the run deploys it, it will have one."""
    [key] = [key for key in api.objects if key[0] == "Pod" and key[2].startswith("user-db-")]
    pod = api.objects.pop(key)
    if status is not None:
        pod["spec"].pop("nodeName")
        api.objects[key] = pod | {"status": {"phase": "Pending", **status}}
    assert foothold.sites(cluster(api), SHOP, RUN, existing=False) is None
    found = foothold.sites(cluster(api), SHOP, RUN, existing=True)
    assert found is not None
    assert found.targets["user-db.sock-shop"] == frozenset()
    assert found.nodes == {"node-a", "node-b"}


def test_a_pod_that_is_about_to_be_bound_is_waited_for(api: SimulatedApi) -> None:
    [pod] = [one for one in api.pods() if one["metadata"]["name"].startswith("user-db-")]
    del pod["spec"]["nodeName"]
    assert foothold.sites(cluster(api), SHOP, RUN, existing=True) is None
