"""An application of any kinds is waited for until all of its pods are ready."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lateral import application
from lateral.cluster import Cluster
from lateral.connection import ApiError
from lateral.errors import WaitError
from lateral.model import ClusterFacts
from lateral.topology import Topology, load

Object = dict[str, Any]

PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "Pod": "pods"}
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


class Api:
    """A list of objects for each kind, one after the other; the last one stays."""

    def __init__(self, lists: dict[str, list[list[Object]]]) -> None:
        self._lists = lists
        self.asked: set[str] = set()

    def request(self, method: str, path: str, query: object = None, body: object = None, content_type: str = "") -> Any:
        assert (method, query, body) == ("GET", None, None), content_type
        if path.endswith("v1"):
            return {"resources": [{"kind": kind, "name": name, "namespaced": True} for kind, name in PLURALS.items()]}
        kind = next(kind for kind, name in PLURALS.items() if path.endswith(f"/namespaces/shop/{name}"))
        self.asked.add(kind)
        if kind not in self._lists:
            raise ApiError(f"{kind} is forbidden", 403)
        found = self._lists[kind]
        return {"items": found.pop(0) if len(found) > 1 else found[0]}

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"unplanned: {name}")


def written(folder: Path, *kinds: str) -> Topology:
    (folder / "manifests").mkdir()
    documents = [{"apiVersion": "v1", "kind": kind, "metadata": {"name": kind.lower()}} for kind in ("Service", *kinds)]
    (folder / "manifests" / "all.yaml").write_text(yaml.safe_dump_all(documents))
    workload = {"name": "web", "labels": {"app": "web"}, "ports": [{"port": 80, "speaks": "http"}]}
    data = {"application": "shop", "namespace": "shop", "manifests": "manifests", "workloads": [workload]}
    (folder / "shop.yaml").write_text(yaml.safe_dump(data))
    return load(folder / "shop.yaml")


def one(kind: str, status: Object, generation: int = 1, **spec: Any) -> Object:
    return {"metadata": {"name": kind.lower(), "generation": generation}, "spec": spec, "status": status}


def waited(topology: Topology, api: Api) -> list[str]:
    said: list[str] = []
    application.wait_ready(Cluster(api, ClusterFacts("paper", "", "test")), topology, said.append, 0.0)
    return [line.partition(" in ")[0] for line in said]


def test_all_kinds_are_waited_for(tmp_path: Path) -> None:
    """Each tells its readiness in its own words; one that isn't there yet isn't ready."""
    api = Api(
        {
            "Deployment": [
                [one("Deployment", {"observedGeneration": 1, "readyReplicas": 2, "updatedReplicas": 2}, replicas=2)]
            ],
            "StatefulSet": [
                [],
                [one("StatefulSet", {"observedGeneration": 1, "readyReplicas": 1, "updatedReplicas": 0})],
                [one("StatefulSet", {"observedGeneration": 1, "readyReplicas": 1, "updatedReplicas": 1})],
            ],
            "DaemonSet": [
                [],
                [],
                [],
                [
                    one(
                        "DaemonSet",
                        {
                            "observedGeneration": 1,
                            "desiredNumberScheduled": 2,
                            "numberReady": 2,
                            "updatedNumberScheduled": 2,
                        },
                    )
                ],
            ],
            "Pod": [[one("Pod", READY)]],
        }
    )
    topology = written(tmp_path, "Deployment", "StatefulSet", "DaemonSet", "Pod")
    assert waited(topology, api) == ["shop ready 2/4", "shop ready 3/4", "shop ready 4/4"]


def test_only_the_kinds_that_are_deployed_are_read(tmp_path: Path) -> None:
    """A cluster may lack the others, or not let us read them."""
    api = Api({"Pod": [[one("Pod", READY)]]})
    assert waited(written(tmp_path, "Pod"), api) == ["shop ready 1/1"]
    assert api.asked == {"Pod"}


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"observedGeneration": 1, "desiredNumberScheduled": 2, "numberReady": 1, "updatedNumberScheduled": 2},
        {"observedGeneration": 1, "desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 1},
        {"observedGeneration": 0, "desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2},
    ],
)
def test_what_never_becomes_ready_is_named(status: Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "READY_TIMEOUT", 0.2)
    stuck = {"metadata": {"name": "agent-x"}, "status": {"containerStatuses": [
        {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    ]}}  # fmt: skip
    api = Api({"DaemonSet": [[one("DaemonSet", status)]], "Pod": [[stuck]]})
    with pytest.raises(WaitError, match="not ready: daemonset; agent-x: ImagePullBackOff no such image"):
        waited(written(tmp_path, "DaemonSet"), api)
