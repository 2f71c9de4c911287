"""The topology: what is read, which flows come of it, and how bad files are refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateral.application import documents
from lateral.errors import ConfigurationError
from lateral.model import Expectation, Flow, Protocol, SourceKind, Speaks
from lateral.resources import Run
from lateral.topology import Topology, load

SMALL: dict[str, Any] = {
    "application": "shop",
    "namespace": "shop",
    "workloads": [
        {
            "name": "web",
            "labels": {"name": "web"},
            "ports": [{"port": 80, "podPort": 8079, "speaks": "http"}],
            "dns": True,
        },
        {
            "name": "db",
            "labels": {"name": "db"},
            "ports": [{"port": 27017, "speaks": "mongo"}, {"port": 15672, "speaks": "http", "service": False}],
        },
    ],
    "intended": [
        {"from": "anyone", "to": "web", "port": 80, "reason": "the public entry point"},
        {"from": "web", "to": "db", "port": 27017, "reason": "reads"},
    ],
    "dns": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}, "port": 53},
    "attackers": [
        {"name": "rogue", "namespace": "default", "labels": {"app": "rogue"}},
        {"name": "rogue", "namespace": "shop", "labels": {"app": "rogue"}},
    ],
    "outside": {
        "namespace": "outside",
        "listeners": [{"name": "decoy", "port": 53, "protocols": ["UDP", "TCP"], "speaks": "dns"}],
    },
}

Write = Callable[[Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(data: Any) -> Path:
        path = tmp_path / "topology.yaml"
        path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
        return path

    return write


@pytest.fixture
def small(write: Write) -> Topology:
    return load(write(SMALL))


def allowed(flows: tuple[Flow, ...]) -> set[str]:
    return {flow.id for flow in flows if flow.expectation is Expectation.ALLOW and not flow.control}


def test_a_workload_without_a_twin_is_a_target_only(write: Write) -> None:
    """`twin: false` takes a workload from the sources, and leaves it among the targets."""
    found = load(write(broken("workloads", 0, "twin", value=False)))
    name = found.workloads[0].name
    assert name not in {source.name for source in found.sources()}
    assert name in {target.name for target in found.targets()}


def test_manifests_of_its_own(write: Write, tmp_path: Path) -> None:
    """A topology may bring its application's manifests, in a folder beside it."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "web.yaml").write_text("{kind: Service, apiVersion: v1, metadata: {name: web}}")
    found = load(write({**SMALL, "manifests": "shop"}))
    assert found.manifests == tmp_path / "shop"
    names = [document["metadata"]["name"] for document in documents(found, Run("0"))]
    assert names == [found.namespace, "web"]


def test_sources_and_targets(small: Topology) -> None:
    """Sources are the attackers and a twin of each workload; targets are all ports, DNS and the listeners outside."""
    assert [(source.id, source.kind) for source in small.sources()] == [
        ("rogue.default", SourceKind.ROGUE),
        ("rogue.shop", SourceKind.ROGUE),
        ("web.shop", SourceKind.TWIN),
        ("db.shop", SourceKind.TWIN),
    ]
    assert [(target.id, target.pod_port, target.service) for target in small.targets()] == [
        ("web.shop:80/TCP", 8079, "web"),
        ("db.shop:27017/TCP", 27017, "db"),
        ("db.shop:15672/TCP", 15672, None),
        ("kube-dns.kube-system:53/UDP", 53, "kube-dns"),
        ("kube-dns.kube-system:53/TCP", 53, "kube-dns"),
        ("decoy.outside:53/UDP", 53, "decoy"),
        ("decoy.outside:53/TCP", 53, "decoy"),
    ]


def test_flows(small: Topology) -> None:
    """All pairs are flows, in one order; only what is intended is allowed."""
    flows = small.flows()
    assert len(flows) == len({flow.id for flow in flows}) == 4 * 7
    assert [flow.id for flow in flows] == [f"{s.id}-to-{t.id}" for s in small.sources() for t in small.targets()]
    assert allowed(flows) == {
        "rogue.default-to-web.shop:80/TCP",
        "web.shop-to-db.shop:27017/TCP",
        "web.shop-to-kube-dns.kube-system:53/UDP",
        "web.shop-to-kube-dns.kube-system:53/TCP",
    }


