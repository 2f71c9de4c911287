"""A namespace is born furnished, and goes only when its last pod and then its last object are gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lateral.lab.deletion import delete, finalize
from lateral.lab.events import Recorder

from .running import Cluster, deployment, pod, running

if TYPE_CHECKING:
    from lateral.lab.store import Object


def policy() -> Object:
    return {"kind": "NetworkPolicy", "metadata": {"name": "deny", "namespace": "shop"}, "spec": {"podSelector": {}}}


def end(cluster: Cluster) -> None:
    delete(cluster.store, cluster.store.get("Namespace", "", "shop"))


def test_a_namespace_is_born_with_account_and_certificate() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            assert cluster.find("ServiceAccount", "default")
            root = cluster.find("ConfigMap", "kube-root-ca.crt")
            assert root is not None
            assert root["data"] == {"ca.crt": "PEM"}
            cluster.store.remove("ServiceAccount", "shop", "default")
            await cluster.until(lambda: cluster.find("ServiceAccount", "default"), "the account again")

    asyncio.run(scenario())


def test_pods_go_before_the_policies_that_hold_them() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(policy())
            cluster.store.create(deployment(replicas=2))
            await cluster.until(lambda: len(cluster.pods()) == 2, "two pods")
            end(cluster)
            await cluster.settled()
            assert all("deletionTimestamp" in each["metadata"] for each in cluster.pods())
            assert len(cluster.pods()) == 2
            assert cluster.find("NetworkPolicy", "deny")
            assert cluster.store.get("Namespace", "", "shop")["status"]["phase"] == "Terminating"
            cluster.finish_deletions()
            await cluster.until(lambda: not cluster.store.find("Namespace", "", "shop"), "the namespace's end")
            assert not [each for kind in ("Deployment", "ReplicaSet", "Event") for each in cluster.store.list(kind)]

    asyncio.run(scenario())


def test_a_finalizer_holds_the_namespace() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            held = pod("held")
            held["metadata"]["finalizers"] = ["example.com/hold"]
            cluster.store.create(held)
            await cluster.settled()
            end(cluster)
            await cluster.settled()
            cluster.finish_deletions()
            await cluster.settled()
            assert cluster.store.find("Namespace", "", "shop")
            finalize(cluster.store, cluster.pods()[0], "example.com/hold")
            await cluster.until(lambda: not cluster.store.find("Namespace", "", "shop"), "the namespace's end")

    asyncio.run(scenario())


def test_nothing_is_told_into_a_namespace_that_goes() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            made = cluster.store.create(pod("a"))
            await cluster.settled()
            end(cluster)
            before = len(cluster.store.list("Event", "shop"))
            Recorder(cluster.store).normal(made, "Killing", "Stopping container main", "kubelet")
            assert len(cluster.store.list("Event", "shop")) <= before

    asyncio.run(scenario())
