"""A cluster in memory, behind the API's requests: pods run at once, and its network denies what the policies say.

It knows what the suite uses and refuses everything else. `Faults` make it misbehave in the ways that must be noticed.
"""

from __future__ import annotations

import copy
import json
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lateral.cluster import Cluster
from lateral.connection import ApiError
from lateral.errors import ProviderError
from lateral.model import ClusterFacts

from .simulated_shop import SimulatedForward, SimulatedShop

Object = dict[str, Any]

KINDS = {
    "/api/v1": ("Namespace", "Pod", "Service", "ConfigMap", "Secret", "ServiceAccount"),
    "/apis/apps/v1": ("Deployment", "ReplicaSet"),
    "/apis/networking.k8s.io/v1": ("NetworkPolicy",),
    "/apis/discovery.k8s.io/v1": ("EndpointSlice",),
    "/apis/coordination.k8s.io/v1": ("Lease",),
}
ENGINES = {
    "/apis/cilium.io/v2": ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"),
    "/apis/policy.networking.k8s.io/v1alpha1": ("AdminNetworkPolicy",),
}
"""Kinds of policies that a server may have besides; its network knows nothing of them."""
CLUSTERWIDE = ("Namespace", "CiliumClusterwideNetworkPolicy", "AdminNetworkPolicy")
PLURALS = {
    kind: (kind[:-1].lower() + "ies" if kind.endswith("y") else kind.lower() + "s")
    for kinds in (KINDS | ENGINES).values()
    for kind in kinds
}
NODES = ("node-a", "node-b")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
SERVICE_NAME = "kubernetes.io/service-name"
BY_PLURAL = {plural: kind for kind, plural in PLURALS.items()}


