"""The draft of a topology: whatever the cluster is like, it loads, and says what it can't know."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lateral.discovery import discover
from lateral.errors import ConfigurationError
from lateral.model import Speaks
from lateral.topology import Topology, Workload, load

from .paper import NO_CAT, cluster, controller, listening, pod, policy, service

if TYPE_CHECKING:
    from lateral.cluster import Cluster


def drafted(found: Cluster, folder: Path, *namespaces: str) -> tuple[str, Topology]:
    """The draft's text, and what the reader makes of it."""
    text = discover(found, namespaces or ("shop",))
    file = folder / "draft.yaml"
    file.write_text(text)
    return text, load(file)


def only(topology: Topology) -> Workload:
    [one] = topology.workloads
    return one


def ports(workload: Workload) -> list[tuple[int, int, str, str, tuple[str, ...]]]:
    return [(one.port, one.pod_port, one.protocol, one.speaks, one.services) for one in workload.ports]


def test_ports_of_services_containers_and_listeners(tmp_path: Path) -> None:
    """A Service's ports lead to its target ports, by name too; what it doesn't expose follows, the undeclared last."""
    found = cluster(
        controller("web", {"name": "serve", "containerPort": 8080}, {"name": "metrics", "containerPort": 9102}),
        pod("web-1", {"app": "web", "pod-template-hash": "1"}, ("ReplicaSet", "web-1")),
        service("web", {"app": "web"}, {"port": 80, "targetPort": "serve", "name": "http"}, {"port": 8443}),
        tables={("web-1", "main"): listening(8080, 9102, 8443, 9419, 40001, udp=[8125])},
    )
    text, topology = drafted(found, tmp_path)
    assert ports(only(topology)) == [
        (80, 8080, "TCP", "http", ("web",)),
        (8443, 8443, "TCP", "tls", ("web",)),
        (9102, 9102, "TCP", "http", ()),
        (9419, 9419, "TCP", "http", ()),
    ]
    assert "- {port: 9419, speaks: http, service: false}  # declared by nothing: listens on 9419\n" in text
    assert "# declared by nothing: listens on 40001/TCP, which may be another port after a restart\n" in text
    assert "# declared by nothing: listens on 8125/UDP: over UDP only dns can be measured\n" in text


def test_policies_that_are_not_understood_are_told(tmp_path: Path) -> None:
    """They may admit what the draft then calls denied; a kind that may not be listed is told, one without any isn't."""
    web = [controller("web", {"containerPort": 8080}), pod("web-1", {"app": "web"}, ("ReplicaSet", "web-1"))]
    theirs = [policy(name, {}) | {"kind": "CiliumNetworkPolicy"} for name in ("api", "web")]
    clusterwide = "CiliumClusterwideNetworkPolicy"
    text, _ = drafted(cluster(*web, *theirs, refused=[clusterwide]), tmp_path)
    assert (
        "# CiliumNetworkPolicy api, web of namespace shop is not understood here: what it admits and denies is missing"
    ) in text
    assert f"# {clusterwide[:-1]}ies could not be looked at: " in text
    text, _ = drafted(cluster(*web), tmp_path)
    assert "Cilium" not in text


def test_a_port_where_nothing_listens_says_so(tmp_path: Path) -> None:
    found = cluster(
        controller("web", {"containerPort": 8080}),
        pod("web-1", {"app": "web"}, ("ReplicaSet", "web-1")),
        tables={("web-1", "main"): listening(9000)},
    )
    text, _ = drafted(found, tmp_path)
    assert (
        "- {port: 8080, speaks: http, service: false}  # nothing listened on 8080: it can't be shown to be closed"
        in text
    )


def test_labels_are_all_that_policies_may_select_by(tmp_path: Path) -> None:
    """Not the selector's alone, and none that the next version of the pods has another value of."""
    found = cluster(controller("web", {"containerPort": 80}, tier="front", **{"pod-template-hash": "5d"}))
    assert dict(only(drafted(found, tmp_path)[1]).labels) == {"app": "web", "tier": "front"}


