"""A store with controllers running over it, and a hand that plays the kubelet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from lateral.lab.conditions import set_condition
from lateral.lab.controllers import all_of
from lateral.lab.deletion import settle, terminating
from lateral.lab.events import Recorder
from lateral.lab.store import Object, Store

NODE = "lab-node"
PATIENCE = 2.0


class Cluster:
    """A store that all controllers act on. Pods do nothing by themselves: tests say what becomes of them."""

    def __init__(self) -> None:
        self.store = Store()
        self._addresses = iter(range(1, 250))
        self.store.create({"kind": "Namespace", "metadata": {"name": "shop"}, "status": {"phase": "Active"}})
        labels = {"kubernetes.io/os": "linux"}
        self.store.create({"kind": "Node", "metadata": {"name": NODE, "labels": labels}, "spec": {}})

    def pods(self) -> list[Object]:
        return self.store.list("Pod", "shop")

    def find(self, kind: str, name: str) -> Object | None:
        return self.store.find(kind, "shop", name)

    def edit(self, kind: str, name: str, change: Callable[[Object], None]) -> Object:
        def bumped(obj: Object) -> None:
            change(obj)
            obj["metadata"]["generation"] += 1

        return self.store.modify(kind, "shop", name, bumped)

    def relabel(self, pod: str, **labels: str) -> None:
        self.store.modify("Pod", "shop", pod, lambda new: new["metadata"].update(labels=labels))

    def make_ready(self, pod: Object, *, ready: bool = True) -> Object:
        def change(new: Object) -> None:
            new["status"].setdefault("podIP", f"10.101.0.{next(self._addresses)}")
            new["status"]["phase"] = "Running"
            set_condition(new, "Ready", "True" if ready else "False")

        return self.store.modify("Pod", "shop", pod["metadata"]["name"], change)

    def finish_deletions(self) -> None:
        """What the kubelet does at the end of each deleted pod."""

        def change(new: Object) -> None:
            new["metadata"]["deletionGracePeriodSeconds"] = 0

        for pod in self.pods():
            if terminating(pod):
                settle(self.store, self.store.modify("Pod", "shop", pod["metadata"]["name"], change))

    def events(self, reason: str) -> list[Object]:
        return [event for event in self.store.list("Event", "shop") if event["reason"] == reason]

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for a condition; fails with what it waited for."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    await asyncio.sleep(0.002)
        except TimeoutError:
            raise AssertionError(f"not within {PATIENCE} s: {what}") from None

    async def settled(self) -> None:
        """Wait until the controllers have nothing left to do."""
        quiet, version = 0, -1
        async with asyncio.timeout(PATIENCE):
            while quiet < 20:
                await asyncio.sleep(0)
                quiet = quiet + 1 if self.store.version == version else 0
                version = self.store.version


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    tasks = [
        asyncio.create_task(each.run()) for each in all_of(cluster.store, ca="PEM", events=Recorder(cluster.store))
    ]
    try:
        await cluster.settled()
        yield cluster
        assert not [task for task in tasks if task.done()], "a controller ended by itself"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def deployment(name: str = "carts", replicas: int = 2, **spec: Any) -> Object:
    labels = {"name": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": template(labels),
            **spec,
        },
    }


def template(labels: dict[str, str], image: str = "carts:1", **spec: Any) -> Object:
    containers = [
        {"name": "main", "image": image, "ports": [{"name": "web", "containerPort": 8079, "protocol": "TCP"}]}
    ]
    return {"metadata": {"labels": labels}, "spec": {"containers": containers, **spec}}


def pod(name: str, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    shape = template(labels or {}, **spec)
    meta = {"name": name, "namespace": "shop", **shape["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": shape["spec"], "status": {"phase": "Pending"}}


def service(name: str = "carts", **spec: Any) -> Object:
    ports = [{"port": 80, "targetPort": 8079, "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"name": name}, "ports": ports, "type": "ClusterIP", **spec},
    }