def test_controls(small: Topology) -> None:
    """A flow is a control, and must stay open, exactly when neither end is in the application."""
    for flow in small.flows():
        assert flow.control is ("shop" not in (flow.source.namespace, flow.target.namespace))
        assert flow.expectation is Expectation.ALLOW or not flow.control


def test_attacker_gains_nothing_by_a_workloads_name(write: Write) -> None:
    """An attacker who is called like a workload isn't that workload."""
    data = copy.deepcopy(SMALL)
    data["attackers"].append({"name": "web", "namespace": "default", "labels": {"name": "web"}})
    assert "web.default-to-db.shop:27017/TCP" not in allowed(load(write(data)).flows())


def test_sock_shop() -> None:
    """The packaged Sock Shop has its fourteen services and fifteen dependencies, and only those are allowed."""
    shop = load("sock-shop")
    flows = shop.flows()
    assert len(shop.workloads) == 14
    assert len(flows) == 17 * 21
    between = {flow for flow in allowed(flows) if ".sock-shop-to-" in flow and ".sock-shop:" in flow}
    assert len(between) == 15
    assert "user.sock-shop-to-user-db.sock-shop:27017/TCP" in between
    assert not any(flow.startswith("rogue.sock-shop") for flow in allowed(flows))
    reasons = {flow.id: flow.reason for flow in flows}
    assert reasons["spoof.default-to-front-end.sock-shop:80/TCP"] == "the public entry point"


def test_defaults(small: Topology) -> None:
    """Ports are TCP and the pod's own, listeners wear their name, workloads need no DNS unless they say so."""
    web, db = small.workloads
    assert (web.dns, db.dns) == (True, False)
    assert (db.ports[0].pod_port, db.ports[0].protocol, db.ports[0].services) == (27017, Protocol.TCP, ("db",))
    assert small.outside.listeners[0].labels == {"app": "decoy"}


