"""An application of anyone's, from its file to the verdicts: two namespaces, zones, and Services of every sort."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateral import run
from lateral.model import Finding, SourceKind, Speaks, Verdict, Via
from lateral.policy import load_policies
from lateral.providers.lab import lab
from lateral.reports.zones import crossings
from lateral.topology import load
from lateral.verdict import judge

WEB, MONGO, QUEUE = "weaveworksdemos/payment:0.4.3", "weaveworksdemos/user-db:0.3.0", "rabbitmq:3.6.8"
HOMES = ("depot", "vaults")
STORE = f"store-{'of-goods-' * 6}x"

TOPOLOGY: dict[str, Any] = {
    "application": "depot",
    "namespace": "depot",
    "manifests": "manifests",
    "workloads": [
        {"name": "web", "labels": {"app": "web"}, "ports": [{"port": 80, "speaks": "http"}], "dns": True},
        # A headless Service is all that it has, and its name leaves no room for its twin's pod's own.
        {"name": STORE, "labels": {"app": "store"}, "ports": [{"port": 27017, "speaks": "mongo", "service": "store"}]},
        {
            "name": "queue",
            "labels": {"app": "queue"},
            "ports": [
                {"port": 5672, "speaks": "tcp", "service": "broker"},
                {"port": 15672, "speaks": "http", "service": False},
            ],
        },
        {
            "name": "ledger",
            "namespace": "vaults",
            "labels": {"app": "ledger"},
            "ports": [{"port": 27017, "speaks": "mongo", "service": ["ledger", "ledger-2", "ledger-nodes"]}],
        },
    ],
    "intended": [
        {"from": "anyone", "to": "web", "port": 80, "reason": "the public entry point"},
        {"from": "web", "to": STORE, "port": 27017, "reason": "keeps goods"},
        {"from": "web", "to": "queue", "port": 5672, "reason": "has goods sent"},
        {"from": "web", "to": "ledger", "port": 27017, "reason": "keeps books"},
    ],
    "zones": {"cde": ["ledger"]},
    "zoneRules": [
        {"deny": {"from": "out-of-scope", "to": "cde"}, "except": [{"from": "web", "to": "ledger", "port": 27017}]}
    ],
}


def deployment(name: str, home: str, image: str, port: int) -> Any:
    container = {
        "name": name,
        "image": image,
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": home},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }


def bare(name: str, home: str, image: str, port: int) -> Any:
    """A pod that nothing looks after."""
    template = deployment(name, home, image, port)["spec"]["template"]
    metadata = {"name": name, "namespace": home, **template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def service(name: str, home: str, app: str, port: int, **spec: Any) -> Any:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": home},
        "spec": {"selector": {"app": app}, "ports": [{"port": port}], **spec},
    }


MANIFESTS = [
    deployment("web", "depot", WEB, 80),
    deployment("store", "depot", MONGO, 27017),
    deployment("queue", "depot", QUEUE, 5672),
    bare("ledger", "vaults", MONGO, 27017),
    service("web", "depot", "web", 80),
    service("store", "depot", "store", 27017, clusterIP="None"),
    service("broker", "depot", "queue", 5672),
    service("ledger", "vaults", "ledger", 27017),
    service("ledger-2", "vaults", "ledger", 27017),
    service("ledger-nodes", "vaults", "ledger", 27017, clusterIP="None"),
]


def policy(name: str, home: str, app: str, **rules: Any) -> Any:
    selector = {"matchLabels": {"app": app}} if app else {}
    types = [kind for kind in ("Ingress", "Egress") if not rules or kind.lower() in rules]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": home},
        "spec": {"podSelector": selector, "policyTypes": types, **rules},
    }


def pods(app: str, home: str, label: str = "app") -> Any:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": home}},
        "podSelector": {"matchLabels": {label: app}},
    }


OTHERS = {"namespaceSelector": {"matchExpressions": [
    {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": list(HOMES)}
]}}  # fmt: skip
POLICIES = [
    *(policy("deny", home, "") for home in HOMES),
    policy("public", "depot", "web", ingress=[{"from": [OTHERS], "ports": [{"port": 80}]}]),
    policy("web", "depot", "web", egress=[
        {"to": [pods("store", "depot")], "ports": [{"port": 27017}]},
        {"to": [pods("queue", "depot")], "ports": [{"port": 5672}]},
        {"to": [pods("ledger", "vaults")], "ports": [{"port": 27017}]},
        {"to": [pods("kube-dns", "kube-system", "k8s-app")], "ports": [
            {"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}
        ]},
    ]),
    policy("store", "depot", "store", ingress=[{"from": [pods("web", "depot")], "ports": [{"port": 27017}]}]),
    policy("queue", "depot", "queue", ingress=[{"from": [pods("web", "depot")], "ports": [{"port": 5672}]}]),
    policy("ledger", "vaults", "ledger", ingress=[{"from": [pods("web", "depot")], "ports": [{"port": 27017}]}]),
]  # fmt: skip


def findings(folder: Path, policies: list[Any]) -> Mapping[str, Finding]:
    """What a run on a lab of its own comes to, and that it leaves neither of the namespaces behind."""
    for name, documents in (("manifests", MANIFESTS), ("policies", policies)):
        (folder / name).mkdir()
        (folder / name / "all.yaml").write_text(yaml.safe_dump_all(documents))
    (folder / "depot.yaml").write_text(yaml.safe_dump(TOPOLOGY))
    topology = load(folder / "depot.yaml")
    chosen = load_policies(str(folder / "policies"), topology)
    with lab() as cluster:
        assessment = run.measure(cluster, topology, chosen, progress=lambda _: None, settle=10, wait_gone=True)
        left = {one["metadata"]["name"] for one in cluster.list("v1", "Namespace")}
        assert not left & set(HOMES)
    return {finding.flow.id: finding for finding in judge(assessment)}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Finding]:
    return findings(tmp_path_factory.mktemp("depot"), POLICIES)


def test_every_path_is_proven(found: Mapping[str, Finding]) -> None:
    wrong = [
        f"{name}: {one.verdict}: {one.reason}"
        for name, one in found.items()
        if one.verdict not in (Verdict.CONTAINED, Verdict.PRESERVED)
    ]
    assert not wrong
    assert len(found) == 8 * 10


def test_a_headless_service_is_dialled_by_its_pods_alone(found: Mapping[str, Finding]) -> None:
    """Nothing is missing: it has no address of its own."""
    for one in found.values():
        if one.flow.target.name == STORE:
            assert {sample.via for seen in one.observations.values() for sample in seen.samples} == {Via.POD}


def test_every_service_of_a_port_is_dialled(found: Mapping[str, Finding]) -> None:
    """By the address of each that has one, and by the pod's."""
    one = found["web.depot-to-ledger.vaults:27017/TCP"]
    for seen in one.observations.values():
        assert len({sample.address for sample in seen.samples if sample.via is Via.SERVICE}) == 2
        assert len({sample.address for sample in seen.samples if sample.via is Via.POD}) == 1


