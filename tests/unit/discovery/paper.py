"""A cluster on paper: it has the objects that it is given, answers what reads, and refuses everything that changes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lateral.cluster import Cluster
from lateral.connection import ApiError
from lateral.model import ClusterFacts

Object = dict[str, Any]

PLURALS = {
    "/api/v1": {"Namespace": "namespaces", "Pod": "pods", "Service": "services"},
    "/apis/apps/v1": {
        "Deployment": "deployments",
        "StatefulSet": "statefulsets",
        "DaemonSet": "daemonsets",
        "ReplicaSet": "replicasets",
    },
    "/apis/networking.k8s.io/v1": {"NetworkPolicy": "networkpolicies"},
    "/apis/cilium.io/v2": {
        "CiliumNetworkPolicy": "ciliumnetworkpolicies",
        "CiliumClusterwideNetworkPolicy": "ciliumclusterwidenetworkpolicies",
    },
}
GROUPS = {"groups": [{"name": "cilium.io", "versions": [{"version": "v2"}], "preferredVersion": {"version": "v2"}}]}
CLUSTERWIDE = ("Namespace", "CiliumClusterwideNetworkPolicy")
NO_CAT = 'exec: "cat": executable file not found in $PATH'
TCP = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
UDP = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref drops\n"


def listening(*ports: int, udp: Iterable[int] = ()) -> str:
    """The kernel's tables of a pod in which these ports listen on every address."""
    tcp = "".join(f"   {at}: 00000000:{port:04X} 00000000:0000 0A 0 0 0 0 0\n" for at, port in enumerate(ports))
    return TCP + tcp + UDP + "".join(f"   1: 00000000:{port:04X} 00000000:0000 07 0 0 0 0 0\n" for port in udp)


class PaperExec:
    """An exec that ends at once: with what the command would have printed, or an error."""

    def __init__(self, printed: str, failure: str) -> None:
        status = {"status": "Failure", "message": failure} if failure else {"status": "Success"}
        self._frames = [b"\x01" + printed.encode(), b"\x03" + json.dumps(status).encode()]

    def send(self, message: bytes) -> None:
        assert message[1:] == b"", "the command was sent something"

    def receive(self, timeout: float) -> bytes | None:
        assert timeout > 0
        return self._frames.pop(0) if self._frames else None

    def ready(self, other: object, timeout: float) -> tuple[bool, bool]:
        raise AssertionError(f"unplanned wait for {other} of {timeout} s")

    def close(self) -> None:
        pass


class PaperApi:
    """`tables` are by pod and container; `refused` kinds are forbidden, `missing` ones unknown to the cluster."""

    def __init__(
        self,
        objects: Iterable[Object],
        tables: Mapping[tuple[str, str], str],
        refused: Iterable[str] = (),
        missing: Iterable[str] = (),
    ) -> None:
        self._objects = list(objects)
        self._tables = tables
        self._refused = set(refused)
        self._missing = set(missing)

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        assert (method, body, query, content_type) == ("GET", None, None, "application/json"), f"{method} {path}"
        if path == "/apis":
            return GROUPS
        if path in PLURALS:
            known = {kind: plural for kind, plural in PLURALS[path].items() if kind not in self._missing}
            return {"resources": [{"kind": k, "name": p, "namespaced": k not in CLUSTERWIDE} for k, p in known.items()]}
        root = next(root for root in PLURALS if path.startswith(root + "/"))
        parts = path.removeprefix(root + "/").split("/")
        namespace, rest = (parts[1], parts[2:]) if len(parts) > 2 else ("", parts)
        kind = next(kind for kind, plural in PLURALS[root].items() if plural == rest[0])
        if kind in self._refused:
            raise ApiError(f"{rest[0]} is forbidden", 403)
        found = [
            one for one in self._objects if one["kind"] == kind and one["metadata"].get("namespace", "") == namespace
        ]
        if len(rest) == 1:
            # As in a real list, the items don't say their kind.
            return {"items": [{key: value for key, value in one.items() if key != "kind"} for one in found]}
        for one in found:
            if one["metadata"]["name"] == rest[1]:
                return one
        raise ApiError(f"{rest[0]} {rest[1]!r} not found", 404)

    def websocket(self, path: str, query: Iterable[tuple[str, str]]) -> PaperExec:
        asked = list(query)
        pod = path.split("/")[-2]
        assert path.endswith("/exec")
        assert next(value for name, value in asked if name == "command") == "cat"
        if "pods/exec" in self._refused:
            raise ApiError("pods/exec is forbidden", 403)
        printed = self._tables.get((pod, dict(asked)["container"]), "")
        return PaperExec(printed, "" if printed else NO_CAT)

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        raise AssertionError(f"unplanned: {path} {query}")

    def watch(self, path: str, query: Mapping[str, str]) -> Iterator[Any]:
        raise AssertionError(f"unplanned: {path} {query}")

    def break_streams(self) -> None:
        pass

    def abandon(self, why: str) -> None:
        raise AssertionError(f"unplanned: {why}")

    def refusing(self, why: str) -> AbstractContextManager[None]:  # noqa: ARG002
        return nullcontext()

    def close(self) -> None:
        pass


def cluster(
    *objects: Object, tables: Mapping[tuple[str, str], str] | None = None, refused: Iterable[str] = (),
    missing: Iterable[str] = (), namespaces: Iterable[str] = ("shop",),
) -> Cluster:  # fmt: skip
    homes = [{"kind": "Namespace", "metadata": {"name": name}} for name in namespaces]
    return Cluster(PaperApi([*homes, *objects], tables or {}, refused, missing), ClusterFacts("paper", "", "test"))


def controller(name: str, *ports: Object, kind: str = "Deployment", home: str = "shop", **labels: str) -> Object:
    """Its pods wear `app: NAME` and the labels."""
    worn = {"app": name, **labels}
    template = {"metadata": {"labels": worn}, "spec": {"containers": [{"name": "main", "ports": list(ports)}]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"kind": kind, "metadata": {"name": name, "namespace": home, "labels": {}}, "spec": spec}


def pod(name: str, labels: Mapping[str, str], owner: tuple[str, str] | None = None, home: str = "shop",
        containers: Iterable[str] = ("main",), **spec: Any) -> Object:  # fmt: skip
    """A ready pod."""
    owners = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": home, "labels": dict(labels), "ownerReferences": owners},
        "spec": {"containers": [{"name": one} for one in containers], **spec},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def service(name: str, selector: Mapping[str, str] | None, *ports: Object, home: str = "shop", **spec: Any) -> Object:
    chosen = {"selector": dict(selector)} if selector else {}
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": home},
        "spec": {**chosen, "ports": list(ports), **spec},
    }


def policy(name: str, selector: Object, home: str = "shop", **spec: Any) -> Object:
    return {
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": home},
        "spec": {"podSelector": selector, **spec},
    }