def test_services_of_other_names_and_headless_ones(tmp_path: Path) -> None:
    """Those that lead to one port stand together; one that only names a pod is told of."""
    found = cluster(
        controller("db", {"containerPort": 5432}, kind="StatefulSet"),
        pod("db-0", {"app": "db", "statefulset.kubernetes.io/pod-name": "db-0"}, ("StatefulSet", "db")),
        service("primary", {"app": "db"}, {"port": 5432}),
        service("nodes", {"app": "db"}, {"port": 5432}, clusterIP="None"),
        service("db-0", {"statefulset.kubernetes.io/pod-name": "db-0"}, {"port": 5432}),
        service("partner", None, {"port": 443}),
        service("elsewhere", None, type="ExternalName", externalName="db.example.org"),
        service("public", {"app": "db"}, {"port": 15432, "targetPort": 5432}, type="NodePort"),
    )
    text, topology = drafted(found, tmp_path)
    assert ports(only(topology)) == [
        (5432, 5432, "TCP", "postgres", ("primary", "nodes")),
        (15432, 5432, "TCP", "postgres", ("public",)),
    ]
    assert "  # StatefulSet db\n" in text
    for said in (
        "# Service db-0 of namespace shop leads to some pods of db only: not measured",
        "# Service partner of namespace shop leads to no workload here: not measured",
        "# Service elsewhere of namespace shop is a name for db.example.org: not measured",
        "# Service public of namespace shop can be reached from outside the cluster (NodePort)",
    ):
        assert said in text


def test_a_service_of_two_workloads_is_dialled_by_neither(tmp_path: Path) -> None:
    """Its address may lead to the one or the other: what it shows would be said of the wrong one."""
    found = cluster(
        controller("blue", {"containerPort": 8080}, part="web"),
        controller("green", {"containerPort": 8080}, part="web"),
        service("web", {"part": "web"}, {"port": 80, "targetPort": 8080}),
    )
    text, topology = drafted(found, tmp_path)
    assert {one.name: ports(one) for one in topology.workloads} == {
        name: [(8080, 8080, "TCP", "http", ())] for name in ("blue", "green")
    }
    assert text.count("# Service web leads to other workloads' pods, too") == 2


def test_two_services_that_say_one_port_number_of_two(tmp_path: Path) -> None:
    found = cluster(
        controller("web", {"containerPort": 8080}, {"containerPort": 9090}),
        service("web", {"app": "web"}, {"port": 80, "targetPort": 8080}),
        service("admin", {"app": "web"}, {"port": 80, "targetPort": 9090}),
    )
    text, topology = drafted(found, tmp_path)
    assert ports(only(topology)) == [(80, 8080, "TCP", "http", ("web",)), (9090, 9090, "TCP", "http", ())]
    assert "# Service admin: port 80 leads to 9090, and stands above for 8080" in text


@pytest.mark.parametrize(
    ("port", "name", "app", "speaks"),
    [
        (8080, "", "", Speaks.HTTP),
        (7000, "", "", Speaks.TCP),
        (7000, "http-admin", "", Speaks.HTTP),
        (80, "grpc", "", Speaks.TCP),
        (7000, "x", "https", Speaks.TLS),
        (6379, "", "", Speaks.REDIS),
        (7000, "tcp-postgresql", "", Speaks.POSTGRES),
        (9092, "broker", "", Speaks.KAFKA),
    ],
)
def test_what_a_port_speaks(port: int, name: str, app: str, speaks: Speaks, tmp_path: Path) -> None:
    """The application protocol says more than the name, and the name more than the number."""
    stated = {key: value for key, value in {"port": port, "name": name, "appProtocol": app}.items() if value}
    found = cluster(controller("web", {"containerPort": port}), service("web", {"app": "web"}, stated))
    assert [one.speaks for one in only(drafted(found, tmp_path)[1]).ports] == [speaks]


