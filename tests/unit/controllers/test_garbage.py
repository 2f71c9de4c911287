"""Dependants follow their owners, hold them back, or are set free, as the deletion asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lateral.lab.deletion import delete, finalize

from .running import Cluster, running

if TYPE_CHECKING:
    from lateral.lab.store import Object


def config_map(cluster: Cluster, name: str, *owners: Object, **more: Any) -> Object:
    references = [
        {
            "apiVersion": "v1",
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
        for owner in owners
    ]
    meta = {"name": name, "namespace": "shop", **({"ownerReferences": references} if references else {}), **more}
    return cluster.store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})


def test_dependants_of_dependants_go_in_the_background() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            owner = config_map(cluster, "owner")
            child = config_map(cluster, "child", owner)
            config_map(cluster, "grandchild", child)
            await cluster.settled()
            delete(cluster.store, owner)
            assert cluster.find("ConfigMap", "owner") is None
            await cluster.until(lambda: not cluster.find("ConfigMap", "grandchild"), "the grandchild's end")

    asyncio.run(scenario())


def test_an_object_of_a_vanished_owner_goes() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            owner = config_map(cluster, "owner")
            cluster.store.remove("ConfigMap", "shop", "owner")
            config_map(cluster, "namesake")
            config_map(cluster, "late", owner)
            await cluster.until(lambda: not cluster.find("ConfigMap", "late"), "the late one's end")

    asyncio.run(scenario())


def test_another_object_of_the_owners_name_is_not_the_owner() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            owner = config_map(cluster, "owner")
            config_map(cluster, "child", owner)
            cluster.store.remove("ConfigMap", "shop", "owner")
            config_map(cluster, "owner")
            await cluster.until(lambda: not cluster.find("ConfigMap", "child"), "the child's end")

    asyncio.run(scenario())


def test_a_second_owner_keeps_the_dependant() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            first, second = config_map(cluster, "first"), config_map(cluster, "second")
            config_map(cluster, "child", first, second)
            await cluster.settled()
            delete(cluster.store, first)
            await cluster.settled()
            child = cluster.store.get("ConfigMap", "shop", "child")
            assert [owner["name"] for owner in child["metadata"]["ownerReferences"]] == ["second"]

    asyncio.run(scenario())


def test_a_foreground_deletion_waits_for_the_dependants() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            owner = config_map(cluster, "owner")
            child = config_map(cluster, "child", owner, finalizers=["example.com/hold"])
            config_map(cluster, "grandchild", child)
            await cluster.settled()
            delete(cluster.store, owner, propagation="Foreground")
            await cluster.settled()
            assert cluster.find("ConfigMap", "owner")
            assert cluster.find("ConfigMap", "grandchild") is None
            finalize(cluster.store, cluster.store.get("ConfigMap", "shop", "child"), "example.com/hold")
            await cluster.until(lambda: not cluster.find("ConfigMap", "owner"), "the owner's end")

    asyncio.run(scenario())


def test_orphans_are_set_free() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            owner = config_map(cluster, "owner")
            config_map(cluster, "child", owner)
            await cluster.settled()
            delete(cluster.store, owner, propagation="Orphan")
            await cluster.until(lambda: not cluster.find("ConfigMap", "owner"), "the owner's end")
            await cluster.settled()
            assert "ownerReferences" not in cluster.store.get("ConfigMap", "shop", "child")["metadata"]

    asyncio.run(scenario())


def test_an_owner_of_an_unknown_kind_is_left_to_stand() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            foreign = {"kind": "CronJob", "metadata": {"name": "nightly", "uid": "1"}}
            config_map(cluster, "child", foreign)
            await cluster.settled()
            assert cluster.find("ConfigMap", "child")

    asyncio.run(scenario())
