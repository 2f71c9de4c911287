"""Variables: references expand, Services are linked unless a pod doesn't want that, the unknown is told."""

from __future__ import annotations

import pytest

from lateral.lab.kubelet.environment import ContainerConfigError, environment, expand
from lateral.lab.kubelet.identity import identity_files
from lateral.lab.store import Object, Store

from .fakes import container, pod


def with_identity(made: Object) -> Object:
    made["metadata"]["uid"] = "1"
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(A)/$(B)", "1/$(B)"), ("$$(A)", "$(A)"), ("$A", "$A"), ("$(A", "$(A"), ("$$$(A)", "$1")],
)
def test_references_expand_as_in_kubernetes(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


def test_later_variables_see_earlier_ones() -> None:
    spec = container(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}])
    assert environment(Store(), with_identity(pod()), spec, base={"PATH": "/bin"}) == {
        "PATH": "/bin",
        "A": "1",
        "B": "12",
    }


def test_services_are_linked_unless_switched_off() -> None:
    store = Store()
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    spec = {"clusterIP": "10.102.1.1", "ports": ports}
    store.create({"kind": "Service", "metadata": {"name": "carts-db", "namespace": "shop"}, "spec": spec})
    linked = environment(store, with_identity(pod()), container(), base={})
    assert linked["CARTS_DB_SERVICE_HOST"] == "10.102.1.1"
    assert linked["CARTS_DB_SERVICE_PORT"] == linked["CARTS_DB_SERVICE_PORT_HTTP"] == "80"
    assert environment(store, with_identity(pod(enableServiceLinks=False)), container(), base={}) == {}


@pytest.mark.parametrize(
    "source",
    [
        {"resourceFieldRef": {"resource": "limits.cpu"}},
        {"fieldRef": {"fieldPath": "status.phase"}},
        {"configMapKeyRef": {"name": "none", "key": "k"}},
    ],
)
def test_unknown_sources_are_told(source: Object) -> None:
    spec = container(env=[{"name": "A", "valueFrom": source}])
    with pytest.raises(ContainerConfigError):
        environment(Store(), with_identity(pod()), spec, base={})


def test_optional_keys_may_be_missing() -> None:
    source = {"secretKeyRef": {"name": "none", "key": "k", "optional": True}}
    spec = container(env=[{"name": "A", "valueFrom": source}])
    assert environment(Store(), with_identity(pod()), spec, base={}) == {}


@pytest.mark.parametrize(
    ("spec", "present", "absent"),
    [
        ({}, "nameserver 10.102.0.10", "1.1.1.1"),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}}, "nameserver 1.1.1.1", "10.102.0.10"),
        ({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}}, "options ndots:2", "ndots:5"),
        ({"hostNetwork": True}, "", "10.102.0.10"),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, "nameserver 10.102.0.10", "1.1.1.1"),
    ],
)
def test_names_are_resolved_by_the_dns_policy(spec: Object, present: str, absent: str) -> None:
    text = identity_files(pod(**spec), "10.101.0.1")["/etc/resolv.conf"]
    assert present in text
    assert absent not in text


def test_hosts_knows_the_pod_and_its_aliases() -> None:
    aliases = [{"ip": "10.0.0.1", "hostnames": ["foo", "bar"]}]
    made = pod(hostname="web", subdomain="db", hostAliases=aliases)
    hosts = identity_files(made, "10.101.0.1")["/etc/hosts"]
    assert "10.101.0.1\tweb.db.shop.svc.cluster.local web" in hosts
    assert "10.0.0.1\tfoo bar" in hosts