def test_pods_of_every_kind(tmp_path: Path) -> None:
    """Whoever runs them: what no controller that can be read accounts for goes by its owner's name, or its own."""
    found = cluster(
        controller("web", {"containerPort": 80}),
        pod("web-1-x", {"app": "web", "pod-template-hash": "1"}, ("ReplicaSet", "web-1")),
        controller("agent", {"containerPort": 80}, kind="DaemonSet"),
        controller("old", {"containerPort": 80}, kind="ReplicaSet"),
        pod("lonely", {"run": "lonely"}),
        pod("nameless", {}),
        pod("pg-1", {"cluster": "pg", "role": "primary"}, ("Cluster", "pg")),
        pod("pg-2", {"cluster": "pg", "role": "replica"}, ("Cluster", "pg")),
        pod("done", {"job-name": "done"}, ("Job", "done")) | {"status": {"phase": "Succeeded"}},
        pod("on-node", {"app": "proxy"}, hostNetwork=True),
        pod("rogue-1", {"app": "rogue", "lateral.dev/run": "1"}),
    )
    text, topology = drafted(found, tmp_path)
    assert {one.name: dict(one.labels) for one in topology.workloads} == {
        "web": {"app": "web"},
        "agent": {"app": "agent"},
        "old": {"app": "old"},
        "lonely": {"run": "lonely"},
        "pg": {"cluster": "pg"},
    }
    assert "# Pod nameless of namespace shop is left out: its pods wear no label" in text
    assert "# Pod on-node of namespace shop is left out: it uses its node's network" in text
    assert "  # Cluster pg\n" in text


def test_workloads_that_labels_do_not_tell_apart(tmp_path: Path) -> None:
    """What another's labels select, too, is left out: it would be measured as the other."""
    found = cluster(
        controller("web", {"containerPort": 80}), controller("web-canary", {"containerPort": 80}, app="web")
    )
    found_more = cluster(controller("web", {"containerPort": 80}), pod("extra", {"app": "web", "track": "canary"}))
    assert (
        "web-canary of namespace shop is left out: its pods wear the same labels as web's"
        in drafted(found, tmp_path)[0]
    )
    assert (
        "Pod extra of namespace shop is left out: its pods wear the labels of web's, too"
        in drafted(found_more, tmp_path)[0]
    )


def test_names_that_a_topology_would_not_take(tmp_path: Path) -> None:
    found = cluster(
        controller("shop.web", {"containerPort": 80}), controller("db", {"containerPort": 80}),
        controller("db", {"containerPort": 80}, kind="StatefulSet", tier="db"), pod("a" * 80, {"run": "long"}),
        controller("db", {"containerPort": 80}, kind="DaemonSet", tier="cache"),
    )  # fmt: skip
    _, topology = drafted(found, tmp_path)
    assert {one.name for one in topology.workloads} == {"shop-web", "db", "a" * 63}


def test_kinds_that_cannot_be_read(tmp_path: Path) -> None:
    """What a cluster lacks, or doesn't show, is said; its pods are found all the same."""
    pods = (
        pod("web-5d-x", {"app": "web", "pod-template-hash": "5d"}, ("ReplicaSet", "web-5d")),
        pod("db-0", {"app": "db", "controller-revision-hash": "7"}, ("StatefulSet", "db")),
    )
    found = cluster(*pods, refused=["Deployment", "ReplicaSet", "NetworkPolicy", "Namespace"], missing=["StatefulSet"])
    text, topology = drafted(found, tmp_path)
    assert {one.name: dict(one.labels) for one in topology.workloads} == {"web": {"app": "web"}, "db": {"app": "db"}}
    for said in (
        "# the cluster has no StatefulSets\n",
        "# Deployments of namespace shop could not be read: deployments is forbidden\n",
        "# NetworkPolicies of namespace shop could not be read",
        "# namespace shop itself could not be read: namespaces is forbidden\n",
    ):
        assert said in text


