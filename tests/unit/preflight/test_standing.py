"""Policies that stand before a run: those are told that select what it measures."""

from __future__ import annotations

from typing import Any

import pytest

from .paper import GROUPS, Paper, checked, named
from .test_checks import odd

K8S, CILIUM, ADMIN = "networking.k8s.io", "cilium.io", "policy.networking.k8s.io"
HERE = {"matchLabels": {"kubernetes.io/metadata.name": "default"}}


def standing(group: str, kind: str, name: str, namespace: str = "", **spec: Any) -> list[str]:
    """What is told of a policy, without its beginning."""
    paper = Paper(objects={(group, kind): [named(name, namespace, spec=spec)]}, groups=tuple(GROUPS))
    found = odd(checked(paper))
    assert {level for level, _ in found} <= {"warning"}
    return [said.removeprefix("standing policies: ") for _, said in found]


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, "rogue.default, user.default"),
        ({"matchLabels": {"app": "rogue"}}, "rogue.default"),
        ({"matchLabels": {"app": "shop"}}, ""),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, "rogue.default"),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, "user.default"),
        ({"matchExpressions": [{"key": "name", "operator": "In", "values": ["user", "orders"]}]}, "user.default"),
        ({"matchExpressions": [{"key": "name", "operator": "NotIn", "values": ["user"]}]}, "rogue.default"),
    ],
)
def test_a_policy_of_a_namespace(selector: dict[str, Any], selected: str) -> None:
    expected = [f"NetworkPolicy deny in default selects {selected}"] if selected else []
    assert standing(K8S, "NetworkPolicy", "deny", "default", podSelector=selector) == expected


def test_a_policy_elsewhere_is_nobodys_business() -> None:
    assert not standing(K8S, "NetworkPolicy", "deny", "billing", podSelector={})


def test_a_policy_of_the_dns_servers_is_told() -> None:
    found = standing(K8S, "NetworkPolicy", "dns", "kube-system", podSelector={"matchLabels": {"k8s-app": "kube-dns"}})
    assert found == ["NetworkPolicy dns in kube-system selects kube-dns.kube-system"]


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({"matchLabels": {"k8s:app": "rogue", "k8s:io.kubernetes.pod.namespace": "default"}}, "rogue.default"),
        ({"matchLabels": {"any:name": "user", "io.kubernetes.pod.namespace": "default"}}, "user.default"),
        (
            {"matchLabels": {"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "kube-system"}},
            "kube-dns.kube-system",
        ),
        ({"matchLabels": {"reserved:host": ""}}, ""),
        ({"matchLabels": {"k8s:io.kubernetes.pod.namespace": "billing"}}, ""),
    ],
)
def test_ciliums_selectors(selector: dict[str, Any], selected: str) -> None:
    """Labels with their source, a pod's namespace, and that one's labels."""
    found = standing(CILIUM, "CiliumClusterwideNetworkPolicy", "base", endpointSelector=selector)
    assert found == ([f"CiliumClusterwideNetworkPolicy base selects {selected}"] if selected else [])


def test_a_policy_of_ciliums_for_hosts_selects_no_pod() -> None:
    assert not standing(CILIUM, "CiliumClusterwideNetworkPolicy", "hosts", nodeSelector={})


def test_a_policy_for_all_is_told_in_short() -> None:
    [found] = standing(CILIUM, "CiliumClusterwideNetworkPolicy", "all", endpointSelector={})
    assert found.startswith("CiliumClusterwideNetworkPolicy all selects carts-db.sock-shop, carts.sock-shop, ")
    assert found.endswith(" more")


def test_a_policy_of_ciliums_with_several_specs() -> None:
    spec = {"endpointSelector": {"matchLabels": {"app": "rogue"}}}
    paper = Paper(groups=(CILIUM,), objects={(CILIUM, "CiliumNetworkPolicy"): [named("two", "default", specs=[spec])]})
    assert odd(checked(paper)) == [
        ("warning", "standing policies: CiliumNetworkPolicy two in default selects rogue.default")
    ]


@pytest.mark.parametrize(
    ("subject", "selected"),
    [
        ({"namespaces": HERE}, "rogue.default, user.default"),
        ({"pods": {"namespaceSelector": HERE, "podSelector": {"matchLabels": {"app": "rogue"}}}}, "rogue.default"),
        ({"namespaces": {"matchLabels": {"tenant": "x"}}}, ""),
    ],
)
def test_administrators_policies(subject: dict[str, Any], selected: str) -> None:
    found = standing(ADMIN, "AdminNetworkPolicy", "tenants", subject=subject)
    assert found == ([f"AdminNetworkPolicy tenants selects {selected}"] if selected else [])


@pytest.mark.parametrize(
    ("group", "kind"), [("crd.projectcalico.org", "GlobalNetworkPolicy"), ("crd.antrea.io", "ClusterNetworkPolicy")]
)
def test_selectors_that_cant_be_read_may_select_anything(group: str, kind: str) -> None:
    [found] = standing(group, kind, "base", selector="tenant == 'x'")
    assert found.startswith(f"{kind} base selects ")


def test_what_an_existing_application_lives_under_is_what_is_measured() -> None:
    """Told, but no warning: a run of it as it is measures just that."""
    namespaces = [named("default"), named("kube-system"), named("sock-shop")]
    deny = named("deny", "sock-shop", spec={"podSelector": {}})
    paper = Paper(objects={("", "Namespace"): namespaces, (K8S, "NetworkPolicy"): [deny]})
    checks = checked(paper, existing=True)
    assert not odd(checks)
    [found] = [one for one in checks if one.what == "standing policies"]
    assert found.detail.endswith("the run measures what it does")
