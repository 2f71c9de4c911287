"""EndpointSlices hold the pods behind a Service, and only the ready ones as ready."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lateral.lab.deletion import delete

from .running import Cluster, pod, running, service

if TYPE_CHECKING:
    from lateral.lab.store import Object


def slices(cluster: Cluster) -> list[Object]:
    return cluster.store.list("EndpointSlice", "shop")


def endpoints(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Conditions by pod."""
    return {each["targetRef"]["name"]: each["conditions"] for found in slices(cluster) for each in found["endpoints"]}


def test_ready_and_unready_pods_are_told_apart() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(service())
            for name in ("a", "b", "without-address"):
                cluster.store.create(pod(name, {"name": "carts"}))
            cluster.store.create(pod("stranger", {"name": "orders"}))
            await cluster.settled()
            cluster.make_ready(cluster.store.get("Pod", "shop", "a"))
            cluster.make_ready(cluster.store.get("Pod", "shop", "b"), ready=False)
            cluster.make_ready(cluster.store.get("Pod", "shop", "stranger"))
            await cluster.settled()
            assert endpoints(cluster) == {
                "a": {"ready": True, "serving": True, "terminating": False},
                "b": {"ready": False, "serving": False, "terminating": False},
            }
            (found,) = slices(cluster)
            assert found["metadata"]["name"].startswith("carts-")
            assert found["metadata"]["labels"]["kubernetes.io/service-name"] == "carts"
            managed = found["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
            assert managed == "endpointslice-controller.k8s.io"
            assert found["ports"] == [{"name": "", "port": 8079, "protocol": "TCP"}]
            assert found["endpoints"][0]["nodeName"] == "lab-node"

    asyncio.run(scenario())


def test_a_terminating_pod_serves_but_is_not_ready() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(service())
            made = cluster.store.create(pod("a", {"name": "carts"}))
            await cluster.settled()
            made = cluster.make_ready(made)
            delete(cluster.store, made)
            await cluster.settled()
            assert endpoints(cluster) == {"a": {"ready": False, "serving": True, "terminating": True}}
            cluster.finish_deletions()
            await cluster.settled()
            assert endpoints(cluster) == {}
            assert len(slices(cluster)) == 1

    asyncio.run(scenario())


def test_an_ended_pod_is_left_out() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(service())
            made = cluster.store.create(pod("a", {"name": "carts"}))
            await cluster.settled()
            cluster.make_ready(made)
            cluster.store.modify("Pod", "shop", "a", lambda new: new["status"].update(phase="Succeeded"))
            await cluster.settled()
            assert endpoints(cluster) == {}

    asyncio.run(scenario())


def test_a_changed_label_moves_a_pod_in_and_out() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(service())
            made = cluster.store.create(pod("a", {"name": "orders"}))
            await cluster.settled()
            cluster.make_ready(made)
            for label, expected in (("carts", ["a"]), ("orders", [])):
                cluster.relabel("a", name=label)
                await cluster.settled()
                assert list(endpoints(cluster)) == expected

    asyncio.run(scenario())


def test_named_target_ports_are_each_pods_own() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(service(ports=[{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]))
            odd = pod("odd", {"name": "carts"})
            odd["spec"]["containers"][0]["ports"][0]["containerPort"] = 9000
            for made in (pod("even", {"name": "carts"}), odd):
                cluster.store.create(made)
            await cluster.settled()
            for each in cluster.pods():
                cluster.make_ready(each)
            await cluster.settled()
            found = {each["endpoints"][0]["targetRef"]["name"]: each["ports"][0]["port"] for each in slices(cluster)}
            assert found == {"even": 8079, "odd": 9000}

    asyncio.run(scenario())


def test_not_ready_addresses_are_published_on_request() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(service(publishNotReadyAddresses=True, clusterIP="None"))
            made = cluster.store.create(pod("a", {"name": "carts"}))
            await cluster.settled()
            cluster.make_ready(made, ready=False)
            await cluster.settled()
            assert endpoints(cluster)["a"]["ready"] is True
            assert "service.kubernetes.io/headless" in slices(cluster)[0]["metadata"]["labels"]

    asyncio.run(scenario())


def test_a_service_without_selector_is_left_alone() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(service(selector={}))
            own = {"name": "own", "namespace": "shop", "labels": {"kubernetes.io/service-name": "carts"}}
            cluster.store.create({"kind": "EndpointSlice", "metadata": own, "endpoints": [], "ports": []})
            await cluster.settled()
            assert [found["metadata"]["name"] for found in slices(cluster)] == ["own"]

    asyncio.run(scenario())


def test_slices_go_with_their_service() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            made = cluster.store.create(service())
            await cluster.until(lambda: slices(cluster), "a slice")
            delete(cluster.store, made)
            await cluster.until(lambda: not slices(cluster), "no slice")

    asyncio.run(scenario())