def test_replicasets_are_read_where_deployments_are_not(tmp_path: Path) -> None:
    """They belong to one another: a Deployment's pods are one workload, however far its controllers can be followed."""
    replicas = controller("web-5d", {"containerPort": 80}, kind="ReplicaSet", **{"pod-template-hash": "5d"})
    replicas["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "web", "controller": True}]
    worn = pod("web-5d-x", {"app": "web", "pod-template-hash": "5d"}, ("ReplicaSet", "web-5d"))
    _, topology = drafted(cluster(replicas, worn, refused=["Deployment"]), tmp_path)
    assert (only(topology).name, dict(only(topology).labels)) == ("web", {"app": "web"})
    _, topology = drafted(cluster(controller("web"), replicas, worn), tmp_path)
    assert only(topology).name == "web"


def test_a_pod_that_cannot_be_asked(tmp_path: Path) -> None:
    """Any of its containers may answer; where none does, the draft says why."""
    both = controller("web", {"containerPort": 80})
    asked = pod("web-1", {"app": "web"}, ("ReplicaSet", "web-1"), containers=("bare", "sidecar"))
    text, topology = drafted(cluster(both, asked, tables={("web-1", "sidecar"): listening(80, 9000)}), tmp_path)
    assert [one.port for one in only(topology).ports] == [80, 9000]
    text, _ = drafted(cluster(both, asked), tmp_path)
    assert f"# what else listens is not known: {NO_CAT}" in text
    text, _ = drafted(cluster(both, asked, refused=["pods/exec"]), tmp_path)
    assert "# what else listens is not known: pods/exec is forbidden" in text
    text, _ = drafted(cluster(both), tmp_path)
    assert "# what else listens is not known: none of its pods is ready" in text


def test_several_namespaces(tmp_path: Path) -> None:
    """The first is the application's; a name that is there twice is told with its namespace."""
    http = {"containerPort": 80}
    allow = {"ingress": [{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}}]}]}
    found = cluster(
        controller("web", http),
        controller("db", http),
        controller("db", http, home="stores", tier="store"),
        policy("db", {"matchLabels": {"app": "db"}}, "stores", **allow),
        namespaces=("shop", "stores"),
    )
    text, topology = drafted(found, tmp_path, "shop", "stores")
    assert [one.id for one in topology.workloads] == ["web.shop", "db.shop", "db.stores"]
    assert [(flow.source, flow.target) for flow in topology.intended] == [("web.shop", "db.stores")]
    assert "- {from: web, to: db.stores, port: 80, reason: admitted by policy db}" in text
    assert topology.namespaces == ("shop", "stores")


def test_no_policy_says_nothing_of_what_is_intended(tmp_path: Path) -> None:
    """A flow that nothing denies isn't thereby meant."""
    text, topology = drafted(cluster(controller("web", {"containerPort": 80})), tmp_path)
    assert topology.intended == ()
    assert only(topology).dns
    assert "intended: []" in text


PEERS: dict[str, tuple[Any, set[str]]] = {
    "pods here": ({"podSelector": {"matchLabels": {"app": "web"}}}, {"web.shop"}),
    "all pods here": ({"podSelector": {}}, {"web.shop", "worker.shop"}),
    "by expression": (
        {"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}},
        {"worker.shop"},
    ),
    "everywhere": ({"namespaceSelector": {}}, {"anyone", "web.shop", "worker.shop"}),
    "a namespace": (
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}},
        {"web.shop", "worker.shop"},
    ),
    "other namespaces": (
        {"namespaceSelector": {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["shop"]}
        ]}},
        {"anyone"},
    ),
    "another's pods": (
        {"namespaceSelector": {"matchLabels": {"team": "x"}}, "podSelector": {"matchLabels": {"app": "web"}}}, set()
    ),
    "all addresses": ({"ipBlock": {"cidr": "0.0.0.0/0"}}, {"anyone"}),
    "some addresses": ({"ipBlock": {"cidr": "10.0.0.0/8"}}, set()),
}  # fmt: skip


@pytest.mark.parametrize("name", PEERS)
def test_whom_a_policy_admits(name: str, tmp_path: Path) -> None:
    peer, expected = PEERS[name]
    found = cluster(
        *(controller(one, {"containerPort": 80}) for one in ("web", "worker", "db")),
        policy("db", {"matchLabels": {"app": "db"}}, ingress=[{"from": [peer]}]),
    )
    _, topology = drafted(found, tmp_path)
    assert {flow.source for flow in topology.intended} == expected
    assert {flow.target for flow in topology.intended} <= {"db.shop"}


