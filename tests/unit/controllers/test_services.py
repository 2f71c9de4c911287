"""Services get addresses and node ports at admission; what can't be given is refused with the field's name."""

from __future__ import annotations

from typing import Any

import pytest

from lateral.lab.controllers.services import allocate
from lateral.lab.status import StatusError
from lateral.lab.store import Store

from .running import service


def admitted(store: Store, name: str, **spec: Any) -> dict[str, Any]:
    new = service(name, **spec)
    allocate(new, store)
    result: dict[str, Any] = store.create(new)["spec"]
    return result


def test_each_service_gets_an_address_of_its_own() -> None:
    store = Store()
    first, second = admitted(store, "carts"), admitted(store, "orders")
    assert first["clusterIP"] != second["clusterIP"]
    assert first["clusterIP"].startswith("10.102.")
    assert first["clusterIPs"] == [first["clusterIP"]]


def test_a_free_address_that_is_asked_for_is_given() -> None:
    assert admitted(Store(), "dns", clusterIP="10.102.0.10")["clusterIP"] == "10.102.0.10"


def test_a_headless_service_keeps_none() -> None:
    assert admitted(Store(), "db", clusterIP="None")["clusterIPs"] == ["None"]


@pytest.mark.parametrize("address", ["10.101.0.1", "192.168.0.1", "10.102.0.0", "10.102.255.255", "ten", "::1"])
def test_an_address_out_of_range_is_refused(address: str) -> None:
    with pytest.raises(StatusError, match="not in the valid range") as refused:
        allocate(service(clusterIP=address), Store())
    assert refused.value.code == 422


def test_a_taken_address_is_refused() -> None:
    store = Store()
    admitted(store, "dns", clusterIP="10.102.0.10")
    with pytest.raises(StatusError, match="already allocated"):
        allocate(service("other", clusterIP="10.102.0.10"), store)


def test_an_update_keeps_address_and_node_port() -> None:
    store = Store()
    before = admitted(store, "carts", type="NodePort")
    again = service("carts", type="NodePort")
    allocate(again, store)
    assert again["spec"]["clusterIP"] == before["clusterIP"]
    assert again["spec"]["ports"] == before["ports"]


def test_an_address_cannot_be_changed() -> None:
    store = Store()
    admitted(store, "carts", clusterIP="10.102.0.10")
    with pytest.raises(StatusError, match="immutable"):
        allocate(service("carts", clusterIP="10.102.0.11"), store)


def test_node_ports_are_given_honoured_and_refused_when_taken_or_out_of_range() -> None:
    store = Store()

    def port(number: int) -> list[dict[str, Any]]:
        return [{"port": 80, "nodePort": number, "protocol": "TCP"}]

    assert admitted(store, "front-end", type="NodePort", ports=port(30001))["ports"][0]["nodePort"] == 30001
    given = admitted(store, "carts", type="LoadBalancer")["ports"][0]["nodePort"]
    assert 30000 <= given <= 32767
    assert given != 30001
    with pytest.raises(StatusError, match="already allocated"):
        allocate(service("second", type="NodePort", ports=port(30001)), store)
    with pytest.raises(StatusError, match="30000-32767"):
        allocate(service("third", type="NodePort", ports=port(80)), store)


def test_a_cluster_ip_service_loses_its_node_port() -> None:
    store = Store()
    admitted(store, "carts", type="NodePort")
    again = service("carts", ports=[{"port": 80, "protocol": "TCP", "nodePort": 30500}])
    allocate(again, store)
    assert "nodePort" not in again["spec"]["ports"][0]


def test_a_load_balancer_is_pending() -> None:
    balanced = service(type="LoadBalancer")
    allocate(balanced, Store())
    assert balanced["status"] == {"loadBalancer": {}}


def test_external_names_are_refused() -> None:
    with pytest.raises(StatusError, match="ExternalName"):
        allocate(service(type="ExternalName"), Store())