def test_a_connection_is_said_to_be_no_more(found: Mapping[str, Finding]) -> None:
    one = found["web.depot-to-queue.depot:5672/TCP"]
    assert one.flow.target.speaks is Speaks.TCP
    assert one.verdict is Verdict.PRESERVED
    assert one.reason.startswith("connected before, under and after the policies")
    assert one.reason.endswith("what the application replies isn't known (speaks: tcp)")


def test_nothing_gets_into_the_zone(found: Mapping[str, Finding]) -> None:
    """But for the exception: attackers of every namespace, and the application's own workloads of the other."""
    [(zone, crossed)] = crossings(found.values()).items()
    assert zone == "cde"
    assert crossed.into == {Verdict.CONTAINED: 6, Verdict.PRESERVED: 1}
    sources = {one.flow.source.id for one in found.values() if one.flow.enters == "cde"}
    assert {"rogue.default", "rogue.depot", "rogue.vaults", "spoof.default", f"{STORE}.depot", "web.depot"} <= sources


def test_a_namespace_whose_policies_are_missing_is_found_open(tmp_path: Path) -> None:
    """What is measured is each workload where it is, not where the application has its name from."""
    seen = findings(tmp_path, [one for one in POLICIES if one["metadata"]["namespace"] == "depot"])
    exposed = {one.flow.target.id for one in seen.values() if one.verdict is Verdict.EXPOSED}
    assert exposed == {
        "ledger.vaults:27017/TCP",
        # Its twin may call whatever isn't closed there, as may the rogue beside it.
        "listener.outside:8080/TCP",
        "decoy.outside:53/UDP",
        "decoy.outside:53/TCP",
        "kube-dns.kube-system:53/UDP",
        "kube-dns.kube-system:53/TCP",
    }
    into = [one for one in seen.values() if one.flow.enters == "cde" and one.flow.source.kind is SourceKind.ROGUE]
    assert {one.flow.source.id for one in into if one.verdict is Verdict.EXPOSED} == {
        "rogue.default", "spoof.default", "rogue.vaults"
    }  # fmt: skip
