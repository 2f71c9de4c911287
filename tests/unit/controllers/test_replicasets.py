"""ReplicaSets keep as many pods as asked for, adopting and releasing as labels change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lateral.lab.controllers.ownership import controller_of

from .running import Cluster, pod, running, template

if TYPE_CHECKING:
    from lateral.lab.store import Object


def replica_set(replicas: int, **spec: Any) -> Object:
    labels = {"name": "carts", "hash": "one"}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "carts", "namespace": "shop"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template(labels), **spec},
    }


def status(cluster: Cluster) -> dict[str, Any]:
    found = cluster.find("ReplicaSet", "carts")
    assert found is not None
    return dict(found["status"])


def scaled(cluster: Cluster, replicas: int) -> None:
    cluster.edit("ReplicaSet", "carts", lambda new: new["spec"].update(replicas=replicas))


def test_pods_come_from_the_template_and_are_owned() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            owner = cluster.store.create(replica_set(3))
            await cluster.until(lambda: len(cluster.pods()) == 3, "three pods")
            for made in cluster.pods():
                assert made["metadata"]["name"].startswith("carts-")
                assert made["metadata"]["labels"] == {"name": "carts", "hash": "one"}
                holder = controller_of(made)
                assert holder is not None
                assert holder["uid"] == owner["metadata"]["uid"]
            assert len(cluster.events("SuccessfulCreate")) == 3

    asyncio.run(scenario())


def test_a_deleted_pod_is_replaced() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(replica_set(1))
            await cluster.until(cluster.pods, "a pod")
            gone = cluster.pods()[0]["metadata"]["name"]
            cluster.store.remove("Pod", "shop", gone)
            await cluster.until(lambda: cluster.pods() and cluster.pods()[0]["metadata"]["name"] != gone, "a new pod")

    asyncio.run(scenario())


def test_an_ended_pod_is_replaced_and_left() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(replica_set(1))
            await cluster.until(cluster.pods, "a pod")
            name = cluster.pods()[0]["metadata"]["name"]
            cluster.store.modify("Pod", "shop", name, lambda new: new["status"].update(phase="Failed"))
            await cluster.until(lambda: len(cluster.pods()) == 2, "a second pod")
            await cluster.until(lambda: status(cluster)["replicas"] == 1, "one counted pod")

    asyncio.run(scenario())


def test_scaling_down_loses_unready_pods_first() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(replica_set(3))
            await cluster.until(lambda: len(cluster.pods()) == 3, "three pods")
            kept = cluster.make_ready(cluster.pods()[1])["metadata"]["name"]
            scaled(cluster, 1)
            await cluster.settled()
            cluster.finish_deletions()
            assert [left["metadata"]["name"] for left in cluster.pods()] == [kept]

    asyncio.run(scenario())


def test_a_matching_orphan_is_adopted_and_counted() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(pod("mine", {"name": "carts", "hash": "one"}))
            cluster.store.create(pod("other", {"name": "carts", "hash": "two"}))
            cluster.store.create(replica_set(1))
            await cluster.until(
                lambda: "ownerReferences" in (cluster.find("Pod", "mine") or {})["metadata"], "adoption"
            )
            await cluster.settled()
            assert [each["metadata"]["name"] for each in cluster.pods()] == ["mine", "other"]
            assert "ownerReferences" not in cluster.pods()[1]["metadata"]

    asyncio.run(scenario())


def test_a_pod_that_no_longer_matches_is_released_and_replaced() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(replica_set(1))
            await cluster.until(cluster.pods, "a pod")
            name = cluster.pods()[0]["metadata"]["name"]
            cluster.store.modify(
                "Pod", "shop", name, lambda new: new["metadata"].update(labels={"name": "quarantined"})
            )
            await cluster.until(lambda: len(cluster.pods()) == 2, "a replacement")
            assert "ownerReferences" not in cluster.store.get("Pod", "shop", name)["metadata"]

    asyncio.run(scenario())


def test_status_counts_ready_and_available_pods() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(replica_set(2, minReadySeconds=600))
            await cluster.until(lambda: len(cluster.pods()) == 2, "two pods")
            cluster.make_ready(cluster.pods()[0])
            await cluster.until(lambda: status(cluster).get("readyReplicas") == 1, "a ready pod")
            assert "availableReplicas" not in status(cluster)
            cluster.edit("ReplicaSet", "carts", lambda new: new["spec"].update(minReadySeconds=0))
            await cluster.until(lambda: status(cluster).get("availableReplicas") == 1, "an available pod")
            assert status(cluster)["fullyLabeledReplicas"] == 2
            assert status(cluster)["observedGeneration"] == 2

    asyncio.run(scenario())
