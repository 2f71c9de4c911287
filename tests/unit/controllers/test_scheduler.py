"""Pods are bound where they fit; where they don't, they say why and wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lateral.lab.conditions import condition

from .running import NODE, Cluster, pod, running

if TYPE_CHECKING:
    from lateral.lab.store import Object


def scheduled(cluster: Cluster) -> Object:
    entry = condition(cluster.store.get("Pod", "shop", "a"), "PodScheduled")
    assert entry is not None
    return entry


def test_a_pod_is_bound() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(pod("a", nodeSelector={"kubernetes.io/os": "linux"}))
            await cluster.settled()
            assert cluster.pods()[0]["spec"]["nodeName"] == NODE
            assert scheduled(cluster)["status"] == "True"
            assert len(cluster.events("Scheduled")) == 1

    asyncio.run(scenario())


def test_a_pod_that_fits_nowhere_waits_for_the_nodes_label() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(pod("a", nodeSelector={"disk": "ssd"}))
            await cluster.settled()
            assert (scheduled(cluster)["status"], scheduled(cluster)["reason"]) == ("False", "Unschedulable")
            (told,) = cluster.events("FailedScheduling")
            assert told["message"] == "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
            cluster.store.modify("Node", "", NODE, lambda new: new["metadata"]["labels"].update(disk="ssd"))
            await cluster.settled()
            assert scheduled(cluster)["status"] == "True"

    asyncio.run(scenario())


def test_required_affinity_is_refused_rather_than_ignored() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            rules = {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname"}]}
            cluster.store.create(pod("a", affinity={"podAntiAffinity": rules}))
            await cluster.settled()
            assert "podAntiAffinity" in scheduled(cluster)["message"]

    asyncio.run(scenario())
