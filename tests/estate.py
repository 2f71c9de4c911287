"""An application of any size for the project's own tests: its topology, manifests and policies, written to a folder.

`web` is public and reads `store`; `worker` reads `ledger` and takes tasks from `queue`, whose second port is nobody's;
nobody may reach `worker` or the services beyond those.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lateral import application
from lateral.policy import PolicySet, load_policies
from lateral.resources import Run
from lateral.topology import Topology, load
from lateral.waiting import until

if TYPE_CHECKING:
    from lateral.cluster import Cluster

NAME = "estate"
_WEB, _MONGO, _QUEUE = "weaveworksdemos/payment:0.4.3", "weaveworksdemos/user-db:0.3.0", "rabbitmq:3.6.8"
_HTTP = {"port": 80, "speaks": "http"}
_WORKLOADS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "web": (_WEB, [_HTTP]),
    "store": (_MONGO, [{"port": 27017, "speaks": "mongo"}]),
    "worker": (_WEB, [_HTTP]),
    "ledger": (_MONGO, [{"port": 27017, "speaks": "mongo"}]),
    "queue": (_QUEUE, [{"port": 5672, "speaks": "amqp"}, {"port": 15672, "speaks": "http", "service": False}]),
}
_NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": NAME, "labels": {"pod-security.kubernetes.io/enforce": "baseline"}},
}
_RESOLVE = ("web", "worker")
_CALLS = (("web", "store", 27017), ("worker", "ledger", 27017), ("worker", "queue", 5672))
_ROGUES = (
    ("rogue", "default", {"app": "rogue"}),
    ("rogue", NAME, {"app": "rogue"}),
    ("spoof", "default", {"name": "web"}),
)


@dataclass(frozen=True, slots=True)
class Estate:
    """What `run.measure` takes of an application."""

    topology: Topology
    policies: PolicySet


def write(folder: Path, services: int = 0) -> Estate:
    """Write an estate with so many services beyond the five, and read it back as a user's would be."""
    workloads = _WORKLOADS | {f"service-{number:03}": (_WEB, [_HTTP]) for number in range(services)}
    made = [one for name in workloads for one in _workload(name, *workloads[name])]
    _dump(folder / "manifests" / "app.yaml", [_NAMESPACE, *made])
    _dump(folder / "policies" / "all.yaml", _policies())
    _dump(folder / "topology.yaml", [_topology(workloads)])
    topology = load(folder / "topology.yaml")
    return Estate(topology, load_policies(str(folder / "policies"), topology))


@contextmanager
def deployed(cluster: Cluster, found: Estate, *, policed: bool = True, **labels: str) -> Iterator[None]:
    """Have an estate on a cluster, as its owners would: no object of it is any run's.

    `policed`: under its policies. Its namespace has the labels `lateral.dev/NAME`.
    """
    policies = found.policies.documents if policed else ()
    theirs = [*application.documents(found.topology, Run("theirs")), *map(copy.deepcopy, policies)]
    for document in theirs:
        document["metadata"].pop("labels", None)
        document["metadata"].pop("annotations", None)
        if document["kind"] == "Namespace":
            document["metadata"]["labels"] = {f"lateral.dev/{name}": value for name, value in labels.items()}
    cluster.apply(theirs)
    try:
        application.wait_ready(cluster, found.topology, lambda _: None, time.monotonic())
        yield
    finally:
        home = cluster.get("v1", "Namespace", NAME)
        assert home is not None
        cluster.delete({"apiVersion": "v1", "kind": "Namespace", **home})
        until("the estate to be gone", lambda: cluster.get("v1", "Namespace", NAME) is None or None, timeout=60.0)


def _topology(workloads: dict[str, tuple[str, list[dict[str, Any]]]]) -> Any:
    return {
        "application": NAME,
        "namespace": NAME,
        "manifests": "manifests",
        "workloads": [
            {
                "name": name,
                "labels": {"name": name},
                "ports": ports,
                "dns": name in _RESOLVE,
                "twin": name in _WORKLOADS,
            }
            for name, (_, ports) in workloads.items()
        ],
        "intended": [
            {"from": "anyone", "to": "web", "port": 80, "reason": "the public entry point"},
            *({"from": a, "to": b, "port": port, "reason": "works with it"} for a, b, port in _CALLS),
        ],
        "dns": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}, "port": 53},
        "attackers": [{"name": name, "namespace": home, "labels": labels} for name, home, labels in _ROGUES],
        "outside": {
            "namespace": "outside",
            "listeners": [
                {"name": "listener", "port": 8080, "speaks": "http"},
                {
                    "name": "decoy",
                    "labels": {"k8s-app": "kube-dns"},
                    "port": 53,
                    "protocols": ["UDP", "TCP"],
                    "speaks": "dns",
                },
            ],
        },
    }


def _workload(name: str, image: str, ports: list[dict[str, Any]]) -> list[Any]:
    container = {
        "name": name,
        "image": image,
        "ports": [{"name": f"port-{one['port']}", "containerPort": one["port"]} for one in ports],
        "readinessProbe": {"tcpSocket": {"port": ports[0]["port"]}, "periodSeconds": 1},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"name": name}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"name": name}},
            "template": {"metadata": {"labels": {"name": name}}, "spec": {"containers": [container]}},
        },
    }
    served = [{"name": f"port-{one['port']}", "port": one["port"]} for one in ports if one.get("service", True)]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"name": name}, "ports": served},
    }
    return [deployment, service]


def _policies() -> list[Any]:
    """Deny everything, then what is intended: web from anywhere outside, each call at both of its ends, and DNS."""
    dns = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    elsewhere = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [NAME]}
    others = {"namespaceSelector": {"matchExpressions": [elsewhere]}}
    made = [
        _policy("default-deny", {}),
        _policy("public", _labels("web"), ingress=[_rule("from", others, ("TCP", 80))]),
    ]
    resolve = [_rule("to", dns, ("UDP", 53), ("TCP", 53))]
    made += [_policy(f"{name}-dns", _labels(name), egress=resolve) for name in _RESOLVE]
    for source, target, port in _CALLS:
        to, by = ({"podSelector": _labels(name)} for name in (target, source))
        made.append(_policy(f"{source}-to-{target}", _labels(source), egress=[_rule("to", to, ("TCP", port))]))
        made.append(_policy(f"{target}-by-{source}", _labels(target), ingress=[_rule("from", by, ("TCP", port))]))
    return made


def _policy(name: str, selector: Any, **rules: Any) -> Any:
    types = [kind for kind in ("Ingress", "Egress") if not rules or kind.lower() in rules]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": NAME},
        "spec": {"podSelector": selector, "policyTypes": types, **rules},
    }


def _labels(name: str) -> Any:
    return {"matchLabels": {"name": name}}


def _rule(side: str, peer: Any, *ports: tuple[str, int]) -> Any:
    return {side: [peer], "ports": [{"protocol": protocol, "port": port} for protocol, port in ports]}


def _dump(path: Path, documents: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