@dataclass
class Faults:
    """What goes wrong."""

    ignores_policies: bool = False
    ignoring: set[str] = field(default_factory=set)
    """Nodes whose agents enforce nothing."""
    broken_probes: set[str] = field(default_factory=set)
    """Pods, by the start of their names, whose execs print nothing."""
    starved_probes: set[str] = field(default_factory=set)
    """Pods, by the start of their names, whose probes connect and then aren't let run."""
    lossy: set[str] = field(default_factory=set)
    """Pods, by the start of their names, whose packets all get lost."""
    mutates: Callable[[Object], None] = lambda _: None
    """What an admission webhook makes of a policy."""
    undying: set[str] = field(default_factory=set)
    """Policies, by name, that a finalizer keeps."""
    full: set[str] = field(default_factory=set)
    """Nodes that have no room for further pods of sources."""
    invalid: set[str] = field(default_factory=set)
    """Names of what the API's validation refuses."""
    refuses: str = ""
    """A kind that can't be created."""
    refused_pods: tuple[str, ...] = ()
    """Pods, by the start of their names, that can't be created."""
    keeps: set[tuple[str, str]] = field(default_factory=set)
    """Kinds and namespaces in which nothing can be deleted."""
    late: dict[str, float] = field(default_factory=dict)
    """For how long policies don't concern the pods whose names begin so (seconds)."""
    new_for: dict[str, float] = field(default_factory=dict)
    """For how long policies don't concern pods that dial whose names begin so, from when they run (seconds)."""
    cut_off: set[str] = field(default_factory=set)
    """Pods, by the start of their names, to which their nodes can't connect."""
    dead: set[str] = field(default_factory=set)
    """Pods, by the start of their names, that say nothing to a port-forward."""
    nameserver: str = "10.102.0.10"
    """What pods look names up at; a link-local address is a cache's on their node, which no policy concerns."""
    logged: Callable[[str], str] = lambda log: log
    """What becomes of a new pod's log."""
    serves: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Kinds that the server has besides the usual ones."""
    unlisted: set[str] = field(default_factory=set)
    """What may not be listed: kinds, kinds in a namespace as `Kind namespace`, and `/apis`."""
    before_exec: Callable[[SimulatedApi], None] = lambda _: None


class SimulatedApi:
    """The API server, and everything behind it."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.deleted: list[tuple[str, str, str]] = []
        self.listed: list[tuple[str, str]] = []
        """Kinds and namespaces that were listed."""
        self.streams_broken = False
        self.refused = ""
        """Why nothing may be asked at present."""
        self.shop = SimulatedShop()
        self.streams: list[tuple[str, bool]] = []
        """Pods that a stream was opened to, and whether there were policies then."""
        self.applied_at = 0.0
        """When the application's policies came."""
        self.running_since: dict[str, float] = {}
        """By pods' UIDs."""
        self.threads: set[tuple[str, str]] = set()
        """Pods in which something was run, and the threads that waited for it."""
        self.asked: list[tuple[str, int]] = []
        """Pods in which a probe was run, and how many dials it was asked for."""
        self.tunnels: list[str] = []
        """Pods from which a tunnel was tried."""
        self._numbers: Iterator[int] = iter(range(1, 100_000))
        for name in ("default", "kube-system"):
            self._create(self._new("Namespace", "", name))
        dns = self._new("Pod", "kube-system", "coredns", {"k8s-app": "kube-dns"})
        self._create({**dns, "spec": {"containers": [{"name": "coredns"}]}})
        self._create({**self._new("Service", "kube-system", "kube-dns"), "spec": {"selector": {"k8s-app": "kube-dns"}}})

    def watch(self, path: str, query: Mapping[str, str]) -> Iterator[Any]:
        raise AssertionError(f"unplanned watch of {path} {query}")

    def abandon(self, why: str) -> None:
        raise AssertionError(f"unplanned end: {why}")

    def break_streams(self) -> None:
        self.streams_broken = True

    @contextmanager
    def refusing(self, why: str) -> Iterator[None]:
        self.refused = why
        try:
            yield
        finally:
            self.refused = ""

    def close(self) -> None:
        """Nothing is held."""

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        if method == "GET" and path == "/apis":
            self._allow("/apis")
            return {"groups": [self._group(root) for root in self._served if root.startswith("/apis/")]}
        if method == "GET" and path in self._served:
            namespaced = [
                {"name": PLURALS[kind], "kind": kind, "namespaced": kind not in CLUSTERWIDE}
                for kind in self._served[path]
            ]
            return {"resources": [*namespaced, {"name": "pods/exec", "kind": "PodExecOptions", "namespaced": True}]}
        kind, namespace, name = self._parse(path)
        if method == "GET":
            found = self._get(kind, namespace, name) if name else self._list(kind, namespace, query or {})
            return copy.deepcopy(found)
        if method == "POST":
            if (query or {}).get("dryRun"):
                assert query == {"fieldValidation": "Strict", "dryRun": "All"}
                if body["metadata"]["name"] in self.faults.invalid:
                    raise ApiError("the cluster's API refused it: no such protocol", 422)
                return copy.deepcopy(body)
            assert query == {"fieldValidation": "Strict"}
            name = body["metadata"]["name"]
            if kind == self.faults.refuses or (kind == "Pod" and name.startswith(self.faults.refused_pods)):
                raise ApiError(f"the cluster's API refused a {kind}: quota exceeded", 403)
            if (kind, namespace, body["metadata"]["name"]) in self.objects:
                raise ApiError("already exists", 409)
            made = {**copy.deepcopy(body), "kind": kind}
            if kind == "NetworkPolicy":
                self.faults.mutates(made)
            return copy.deepcopy(self._create(made))
        if method == "PATCH":
            assert content_type == "application/merge-patch+json"
            metadata = self._get(kind, namespace, name)["metadata"]
            stated = body.get("metadata", {}).get("resourceVersion", metadata["resourceVersion"])
            if stated != metadata["resourceVersion"]:
                raise ApiError("changed meanwhile", 409)
            _merge(self._get(kind, namespace, name), body)
            metadata["resourceVersion"] = str(next(self._numbers))
            return copy.deepcopy(self._get(kind, namespace, name))
        assert method == "DELETE", f"unplanned {method} {path}"
        metadata = self._get(kind, namespace, name)["metadata"]
        if any(metadata[key] != wanted for key, wanted in body["preconditions"].items()):
            raise ApiError("another UID or version", 409)
        if (kind, namespace) in self.faults.keeps:
            raise ApiError(f"the cluster's API refused to delete {kind} {name}", 403)
        self._remove(kind, namespace, name)
        return {}

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        *_, namespace, _, pod, last = path.split("/")
        assert last == "log"
        if pod.startswith("new-"):
            assert query == {"container": "rogue"}
            return self._newcomer(self._get("Pod", namespace, pod))
        assert pod.startswith("queue-master-")
        assert query == {"container": "queue-master"}
        return self.shop.log

    def _newcomer(self, pod: Object) -> str:
        """What a pod has written whose own command dials."""
        *_, nonce, connect, _, request = pod["spec"]["containers"][0]["command"]
        return self.faults.logged(probe(self, pod, nonce, connect, request).decode())

    def websocket(self, path: str, query: Iterable[tuple[str, str]]) -> SimulatedExec | SimulatedForward:
        *_, namespace, _, pod, kind = path.split("/")
        self.streams.append((pod, any(kind == "NetworkPolicy" for kind, _, _ in self.objects.copy())))
        if kind == "portforward":
            [(_, port)] = query
            if pod.startswith("front-end-"):
                assert port == "8079"
                return SimulatedForward(self.shop.answer, 8079)
            self._get("Pod", namespace, pod)
            return SimulatedForward(
                lambda hello: b"" if pod.startswith(tuple(self.faults.dead)) else answer("tcp", hello), int(port)
            )
        assert kind == "exec", path
        if self.refused:
            raise ProviderError(self.refused)
        self.threads.add((pod, threading.current_thread().name))
        self.faults.before_exec(self)
        argv = [value for name, value in query if name == "command"]
        return SimulatedExec(self, self._get("Pod", namespace, pod), argv)

    @property
    def _served(self) -> dict[str, tuple[str, ...]]:
        return {**KINDS, **self.faults.serves}

    @staticmethod
    def _group(root: str) -> Object:
        *_, name, version = root.split("/")
        stated = {"version": version}
        return {"name": name, "versions": [stated], "preferredVersion": stated}

    def _allow(self, *what: str) -> None:
        for one in what:
            if one in self.faults.unlisted:
                raise ApiError(f"the cluster's API refused it (403): cannot list {one}", 403)

    def _parse(self, path: str) -> tuple[str, str, str]:
        [root] = [root for root in self._served if path.startswith(root + "/")]
        parts = path.removeprefix(root + "/").split("/")
        namespace = parts[1] if parts[0] == "namespaces" and len(parts) > 2 else ""
        plural, *name = parts[2:] if namespace else parts
        return BY_PLURAL[plural], namespace, name[0] if name else ""

    def _get(self, kind: str, namespace: str, name: str) -> Object:
        if (kind, namespace, name) not in self.objects:
            raise ApiError(f"{kind} {namespace}/{name} not found", 404)
        return self.objects[kind, namespace, name]

    def _list(self, kind: str, namespace: str, query: Mapping[str, str]) -> Object:
        self._allow(kind, f"{kind} {namespace}")
        self.listed.append((kind, namespace))
        wanted = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
        items = [
            one
            for (its_kind, its_namespace, _), one in self.objects.copy().items()
            if its_kind == kind and namespace in ("", its_namespace)
            if wanted.items() <= one["metadata"].get("labels", {}).items()
        ]
        # Lists carry no kind per item, as in the real API.
        return {"items": [{key: value for key, value in one.items() if key != "kind"} for one in items]}

    def _new(self, kind: str, namespace: str, name: str, labels: Mapping[str, str] | None = None) -> Object:
        return {"kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {})}}

    def _create(self, document: Object) -> Object:
        metadata = document["metadata"]
        kind, namespace = document["kind"], metadata.get("namespace", "")
        number = next(self._numbers)
        metadata["uid"] = f"uid-{number}"
        if kind == "NetworkPolicy" and namespace == "sock-shop":
            self.applied_at = time.monotonic()
        metadata.setdefault("resourceVersion", str(number))
        if kind not in CLUSTERWIDE and ("Namespace", "", namespace) not in self.objects:
            raise ApiError(f"namespace {namespace} not found", 404)
        if kind == "Pod":
            self._start(document, number)
        self.objects[kind, namespace, metadata["name"]] = document
        if kind == "Namespace":
            self._create(self._new("ServiceAccount", metadata["name"], "default"))
        elif kind == "Service":
            document["spec"].setdefault("clusterIP", f"10.102.{number // 250}.{number % 250}")
            slice_ = self._new("EndpointSlice", namespace, metadata["name"], {SERVICE_NAME: metadata["name"]})
            slice_["metadata"].update(resourceVersion="1", ownerReferences=[{"uid": metadata["uid"]}])
            self._create({**slice_, "endpoints": [{"conditions": {"ready": True}}]})
        elif kind in ("Deployment", "ReplicaSet"):
            template = document["spec"]["template"]
            pod = self._new("Pod", namespace, f"{metadata['name']}-{number}", template["metadata"]["labels"])
            pod["metadata"]["annotations"] = template["metadata"].get("annotations", {})
            owner = {"kind": kind, "name": metadata["name"], "uid": metadata["uid"], "controller": True}
            pod["metadata"]["ownerReferences"] = [owner]
            self._create({**pod, "spec": template["spec"]})
            document["status"] = {"readyReplicas": 1, "updatedReplicas": 1}
        return document

    def _start(self, pod: Object, number: int) -> None:
        terms = pod["spec"].get("affinity", {}).get("nodeAffinity", {}).get(REQUIRED, {}).get("nodeSelectorTerms", [])
        pod["spec"]["nodeName"] = terms[0]["matchFields"][0]["values"][0] if terms else NODES[number % len(NODES)]
        self.running_since[pod["metadata"]["uid"]] = time.monotonic()
        gated = "readinessGates" in pod["spec"]
        if terms and gated and pod["spec"]["nodeName"] in self.faults.full:
            pod["spec"].pop("nodeName")
            pod["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]}
            return
        reached = not pod["metadata"]["name"].startswith(tuple(self.faults.cut_off))
        containers = [
            {
                "state": {"running": {}},
                "started": reached or "startupProbe" not in one,
                "ready": not gated,
                "restartCount": 0,
            }
            for one in pod["spec"]["containers"]
        ]
        pod["status"] = {
            "phase": "Running",
            "podIP": f"10.101.{number // 250}.{number % 250}",
            "containerStatuses": containers,
            "conditions": [{"type": "Ready", "status": "False" if gated else "True"}],
        }

    def _remove(self, kind: str, namespace: str, name: str) -> None:
        if name in self.faults.undying:
            self.objects[kind, namespace, name]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return
        gone = self.objects.pop((kind, namespace, name))["metadata"]["uid"]
        for key, one in self.objects.copy().items():
            if gone in [owner["uid"] for owner in one["metadata"].get("ownerReferences", [])]:
                self.objects.pop(key, None)
        self.deleted.append((kind, namespace, name))
        if kind == "Namespace":
            self.objects = {key: one for key, one in self.objects.copy().items() if key[1] != name}

    def pods(self) -> list[Object]:
        return [one for (kind, _, _), one in self.objects.copy().items() if kind == "Pod"]

    def admits(self, source: Object, address: str, port: int) -> bool:
        """Whether no policy stands between: one that selects a pod denies all ingress but to the ports it names."""
        if any(source["metadata"]["name"].startswith(prefix) for prefix in self.faults.lossy):
            return False
        if address.startswith("169.254."):
            return (address, port) == (self.faults.nameserver, 53)
        if not self._behind(address):
            return False
        if self.faults.ignores_policies or not any(kind == "NetworkPolicy" for kind, _, _ in self.objects.copy()):
            return True
        old = time.monotonic() - self.running_since[source["metadata"]["uid"]]
        if any(old < new and source["metadata"]["name"].startswith(one) for one, new in self.faults.new_for.items()):
            return True
        behind = [pod for pod in self._behind(address) if pod is not source]
        age = time.monotonic() - self.applied_at
        if any(
            age < late and pod["metadata"]["name"].startswith(one)
            for one, late in self.faults.late.items()
            for pod in behind
        ):
            return True
        return all(
            pod["spec"]["nodeName"] in self.faults.ignoring or self._ingress(source, pod, port) for pod in behind
        )

    def _behind(self, address: str) -> list[Object]:
        """The pods that an address leads to."""
        pods = [pod for pod in self.pods() if pod["status"].get("podIP") == address]
        known = bool(pods)
        for (kind, namespace, _), one in self.objects.copy().items():
            if kind == "Service" and one["spec"].get("clusterIP") == address:
                known = True
                selector = one["spec"]["selector"].items()
                pods += [
                    pod
                    for pod in self.pods()
                    if pod["metadata"]["namespace"] == namespace
                    and selector <= pod["metadata"]["labels"].items()
                    and pod["status"]["conditions"][0]["status"] == "True"
                ]
        assert known, f"nobody has the address {address}"
        return pods

    def _ingress(self, source: Object, pod: Object, port: int) -> bool:
        policies = [
            one["spec"]
            for (kind, namespace, _), one in self.objects.copy().items()
            if kind == "NetworkPolicy" and namespace == pod["metadata"]["namespace"]
            if one["spec"]["podSelector"].get("matchLabels", {}).items() <= pod["metadata"]["labels"].items()
        ]
        excepted = f"{source['status']['podIP']}/32"
        allowed = {
            one["port"]
            for spec in policies
            for rule in spec.get("ingress", [])
            if not any(excepted in peer["ipBlock"]["except"] for peer in rule.get("from", []))
            for one in rule["ports"]
        }
        return not policies or port in allowed


class SimulatedExec:
    """An exec of the probe, of `cat`, or of a tunnel (which is always refused)."""

    def __init__(self, api: SimulatedApi, pod: Object, argv: list[str]) -> None:
        self._api, self._pod, self._argv = api, pod, argv
        self._stdin = b""
        self._output: list[bytes | None] = []

    def send(self, message: bytes) -> None:
        self._stdin += message[1:]

    def ready(self, other: socket.socket, timeout: float) -> tuple[bool, bool]:
        raise AssertionError(f"unplanned wait for {other} of {timeout} s")

    def receive(self, timeout: float) -> bytes | None:
        assert timeout > 0
        if not self._output:
            status = json.dumps({"status": "Success"}).encode()
            self._output = [b"\x01" + self._run(), b"\x03" + status, None]
        return self._output.pop(0) if len(self._output) > 1 else None

    def _run(self) -> bytes:
        name = self._pod["metadata"]["name"]
        if self._argv[0] == "cat":
            searched = "search default.svc.cluster.local svc.cluster.local cluster.local"
            return f"{searched}\nnameserver {self._api.faults.nameserver}\n".encode()
        if self._argv[0] == "sh":
            self._api.tunnels.append(name)
            return f"{self._argv[6]} ECONNREFUSED\n".encode()
        self._api.asked.append((name, self._stdin.decode().count(f"\n{self._argv[2]} ") - 1))
        if any(name.startswith(prefix) for prefix in self._api.faults.broken_probes):
            return b""
        return probe(self._api, self._pod, self._argv[2], self._argv[3], self._stdin.decode())

    def close(self) -> None:
        """Nothing is held."""


def probe(api: SimulatedApi, pod: Object, nonce: str, timeout: str, request: str) -> bytes:
    """What the probe's script prints."""

    def dial(*line: str) -> str:
        index, delay, address, port, protocol, _, _, hello = line
        if not api.admits(pod, address, int(port)):
            return f"{index} timeout {delay} {1000 * float(timeout):.1f} -"
        if any(pod["metadata"]["name"].startswith(prefix) for prefix in api.faults.starved_probes):
            return f"{index} unheard {delay} 1.0 -"
        return f"{index} ok {delay} 1.0 {answer(protocol, bytes.fromhex(hello.strip('-'))).hex()}"

    lines = [line.split() for line in request.splitlines() if line.startswith(nonce)]
    results = [dial(*line[1:]) for line in lines[:-1]]
    elapsed = max((float(line[2]) for line in lines[:-1]), default=0.0)
    return "".join(f"{nonce} {one}\n" for one in [*results, f"END {len(results)} {elapsed}"]).encode()


def answer(protocol: str, hello: bytes) -> bytes:
    """What a server says to a probe's hello."""
    known = {b"GET": b"HTTP/1.1 200 OK", b"PIN": b"+PONG\r\n", b"AMQ": b"\x01\x00\x00", b"": b"\x4a\x00\x00\x00\x0a"}
    if hello[:3] in known:
        return known[hello[:3]]
    if b"isMaster" in hello:
        return hello[:8] + hello[4:8] + b"\x01\x00\x00\x00"
    length, query = (hello[:2], hello[2:]) if protocol == "tcp" else (b"", hello)
    return length + query[:2] + b"\x81\x80\x00\x01\x00\x01" + query[8:]


def _merge(into: Object, change: Object) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)


def simulated(faults: Faults | None = None) -> tuple[Cluster, SimulatedApi]:
    api = SimulatedApi(faults)
    return Cluster(api, ClusterFacts("simulated", "v1.32.0", "test")), api


def by_kind(api: SimulatedApi) -> dict[str, set[str]]:
    """What there is: names by kind."""
    found: dict[str, set[str]] = defaultdict(set)
    for kind, namespace, name in api.objects:
        found[kind].add(f"{namespace}/{name}")
    return found
