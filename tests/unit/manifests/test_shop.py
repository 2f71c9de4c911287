"""Sock Shop's manifests: what the topology says of the shop is what they deploy, with the remedies it needs today."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest
import yaml

from lateral import topology

Document = dict[str, Any]

SHOP = topology.load("sock-shop")
FILES = {
    file.name: [document for document in yaml.safe_load_all(file.read_text()) if document]
    for file in resources.files("lateral.manifests").joinpath("sock-shop").iterdir()
    if file.name.endswith(".yaml")
}
DOCUMENTS = [document for documents in FILES.values() for document in documents]
DEPLOYMENTS = {document["metadata"]["name"]: document for document in DOCUMENTS if document["kind"] == "Deployment"}
SERVICES = {document["metadata"]["name"]: document for document in DOCUMENTS if document["kind"] == "Service"}
CONTAINERS = {
    container["name"]: container
    for deployment in DEPLOYMENTS.values()
    for container in deployment["spec"]["template"]["spec"]["containers"]
}


def test_one_file_a_workload() -> None:
    """Each of the fourteen workloads has a file with its Deployment and Service; the namespace comes first."""
    names = {workload.name for workload in SHOP.workloads}
    assert len(names) == 14
    assert {name.removesuffix(".yaml") for name in FILES} == names | {"00-namespace"}
    assert set(DEPLOYMENTS) == set(SERVICES) == names
    assert min(FILES) == "00-namespace.yaml"


def test_the_folder_can_be_applied_as_it_is() -> None:
    """`kubectl apply -f` takes every file in it: each document is an object, in the shop's own namespace."""
    for document in DOCUMENTS:
        assert {"apiVersion", "kind", "metadata"} <= set(document)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == SHOP.namespace


@pytest.mark.parametrize("workload", SHOP.workloads, ids=lambda workload: workload.name)
def test_ports_and_labels_are_the_topologys(workload: topology.Workload) -> None:
    """Pods wear exactly the topology's labels, Services select by them, and ports agree from Service to container."""
    template = DEPLOYMENTS[workload.name]["spec"]["template"]
    service = SERVICES[workload.name]["spec"]
    assert template["metadata"]["labels"] == service["selector"] == dict(workload.labels)
    assert DEPLOYMENTS[workload.name]["spec"]["selector"]["matchLabels"] == dict(workload.labels)
    assert {(port["port"], port["targetPort"]) for port in service["ports"]} == {
        (port.port, port.pod_port) for port in workload.ports if port.services
    }
    assert {port["containerPort"] for container in template["spec"]["containers"] for port in container["ports"]} == {
        port.pod_port for port in workload.ports
    }


def test_the_front_end_has_its_node_port() -> None:
    """30001, as published."""
    service = SERVICES["front-end"]["spec"]
    assert (service["type"], service["ports"][0]["nodePort"]) == ("NodePort", 30001)
    assert all("type" not in other["spec"] for name, other in SERVICES.items() if name != "front-end")


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_tells_when_it_is_ready(name: str) -> None:
    """A probe of its own that starts within 5 s, on a port that the container declares."""
    probe, ports = CONTAINERS[name]["readinessProbe"], {port["containerPort"] for port in CONTAINERS[name]["ports"]}
    assert probe["initialDelaySeconds"] <= 5
    assert probe.get("httpGet", probe.get("tcpSocket"))["port"] in ports


def test_the_backends_are_probed_on_health() -> None:
    """All seven have /health; front-end has its static page."""
    paths = {
        name: probe["httpGet"]["path"]
        for name, container in CONTAINERS.items()
        if "httpGet" in (probe := container["readinessProbe"])
    }
    backends = {"catalogue", "user", "carts", "orders", "payment", "shipping", "queue-master"}
    assert paths == {"front-end": "/", **dict.fromkeys(backends, "/health")}


def test_images_are_pinned() -> None:
    """Every tag is a version; MongoDB is the last that the drivers understand, Redis stays on 7."""
    tags = {name: container["image"].rpartition(":")[2] for name, container in CONTAINERS.items()}
    assert "latest" not in tags.values()
    assert all(tag[0].isdigit() for tag in tags.values())
    assert (tags["carts-db"], tags["orders-db"], tags["session-db"]) == ("4.4", "4.4", "7-alpine")


def test_the_exporter_listens_where_its_service_says() -> None:
    """The image's own port is another."""
    assert {"name": "PUBLISH_PORT", "value": "9090"} in CONTAINERS["rabbitmq-exporter"]["env"]


def test_the_seeded_cards_are_not_covered() -> None:
    """No volume hides user-db's data."""
    assert "volumeMounts" not in CONTAINERS["user-db"]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_pods_run_where_and_as_they_can(name: str) -> None:
    """Linux on amd64, no API token, no Services in the environment; nothing that PodSecurity's baseline refuses."""
    spec = DEPLOYMENTS[name]["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    for container in spec["containers"]:
        added = set(container["securityContext"].get("capabilities", {}).get("add", []))
        assert added <= {"CHOWN", "DAC_OVERRIDE", "NET_BIND_SERVICE", "SETGID", "SETUID"}
        assert "privileged" not in container["securityContext"]


def test_the_shop_fits_a_small_cluster() -> None:
    """At most 0.8 CPU and 1.7 GiB requested, 2.4 CPU and 3.6 GiB at the limits."""

    def total(kind: str, resource: str) -> int:
        amounts = (container["resources"][kind].get(resource, "0") for container in CONTAINERS.values())
        return sum(int(amount.removesuffix("m").removesuffix("Mi")) for amount in amounts)

    assert total("requests", "cpu") <= 800
    assert total("limits", "cpu") <= 2400
    assert total("requests", "memory") <= 1.7 * 1024
    assert total("limits", "memory") <= 3.6 * 1024