@pytest.mark.parametrize(
    ("ports_", "expected"),
    [
        ([], {80, 9000}),
        ([{"port": 8080}], {80}),
        ([{"port": "admin"}], {9000}),
        ([{"port": 8000, "endPort": 9999}], {80, 9000}),
        ([{"port": 80}], set()),
        ([{"protocol": "UDP", "port": 8080}], set()),
        ([{"protocol": "TCP"}], {80, 9000}),
    ],
)
def test_which_ports_a_policy_admits(ports_: list[Any], expected: set[int], tmp_path: Path) -> None:
    """It names the pods' ports; the flow has the Service's."""
    found = cluster(
        controller("web", {"containerPort": 1}),
        controller("db", {"containerPort": 8080}, {"name": "admin", "containerPort": 9000}),
        service("db", {"app": "db"}, {"port": 80, "targetPort": 8080}),
        policy("db", {"matchLabels": {"app": "db"}}, ingress=[{"from": [{"podSelector": {}}], "ports": ports_}]),
    )
    _, topology = drafted(found, tmp_path)
    assert {flow.port for flow in topology.intended} == expected


def test_egress_takes_part(tmp_path: Path) -> None:
    """A workload that isn't let out gets nowhere; where all may come, those of them count who are let out to there."""
    public = policy("db", {"matchLabels": {"app": "db"}}, ingress=[{}])
    closed = policy("deny", {}, policyTypes=["Egress"])
    out = policy("web", {"matchLabels": {"app": "web"}}, policyTypes=["Egress"], egress=[
        {"to": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": 80}]},
        {"ports": [{"protocol": "UDP", "port": 53}]},
    ])  # fmt: skip
    apps = [controller(one, {"containerPort": 80}) for one in ("web", "worker", "db")]
    _, topology = drafted(cluster(*apps, public, closed, out), tmp_path)
    assert {flow.source for flow in topology.intended} == {"anyone", "web.shop"}
    assert {one.name for one in topology.workloads if one.dns} == {"web"}


def test_the_default_namespace_is_somebodys(tmp_path: Path) -> None:
    """The attackers that are there by default can't be: the draft loads, and says what it lacks."""
    found = cluster(controller("web", {"containerPort": 80}, home="default"), namespaces=("default",))
    text, topology = drafted(found, tmp_path, "default")
    assert [one.id for one in topology.attackers] == ["rogue.default"]
    assert "list attackers of a namespace that isn't" in text


def test_values_that_yaml_would_take_for_something_else(tmp_path: Path) -> None:
    found = cluster(controller("web", {"containerPort": 80}, version="1.10", on="yes", empty=""))
    assert dict(only(drafted(found, tmp_path)[1]).labels) == {"app": "web", "version": "1.10", "on": "yes", "empty": ""}


def test_nothing_to_draft() -> None:
    with pytest.raises(ConfigurationError, match="the cluster has no namespace shop: give one that it has"):
        discover(cluster(namespaces=()), ["shop"])
    with pytest.raises(ConfigurationError, match="nothing in shop can be measured: Pods of namespace shop could not"):
        discover(cluster(refused=["Pod"]), ["shop"])


def test_a_draft_is_plain_yaml() -> None:
    """Comments hold nothing that a reader of the data would miss."""
    text = discover(cluster(controller("web", {"containerPort": 80})), ["shop"])
    assert text.isascii()
    assert set(yaml.safe_load(text)) == {"application", "namespace", "workloads", "intended"}


@pytest.mark.parametrize("name", ["no", "007", "null"])
def test_a_namespace_whose_name_is_no_text_in_yaml(name: str, tmp_path: Path) -> None:
    web = controller("web", {"containerPort": 80}, home=name)
    found = cluster(web, pod("web-1", {"app": "web"}, home=name), namespaces=(name,))
    _, topology = drafted(found, tmp_path, name)
    assert (topology.application, topology.namespace) == (name, name)
