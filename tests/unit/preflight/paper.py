"""A cluster on paper: it answers what preflight may ask, from what is written in it, and refuses everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from lateral import preflight
from lateral.cluster import Cluster
from lateral.connection import ApiError, TransportError
from lateral.model import ClusterFacts
from lateral.preflight import Intent
from lateral.topology import load

if TYPE_CHECKING:
    from lateral.errors import ClusterError
    from lateral.preflight import Check, Plan

Object = dict[str, Any]

CORE = (
    *("Namespace", "Node", "ConfigMap", "ResourceQuota", "LimitRange", "Pod", "Service"),
    *("PersistentVolumeClaim", "Secret", "ServiceAccount"),
)
SERVED = {
    "apps": ("v1", ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")),
    "autoscaling": ("v2", ("HorizontalPodAutoscaler",)),
    "batch": ("v1", ("CronJob", "Job")),
    "networking.k8s.io": ("v1", ("Ingress", "NetworkPolicy")),
    "policy": ("v1", ("PodDisruptionBudget",)),
    "scheduling.k8s.io": ("v1", ("PriorityClass",)),
}
GROUPS = {
    "cilium.io": ("v2", ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "CiliumEndpoint")),
    "crd.projectcalico.org": ("v1", ("NetworkPolicy", "GlobalNetworkPolicy")),
    "crd.antrea.io": ("v1beta1", ("NetworkPolicy", "ClusterNetworkPolicy")),
    "policy.networking.k8s.io": (
        "v1alpha1",
        ("AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy"),
    ),
}
CLUSTERWIDE = {
    "Namespace",
    "Node",
    "PriorityClass",
    "CiliumClusterwideNetworkPolicy",
    "GlobalNetworkPolicy",
    "ClusterNetworkPolicy",
    "AdminNetworkPolicy",
    "BaselineAdminNetworkPolicy",
}


def plural(kind: str) -> str:
    if kind.endswith("y"):
        return f"{kind.lower()[:-1]}ies"
    return f"{kind.lower()}es" if kind.endswith("s") else f"{kind.lower()}s"


def node(name: str, **spec: Any) -> Object:
    """A node that is ready, of Linux on amd64."""
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    ready = [{"type": "Ready", "status": "True"}]
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"conditions": ready}}


def daemonset(name: str, image: str = "", *, container: str = "", args: Iterable[str] = ()) -> Object:
    """An agent on every node."""
    one = {"name": container or name, "image": image, "args": list(args)}
    spec = {"template": {"spec": {"containers": [one]}}}
    return {"metadata": {"name": name, "namespace": "kube-system"}, "spec": spec}


def named(name: str, namespace: str = "", **rest: Any) -> Object:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **rest}


@dataclass
class Paper:
    """What is written: objects by group and kind, and what may not be done."""

    version: str = "v1.31.2"
    objects: dict[tuple[str, str], list[Object]] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    """Groups of other kinds that it serves."""
    may: Callable[[Mapping[str, str]], bool] = lambda _: True
    forbidden: set[str] = field(default_factory=set)
    """Plurals that may not be read."""
    unwelcome: dict[str, ClusterError] = field(default_factory=dict)
    """Why objects of a kind aren't let in."""
    unreachable: str = ""
    read: set[str] = field(default_factory=set)
    """Plurals that were read."""

    def __post_init__(self) -> None:
        basics = {
            ("", "Namespace"): [named("default"), named("kube-system")],
            ("", "Node"): [node("a"), node("b")],
            ("apps", "DaemonSet"): [daemonset("calico-node", "registry.example/calico/node:v3.29.1")],
        }
        self.objects = {**basics, **self.objects}

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        assert content_type == "application/json"
        if self.unreachable:
            raise TransportError(self.unreachable)
        if query is not None:
            assert (method, query.get("dryRun")) == ("POST", "All"), "something was created"
            if refusal := self.unwelcome.get(body["kind"]):
                raise refusal
            return body
        if method == "POST":
            assert path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "something was created"
            self._permit("selfsubjectaccessreviews")
            return {"status": {"allowed": self.may(body["spec"]["resourceAttributes"])}}
        assert method == "GET"
        match path.strip("/").split("/"):
            case ["version"]:
                return {"gitVersion": self.version}
            case ["apis"]:
                self._permit("apis")
                return {"groups": [self._group(name, version) for name, (version, _) in self._served().items()]}
            case ["api", "v1"]:
                return {"resources": [self._resource(kind) for kind in CORE]}
            case ["apis", group, _] if group not in self._served():
                raise ApiError("not found", 404)
            case ["apis", group, _]:
                return {"resources": [self._resource(kind) for kind in self._served()[group][1]]}
            case ["api", "v1", *rest]:
                return self._objects("", rest)
            case ["apis", group, _, *rest]:
                return self._objects(group, rest)
        raise AssertionError(f"unplanned: {method} {path}")

    def _served(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        return {**SERVED, **{name: GROUPS[name] for name in self.groups}}

    @staticmethod
    def _group(name: str, version: str) -> Object:
        stated = {"version": version}
        return {"name": name, "versions": [stated], "preferredVersion": stated}

    @staticmethod
    def _resource(kind: str) -> Object:
        return {"name": plural(kind), "kind": kind, "namespaced": kind not in CLUSTERWIDE}

    def _permit(self, resource: str) -> None:
        if resource in self.forbidden:
            raise ApiError(f'the cluster\'s API refused it (403): cannot list resource "{resource}"', 403)
        self.read.add(resource)

    def _objects(self, group: str, rest: list[str]) -> Object:
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        resource, *name = rest
        self._permit(resource)
        kinds = CORE if not group else self._served()[group][1]
        [kind] = [one for one in kinds if plural(one) == resource]
        held = self.objects.get((group, kind), [])
        found = [one for one in held if namespace in ("", one["metadata"].get("namespace", ""))]
        if not name:
            return {"items": found}
        for one in found:
            if one["metadata"]["name"] == name[0]:
                return one
        raise ApiError("not found", 404)

    def refusing(self, _why: str) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        """Nothing is held."""

    def break_streams(self) -> None:
        """There are none."""

    def text(self, path: str, query: Mapping[str, str] | None = None) -> NoReturn:
        raise AssertionError(f"unplanned: {path} {query}")

    def websocket(self, path: str, query: Iterable[tuple[str, str]]) -> NoReturn:
        raise AssertionError(f"unplanned: {path} {query}")

    def watch(self, path: str, query: Mapping[str, str]) -> Iterator[Any]:
        raise AssertionError(f"unplanned: {path} {query}")

    def abandon(self, why: str) -> NoReturn:
        raise AssertionError(f"unplanned: {why}")


@cache
def planned(*, existing: bool = False, unenforced: bool = False) -> Plan:
    """A run of Sock Shop; of one that is there, under the policies that are there."""
    return preflight.plan(load("sock-shop"), Intent(existing=existing, applying=not existing, unenforced=unenforced))


def checked(paper: Paper, *, existing: bool = False, plan: Plan | None = None) -> tuple[Check, ...]:
    """What preflight says of a cluster for a run of Sock Shop, or as planned."""
    plan = plan or planned(existing=existing)
    with Cluster(paper, ClusterFacts("paper", "", "attach")) as cluster:
        return preflight.check(plan, preflight.read(cluster, plan))