def broken(*path: str | int, value: Any = None) -> Any:
    """SMALL with the value at `path` replaced, or removed."""
    data = copy.deepcopy(SMALL)
    holder: Any = data
    for step in path[:-1]:
        holder = holder[step]
    if value is None:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param("a: [", "not valid YAML", id="no YAML"),
        pytest.param([], "the document: expected a mapping with application", id="no mapping"),
        pytest.param(broken("workloads"), "the document: workloads is missing", id="missing field"),
        pytest.param(broken("extra", value=1), "the document: unknown field 'extra'", id="unknown field"),
        pytest.param(
            broken("workloads", 0, "ports", 0, "podport", value=1),
            "workloads[0].ports[0]: unknown field 'podport'",
            id="case",
        ),
        pytest.param(
            broken("workloads", 0, "ports", 0, "port", value="80"),
            "workloads[0].ports[0].port: expected a port number (1 to 65535), found '80'",
            id="port as text",
        ),
        pytest.param(
            broken("workloads", 0, "ports", 0, "port", value=True), "expected a port number", id="port as boolean"
        ),
        pytest.param(broken("workloads", 0, "ports", 0, "port", value=65536), "expected a port number", id="high port"),
        pytest.param(
            broken("workloads", 0, "ports", 0, "speaks", value="ftp"),
            "workloads[0].ports[0].speaks: expected one of " + ", ".join(Speaks) + ", found 'ftp'",
            id="unknown protocol",
        ),
        pytest.param(
            broken("workloads", 0, "ports", 0, "protocol", value="SCTP"), "expected one of TCP, UDP", id="SCTP"
        ),
        pytest.param(broken("workloads", value=[]), "workloads: expected a list that isn't empty", id="empty list"),
        pytest.param(
            broken("workloads", 0, "dns", value="yes"), "workloads[0].dns: expected true or false", id="boolean"
        ),
        pytest.param(
            broken("workloads", 0, "name", value="Web"), "workloads[0].name: expected a Kubernetes name", id="name"
        ),
        pytest.param(
            broken("workloads", 1, "name", value="web"), "workloads: web.shop given twice", id="workload twice"
        ),
        pytest.param(
            broken("workloads", 0, "labels", value={"a": 1}),
            "workloads[0].labels.a: expected a label's value",
            id="label",
        ),
        pytest.param(
            broken("workloads", 0, "labels", value={"a b": "c"}), "'a b' is no label's name", id="label's name"
        ),
        pytest.param(
            broken("workloads", 1, "ports", 1, "port", value=27017),
            "workloads[1].ports: 27017/TCP given twice",
            id="port twice",
        ),
        pytest.param(
            broken("intended", 1, "from", value="wbe"),
            "intended[1].from: no workload is called 'wbe': expected anyone or one of db, web",
            id="unknown source",
        ),
        pytest.param(
            broken("intended", 1, "to", value="anyone"), "intended[1].to: no workload is called", id="unknown target"
        ),
        pytest.param(
            broken("intended", 1, "port", value=81), "intended[1].port: db has no port 81/TCP", id="port not there"
        ),
        pytest.param(
            broken("intended", 1, value=SMALL["intended"][0]),
            "intended: anyone to web.shop:80/TCP given twice",
            id="flow twice",
        ),
        pytest.param(
            broken("intended", 0, "reason", value="p\u00fcblic"), "expected a line of ASCII text", id="not ASCII"
        ),
        pytest.param(
            broken("attackers", 1, value={"name": "web", "namespace": "shop", "labels": {"a": "b"}}),
            "attackers: web.shop given twice",
            id="attacker with a twin's name",
        ),
        pytest.param(
            broken("outside", "namespace", value="shop"), "outside.namespace: must not be", id="outside inside"
        ),
        pytest.param(
            broken("workloads", 1, "labels", value={"name": "web", "tier": "db"}),
            "workloads[0].labels: they select db's pods too",
            id="a workload's labels among another's",
        ),
        pytest.param(
            broken("attackers", 1, "labels", value={"name": "db", "app": "rogue"}),
            "attackers[1].labels: they make it a pod of db's",
            id="an attacker behind a Service",
        ),
        pytest.param(
            broken(
                "attackers",
                value=[
                    {"name": "a", "namespace": "x", "labels": {"app": "a"}},
                    {"name": "a", "namespace": "x-to-web", "labels": {"app": "a"}},
                ],
            )
            | {
                "outside": {
                    "namespace": "outside",
                    "listeners": [
                        {"name": "web-to-b", "port": 80, "speaks": "http"},
                        {"name": "b", "port": 80, "speaks": "http"},
                    ],
                }
            },
            "the document: a.x-to-web-to-b.outside:80/TCP given twice",
            id="one id for two flows",
        ),
        pytest.param(broken("manifests", value="nowhere"), "manifests: no folder", id="no such manifests"),
        pytest.param(broken("dns", "namespace", value="shop"), "dns.namespace: must not be", id="DNS inside"),
        pytest.param(
            broken("outside", "listeners", 0, "protocols", value=["UDP", "UDP"]),
            "protocols: UDP given twice",
            id="UDP twice",
        ),
    ],
)
def test_bad_files(write: Write, data: Any, message: str) -> None:
    """A bad topology is refused with the file, the field, and what was expected."""
    path = write(data)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no-such-shop", "no/such/file.yaml", ""])
def test_unreadable(name: str) -> None:
    """What can't be read is refused with what would be accepted."""
    with pytest.raises(ConfigurationError, match="packaged name such as sock-shop"):
        load(name)


