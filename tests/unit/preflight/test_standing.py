"""Policies that stand before a run: those are told that select what it measures."""

from __future__ import annotations

from typing import Any

import pytest

from lateral import preflight
from lateral.preflight.plan import Intent
from lateral.topology import load

from .paper import GROUPS, Paper, checked, named
from .test_checks import odd

K8S, CILIUM, ADMIN = "networking.k8s.io", "cilium.io", "policy.networking.k8s.io"
DNS = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
ROGUES = "rogue.default-*, rogue.sock-shop"


def standing(group: str, kind: str, name: str, namespace: str = "", **spec: Any) -> list[str]:
    """What is told of a policy, without its beginning."""
    paper = Paper(objects={(group, kind): [named(name, namespace, spec=spec)]}, groups=tuple(GROUPS))
    found = odd(checked(paper))
    assert {level for level, _ in found} <= {"warning"}
    return [said.removeprefix("standing policies: ") for _, said in found]


@pytest.mark.parametrize(
    ("selector", "selects"),
    [
        ({}, True),
        ({"matchLabels": {"k8s-app": "kube-dns"}}, True),
        ({"matchLabels": {"k8s-app": "metrics"}}, False),
        ({"matchExpressions": [{"key": "k8s-app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "k8s-app", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "k8s-app", "operator": "In", "values": ["kube-dns", "proxy"]}]}, True),
        ({"matchExpressions": [{"key": "k8s-app", "operator": "NotIn", "values": ["kube-dns"]}]}, False),
    ],
)
def test_a_policy_of_the_dns_servers_namespace(selector: dict[str, Any], selects: bool) -> None:
    expected = ["NetworkPolicy deny in kube-system selects kube-dns.kube-system"] if selects else []
    assert standing(K8S, "NetworkPolicy", "deny", "kube-system", podSelector=selector) == expected


def test_a_policy_elsewhere_is_nobodys_business() -> None:
    """The rogues have namespaces of their own."""
    for namespace in ("default", "billing"):
        assert not standing(K8S, "NetworkPolicy", "deny", namespace, podSelector={})


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({"matchLabels": {"k8s:app": "rogue", "k8s:io.kubernetes.pod.namespace": "sock-shop"}}, "rogue.sock-shop"),
        ({"matchLabels": {"any:app": "rogue"}}, ROGUES),
        ({"matchLabels": {"app": "rogue"}}, ROGUES),
        ({"matchLabels": {"app": "rogue", "io.cilium.k8s.policy.serviceaccount": "default"}}, ROGUES),
        (
            {"matchLabels": {"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "kube-system"}},
            "kube-dns.kube-system",
        ),
        ({"matchLabels": {"app": "rogue", "k8s:io.cilium.k8s.policy.serviceaccount": "payer"}}, ROGUES),
        (
            {
                "matchLabels": {"app": "rogue"},
                "matchExpressions": [
                    {"key": "k8s:io.cilium.k8s.policy.cluster", "operator": "In", "values": ["east"]},
                ],
            },
            ROGUES,
        ),
        ({"matchLabels": {"reserved:host": ""}}, ""),
        ({"matchLabels": {"k8s:io.kubernetes.pod.namespace": "billing"}}, ""),
    ],
)
def test_ciliums_selectors(selector: dict[str, Any], selected: str) -> None:
    """Labels with their source, a pod's namespace, that one's labels, and what may be so of any pod."""
    found = standing(CILIUM, "CiliumClusterwideNetworkPolicy", "base", endpointSelector=selector)
    assert found == ([f"CiliumClusterwideNetworkPolicy base selects {selected}"] if selected else [])


def test_a_policy_of_ciliums_for_hosts_selects_no_pod() -> None:
    assert not standing(CILIUM, "CiliumClusterwideNetworkPolicy", "hosts", nodeSelector={})


def test_a_policy_for_all_is_told_in_short() -> None:
    [found] = standing(CILIUM, "CiliumClusterwideNetworkPolicy", "all", endpointSelector={})
    assert found.startswith("CiliumClusterwideNetworkPolicy all selects carts-db.sock-shop, carts.sock-shop, ")
    assert found.endswith(" more")


def test_a_policy_of_ciliums_with_several_specs() -> None:
    specs = [{"endpointSelector": {"matchLabels": {"k8s-app": name}}} for name in ("metrics", "kube-dns")]
    two = named("two", "kube-system", specs=specs)
    paper = Paper(groups=(CILIUM,), objects={(CILIUM, "CiliumNetworkPolicy"): [two]})
    said = "standing policies: CiliumNetworkPolicy two in kube-system selects kube-dns.kube-system"
    assert odd(checked(paper)) == [("warning", said)]


@pytest.mark.parametrize(
    ("subject", "selected"),
    [
        ({"namespaces": DNS}, "kube-dns.kube-system"),
        ({"pods": {"podSelector": {"matchLabels": {"app": "rogue"}}}}, ROGUES),
        ({"pods": {"namespaceSelector": DNS, "podSelector": {"matchLabels": {"app": "rogue"}}}}, ""),
        ({"namespaces": {"matchLabels": {"tenant": "x"}}}, ""),
    ],
)
def test_administrators_policies(subject: dict[str, Any], selected: str) -> None:
    found = standing(ADMIN, "AdminNetworkPolicy", "tenants", subject=subject)
    assert found == ([f"AdminNetworkPolicy tenants selects {selected}"] if selected else [])


@pytest.mark.parametrize(
    ("group", "kind", "home", "title"),
    [
        ("crd.projectcalico.org", "GlobalNetworkPolicy", "", "Calico GlobalNetworkPolicy"),
        ("crd.projectcalico.org", "NetworkPolicy", "kube-system", "Calico NetworkPolicy"),
        ("crd.antrea.io", "ClusterNetworkPolicy", "", "Antrea ClusterNetworkPolicy"),
        ("crd.antrea.io", "NetworkPolicy", "kube-system", "Antrea NetworkPolicy"),
    ],
)
def test_selectors_that_cant_be_read_may_select_anything(group: str, kind: str, home: str, title: str) -> None:
    """Whose kind it is is said where it isn't plain."""
    [found] = standing(group, kind, "base", home, selector="tenant == 'x'")
    assert found.startswith(f"{title} base{f' in {home}' if home else ''} selects ")


def test_what_an_existing_application_lives_under_is_what_is_measured() -> None:
    """Told, but no warning: a run of it as it is measures just that."""
    namespaces = [named("default"), named("kube-system"), named("sock-shop")]
    deny = named("deny", "sock-shop", spec={"podSelector": {}})
    paper = Paper(objects={("", "Namespace"): namespaces, (K8S, "NetworkPolicy"): [deny]})
    checks = checked(paper, existing=True)
    assert not odd(checks)
    [found] = [one for one in checks if one.what == "standing policies"]
    assert found.detail.endswith("the run measures what it does")


@pytest.mark.parametrize(
    ("selector", "level"),
    [
        ({"k8s:io.kubernetes.pod.namespace": "sock-shop"}, "ok"),
        ({"k8s:io.kubernetes.pod.namespace": "kube-system"}, "ok"),
        ({}, "warning"),
    ],
)
def test_a_clusters_policy_is_a_part_of_what_an_existing_application_lives_under(
    selector: dict[str, str], level: str
) -> None:
    """Unless it is about the run's own pods, too, that stand outside."""
    policy = named("base", spec={"endpointSelector": {"matchLabels": selector}})
    namespaces = [named("default"), named("kube-system"), named("sock-shop")]
    objects = {("", "Namespace"): namespaces, (CILIUM, "CiliumClusterwideNetworkPolicy"): [policy]}
    checks = checked(Paper(objects=objects, groups=(CILIUM,)), existing=True)
    [found] = [one for one in checks if one.what == "standing policies"]
    assert found.level == level
    assert ("exempt namespaces with the label lateral.dev/run" in found.advice) is (level == "warning")
    assert "never open before" not in found.advice


def test_what_stands_is_in_the_way_of_policies_that_are_applied_beside_it() -> None:
    """Then there is a time before them, in which every path should be open."""
    namespaces = [named("default"), named("kube-system"), named("sock-shop")]
    deny = named("deny", "sock-shop", spec={"podSelector": {}})
    paper = Paper(objects={("", "Namespace"): namespaces, (K8S, "NetworkPolicy"): [deny]})
    checks = checked(paper, plan=preflight.plan(load("sock-shop"), Intent(existing=True, applying=True)))
    [found] = [one for one in checks if one.what == "standing policies"]
    assert "never open before the run's own policies" in found.advice


def test_a_clusters_policy_can_leave_out_what_a_run_creates() -> None:
    """As the warning advises."""
    outside = [{"key": "k8s:io.cilium.k8s.namespace.labels.lateral.dev/run", "operator": "DoesNotExist"}]
    [found] = standing(CILIUM, "CiliumClusterwideNetworkPolicy", "b", endpointSelector={"matchExpressions": outside})
    assert found == "CiliumClusterwideNetworkPolicy b selects kube-dns.kube-system"
