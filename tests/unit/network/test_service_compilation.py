"""Services and their slices become fronts and the ready backends behind them."""

from __future__ import annotations

from typing import Any

import pytest

from lateral.lab.network.services import ServicePort, Services, compile_services

HTTP = {"name": "http", "port": 80, "targetPort": "web"}


def service(*ports: dict[str, Any], ip: str = "10.102.0.7", type_: str = "ClusterIP") -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": ip, "type": type_, "ports": list(ports)},
    }


def slice_of(port: dict[str, Any], *endpoints: dict[str, Any], namespace: str = "shop", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-x", "namespace": namespace, "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [port],
        "endpoints": list(endpoints),
        **more,
    }


READY = {"addresses": ["10.101.0.1"], "conditions": {"ready": True}}
AT_8080 = {"name": "http", "port": 8080, "protocol": "TCP"}


@pytest.mark.parametrize(
    ("endpoint", "backends"),
    [
        pytest.param(READY, (("10.101.0.1", 8080),), id="ready"),
        pytest.param({"addresses": ["10.101.0.1"]}, (("10.101.0.1", 8080),), id="nothing said is ready"),
        pytest.param({"addresses": ["10.101.0.1"], "conditions": {"ready": False}}, (), id="not ready"),
    ],
)
def test_only_ready_endpoints_are_backends(endpoint: dict[str, Any], backends: Any) -> None:
    compiled = compile_services([service(HTTP)], [slice_of(AT_8080, endpoint)])
    assert compiled == Services(("10.102.0.7",), (ServicePort("TCP", (("10.102.0.7", 80),), backends),))


def test_backends_come_from_all_slices_of_the_service_and_no_other() -> None:
    slices = [
        slice_of(AT_8080, READY),
        slice_of({**AT_8080, "port": 9090}, {"addresses": ["10.101.0.2"]}),
        slice_of(AT_8080, {"addresses": ["10.101.0.3"]}, namespace="other"),
        slice_of({**AT_8080, "name": "metrics"}, {"addresses": ["10.101.0.4"]}),
        slice_of(AT_8080, {"addresses": ["fd00::1"]}, addressType="IPv6"),
    ]
    (port,) = compile_services([service(HTTP)], slices).ports
    assert port.backends == (("10.101.0.1", 8080), ("10.101.0.2", 9090))


def test_a_port_without_a_name_finds_the_slices_port_without_one() -> None:
    (port,) = compile_services([service({"port": 80})], [slice_of({"port": 8080, "name": None}, READY)]).ports
    assert port.backends == (("10.101.0.1", 8080),)


def test_a_node_port_is_a_front_on_the_node() -> None:
    made = service({**HTTP, "nodePort": 30001}, type_="NodePort")
    (port,) = compile_services([made], [slice_of(AT_8080, READY)]).ports
    assert port.fronts == (("10.102.0.7", 80), ("10.100.0.1", 30001), ("10.100.0.2", 30001))


def test_a_headless_service_has_no_rules() -> None:
    assert compile_services([service(HTTP, ip="None")], [slice_of(AT_8080, READY)]) == Services()