HTTP = [{"port": 80, "speaks": "http"}]
TWO: dict[str, Any] = {
    "application": "shop",
    "namespace": "shop",
    "workloads": [
        {"name": "web", "labels": {"name": "web"}, "ports": HTTP, "dns": True},
        {"name": "db", "labels": {"name": "db"}, "ports": HTTP},
        {"name": "db", "namespace": "stores", "labels": {"name": "db"}, "ports": HTTP},
        {"name": "ledger", "namespace": "stores", "labels": {"name": "ledger"}, "ports": HTTP},
    ],
    "intended": [
        {"from": "anyone", "to": "web", "port": 80, "reason": "public"},
        {"from": "web", "to": "db.shop", "port": 80, "reason": "reads"},
        {"from": "db.stores", "to": "ledger", "port": 80, "reason": "copies"},
    ],
}
"""A file that is as short as can be, of an application in two namespaces."""


def test_several_namespaces(write: Write) -> None:
    """Each workload is in its own; anyone is who is outside of all, and a name serves where it is the only one."""
    found = load(write(TWO))
    assert found.namespaces == ("shop", "stores")
    flows = found.flows()
    names = {flow.id.split("-to-")[0] for flow in flows}
    assert names >= {"db.shop", "db.stores", "ledger.stores", "rogue.shop", "rogue.stores", "rogue.default"}
    assert allowed(flows) == {
        "rogue.default-to-web.shop:80/TCP",
        "spoof.default-to-web.shop:80/TCP",
        "web.shop-to-db.shop:80/TCP",
        "db.stores-to-ledger.stores:80/TCP",
        "web.shop-to-kube-dns.kube-system:53/UDP",
        "web.shop-to-kube-dns.kube-system:53/TCP",
    }
    assert not any(flow.control for flow in flows if ".stores" in flow.id)


def test_what_a_file_leaves_out(write: Write) -> None:
    """The cluster's DNS, attackers and listeners are as Sock Shop has them, with this application's names."""
    found = load(write(TWO))
    shop = load("sock-shop")
    assert (found.dns, found.outside) == (shop.dns, shop.outside)
    assert [(one.id, dict(one.labels)) for one in found.attackers] == [
        ("rogue.default", {"app": "rogue"}),
        ("rogue.shop", {"app": "rogue"}),
        ("rogue.stores", {"app": "rogue"}),
        ("spoof.default", {"name": "web"}),
    ]


def test_the_dns_servers_port_may_be_another(write: Write) -> None:
    """The decoy listens where the servers do: that is what a policy names."""
    found = load(write(TWO | {"dns": {"labels": {"dns": "default"}, "podPort": 5353}}))
    dns = [target for target in found.targets() if target.name == "kube-dns"]
    assert {(one.port, one.pod_port, tuple(one.selector.items())) for one in dns} == {(53, 5353, (("dns", "default"),))}
    decoy = next(one for one in found.outside.listeners if one.name == "decoy")
    assert (decoy.port, decoy.labels) == (5353, {"dns": "default"})


