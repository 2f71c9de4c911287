"""Deployments lead from one template to the next without losing more pods than allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lateral.lab.conditions import condition
from lateral.lab.deletion import delete, terminating

from .running import Cluster, deployment, running

if TYPE_CHECKING:
    from lateral.lab.store import Object


def current(cluster: Cluster) -> Object:
    return cluster.store.get("Deployment", "shop", "carts")


def replica_sets(cluster: Cluster) -> dict[str, Object]:
    """By image."""
    found = cluster.store.list("ReplicaSet", "shop")
    return {each["spec"]["template"]["spec"]["containers"][0]["image"]: each for each in found}


def images(cluster: Cluster) -> list[str]:
    return sorted(pod["spec"]["containers"][0]["image"] for pod in cluster.pods() if not terminating(pod))


def use(image: str) -> Callable[[Object], None]:
    def change(new: Object) -> None:
        new["spec"]["template"]["spec"]["containers"][0]["image"] = image

    return change


async def rolled_out(cluster: Cluster, image: str, replicas: int) -> int:
    """Play the kubelet until every pod has the image; returns the fewest ready pods that were seen."""
    fewest = replicas
    for _ in range(20 * replicas):
        await cluster.settled()
        ready = [pod for pod in cluster.pods() if pod["status"]["phase"] == "Running" and not terminating(pod)]
        fewest = min(fewest, len(ready))
        if images(cluster) == [image] * replicas and len(ready) == replicas:
            cluster.finish_deletions()
            await cluster.settled()
            return fewest
        cluster.finish_deletions()
        pending = [pod for pod in cluster.pods() if pod["status"]["phase"] == "Pending"]
        if pending:
            cluster.make_ready(pending[0])
    raise AssertionError(f"never all {image}: {images(cluster)}")


async def started(cluster: Cluster, **spec: Any) -> None:
    made = cluster.store.create(deployment(**spec))
    await rolled_out(cluster, "carts:1", made["spec"]["replicas"])


def test_a_deployment_becomes_available() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(deployment(replicas=2))
            await cluster.until(lambda: len(cluster.pods()) == 2, "two pods")
            await cluster.settled()
            unavailable = condition(current(cluster), "Available")
            assert unavailable is not None
            assert unavailable["status"] == "False"
            await rolled_out(cluster, "carts:1", 2)
            status = current(cluster)["status"]
            counts = {name: count for name, count in status.items() if name != "conditions"}
            assert counts == {
                "observedGeneration": 1,
                "replicas": 2,
                "updatedReplicas": 2,
                "readyReplicas": 2,
                "availableReplicas": 2,
            }
            reasons = {entry["type"]: (entry["status"], entry["reason"]) for entry in status["conditions"]}
            assert reasons == {
                "Available": ("True", "MinimumReplicasAvailable"),
                "Progressing": ("True", "NewReplicaSetAvailable"),
            }
            labels = cluster.pods()[0]["metadata"]["labels"]
            assert labels["pod-template-hash"] in cluster.pods()[0]["metadata"]["name"]

    asyncio.run(scenario())


def test_a_rolling_update_never_has_too_few_pods() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
            await started(cluster, replicas=4, strategy=rolling)
            cluster.edit("Deployment", "carts", use("carts:2"))
            fewest = await rolled_out(cluster, "carts:2", 4)
            assert fewest == 3
            assert replica_sets(cluster)["carts:1"]["spec"]["replicas"] == 0
            assert current(cluster)["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
            assert cluster.events("ScalingReplicaSet")

    asyncio.run(scenario())


def test_a_single_replica_is_replaced_only_when_the_new_one_is_ready() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            await started(cluster, replicas=1)
            cluster.edit("Deployment", "carts", use("carts:2"))
            await cluster.settled()
            assert images(cluster) == ["carts:1", "carts:2"]
            assert await rolled_out(cluster, "carts:2", 1) == 1

    asyncio.run(scenario())


def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            await started(cluster, replicas=2, strategy={"type": "Recreate"})
            cluster.edit("Deployment", "carts", use("carts:2"))
            await cluster.settled()
            assert images(cluster) == []
            assert len(cluster.pods()) == 2
            cluster.finish_deletions()
            await cluster.until(lambda: images(cluster) == ["carts:2", "carts:2"], "the new pods")

    asyncio.run(scenario())


def test_going_back_reuses_the_old_replica_set() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            await started(cluster, replicas=1)
            first = replica_sets(cluster)["carts:1"]["metadata"]["uid"]
            cluster.edit("Deployment", "carts", use("carts:2"))
            await rolled_out(cluster, "carts:2", 1)
            cluster.edit("Deployment", "carts", use("carts:1"))
            await rolled_out(cluster, "carts:1", 1)
            assert replica_sets(cluster)["carts:1"]["metadata"]["uid"] == first
            assert current(cluster)["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"

    asyncio.run(scenario())


def test_scaling_changes_no_replica_set_but_the_current() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            await started(cluster, replicas=1)
            cluster.edit("Deployment", "carts", lambda new: new["spec"].update(replicas=3))
            await rolled_out(cluster, "carts:1", 3)
            cluster.edit("Deployment", "carts", lambda new: new["spec"].update(replicas=0))
            await cluster.settled()
            cluster.finish_deletions()
            assert cluster.pods() == []
            assert list(replica_sets(cluster)) == ["carts:1"]

    asyncio.run(scenario())


def test_a_paused_deployment_starts_no_rollout() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            await started(cluster, replicas=1)
            cluster.edit("Deployment", "carts", lambda new: (new["spec"].update(paused=True), use("carts:2")(new))[0])
            await cluster.settled()
            assert images(cluster) == ["carts:1"]
            cluster.edit("Deployment", "carts", lambda new: new["spec"].update(paused=False))
            await rolled_out(cluster, "carts:2", 1)

    asyncio.run(scenario())


def test_old_replica_sets_beyond_the_history_go() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            await started(cluster, replicas=1, revisionHistoryLimit=1)
            for image in ("carts:2", "carts:3"):
                cluster.edit("Deployment", "carts", use(image))
                await rolled_out(cluster, image, 1)
            await cluster.until(lambda: sorted(replica_sets(cluster)) == ["carts:2", "carts:3"], "a short history")

    asyncio.run(scenario())


def test_no_progress_is_told() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            cluster.store.create(deployment(replicas=1, progressDeadlineSeconds=1))

            def exceeded() -> bool:
                entry = condition(current(cluster), "Progressing")
                return entry is not None and entry["reason"] == "ProgressDeadlineExceeded"

            await cluster.until(exceeded, "the deadline")

    asyncio.run(scenario())


def test_deleting_a_deployment_takes_everything_along() -> None:
    async def scenario() -> None:
        async with running() as cluster:
            await started(cluster, replicas=2)
            delete(cluster.store, current(cluster))
            await cluster.settled()
            cluster.finish_deletions()
            await cluster.until(lambda: not cluster.pods() and not replica_sets(cluster), "nothing left")

    asyncio.run(scenario())