def test_services_of_other_names(write: Write) -> None:
    """A port may be exposed by a Service of another name, by several, by the workload's own, or by none."""
    ports = [
        {"port": number, "speaks": "tcp", "service": service}
        for number, service in enumerate([True, False, "front", ["front", "nodes"]], 1)
    ]
    data = {**TWO, "workloads": [{"name": "web", "labels": {"name": "web"}, "ports": ports}], "intended": []}
    found = load(write(data))
    targets = [target for target in found.targets() if target.name == "web"]
    assert [one.services for one in targets] == [("web",), (), ("front",), ("front", "nodes")]
    assert targets[1].service is None
    left = [one for one in found.without_services({("shop", "front")}).targets() if one.name == "web"]
    assert [one.services for one in left] == [("web",), (), (), ("nodes",)]
    assert [one.id for one in left] == [one.id for one in targets]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"namespace": "default", "intended": []},
            "attackers is missing: by default some are in namespace",
            id="default",
        ),
        pytest.param(
            {"intended": [{"from": "web", "to": "db", "port": 80, "reason": "reads"}]},
            "intended[0].to: several workloads are called 'db': expected one of db.shop, db.stores",
            id="ambiguous",
        ),
        pytest.param(
            {"intended": [{"from": "web", "to": "bd", "port": 80, "reason": "reads"}]},
            "no workload is called 'bd': expected one of db.shop, db.stores, ledger, web",
            id="unknown",
        ),
        pytest.param({"outside": {"namespace": "stores", "listeners": [{"name": "x", "port": 1, "speaks": "http"}]}},
                     "outside.namespace: must not be the application's own", id="outside inside"),
        pytest.param({"dns": {"namespace": "stores"}}, "dns.namespace: must not be", id="DNS inside"),
        pytest.param({"namespace": "outside", "intended": []},
                     ":1: the document: must not be the application's own namespace: outside",
                     id="a default inside"),
        pytest.param(
            {"workloads": [
                {"name": "a", "labels": {"name": "a"}, "ports": [{"port": 80, "speaks": "http", "service": "b"}]},
                {"name": "b", "labels": {"name": "b"}, "ports": [{"port": 81, "speaks": "http"}]},
            ], "intended": []},
            "workloads[0]: Service b is b's too",
            id="one Service for two",
        ),
        pytest.param(
            {"workloads": [{"name": "a", "labels": {"app": "rogue"}, "ports": HTTP}], "intended": []},
            "workloads[0].labels: they make it a pod of a's",
            id="labels of the default rogue",
        ),
        pytest.param(
            {"workloads": [{"name": "a", "labels": {"a": "b"}, "ports": [{"port": 1, "speaks": "http",
                                                                           "protocol": "UDP"}]}], "intended": []},
            "speaks: over UDP only dns can be measured",
            id="UDP",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together(write: Write, change: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(write({**TWO, **change}))
    assert message in str(caught.value)


def test_an_error_says_its_line(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    text = "application: shop\nnamespace: shop\nworkloads:\n  - name: web\n    labels: {a: b}\n    ports: ["
    path.write_text(f"{text}\n")
    with pytest.raises(ConfigurationError, match=r"shop.yaml:7: not valid YAML"):
        load(path)
    path.write_text(f"{text[:-1]}3\n")
    with pytest.raises(ConfigurationError, match=r"shop.yaml:6: workloads\[0\].ports: expected a list, found 3"):
        load(path)
    path.write_text("application: shop\napplication: shop\n")
    with pytest.raises(ConfigurationError, match=r"shop.yaml:2: not valid YAML: 'application' stands twice"):
        load(path)
    path.write_text("application: shop\n---\napplication: shop\n")
    with pytest.raises(ConfigurationError, match="expected one YAML document, found 2"):
        load(path)


def test_every_namespace_is_created(write: Write, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "a.yaml").write_text("{kind: Service, apiVersion: v1, metadata: {name: a, namespace: stores}}")
    (tmp_path / "shop" / "b.yaml").write_text("{kind: Namespace, apiVersion: v1, metadata: {name: shop}}")
    made = documents(load(write({**TWO, "manifests": "shop"})), Run("0"))
    assert [(one["kind"], one["metadata"]["name"]) for one in made] == [
        ("Namespace", "stores"),
        ("Service", "a"),
        ("Namespace", "shop"),
    ]


def test_an_application_whose_manifests_are_nowhere(write: Write) -> None:
    with pytest.raises(ConfigurationError, match="no manifests of shop are known"):
        documents(load(write(TWO)), Run("0"))


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "just text",
        "- a list",
        "kind: Service",
        "{kind: A, apiVersion: v1, metadata: }",
        "{kind: [A], apiVersion: v1, metadata: {name: a}}",
        "{kind: A, apiVersion: v1, metadata: {name: {a: b}}}",
    ],
)
def test_manifests_that_are_none(text: str, write: Write, tmp_path: Path) -> None:
    """As where the topology itself lies among them."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "a.yml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"shop/a.yml: (no valid YAML|expected objects with apiVersion)"):
        documents(load(write({**TWO, "manifests": "shop"})), Run("0"))


@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_manifests_of_another_shape(field: str, write: Write, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "a.yml").write_text(f"{{kind: A, apiVersion: v1, metadata: {{name: a, {field}: [b]}}}}")
    with pytest.raises(ConfigurationError, match=rf"shop/a.yml: A a: metadata.{field} must be a mapping"):
        documents(load(write({**TWO, "manifests": "shop"})), Run("0"))
