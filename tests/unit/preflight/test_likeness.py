"""Policies that go by what a run's own pods don't have tell them from those that they stand for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lateral import preflight
from lateral.model import Source, SourceKind
from lateral.preflight import Intent
from lateral.resources import RUN_LABEL
from lateral.topology import load

from .paper import GROUPS, Paper, checked, named, planned
from .test_checks import odd, there

SHOP, CILIUM = "sock-shop", "cilium.io"
ACCOUNT = "k8s:io.cilium.k8s.policy.serviceaccount"
SAID = "twins: {} goes by service accounts: the pods of payment.sock-shop run as payer, and its twin would as default"


def told(
    account: str | None,
    *,
    kind: tuple[str, str] = (CILIUM, "CiliumNetworkPolicy"),
    existing: bool = True,
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> list[tuple[str, str]]:
    """What preflight says of twins where payment's pods run under an account, wear more labels, and a policy stands."""
    made = named("payment-1", SHOP, spec={"containers": []}, status={"phase": "Running"})
    made["metadata"]["labels"] = {"name": "payment", **(labels or {})}
    made["spec"] |= {"serviceAccountName": account} if account else {}
    endpoint = named("payment-1", SHOP)
    objects = {
        ("", "Namespace"): there() if existing else [],
        ("", "Pod"): [made],
        (CILIUM, "CiliumEndpoint"): [endpoint],
        kind: [named("by-account", SHOP, spec=spec)],
    }
    found = odd(checked(Paper(objects=objects, groups=tuple(GROUPS)), existing=existing))
    return [one for one in found if one[1].startswith("twins: ")]


def by(account: str) -> dict[str, Any]:
    return {"matchLabels": {ACCOUNT: account}}


@pytest.mark.parametrize(
    "spec",
    [
        {"endpointSelector": by("payer")},
        {"endpointSelector": by("default")},
        {"endpointSelector": {}, "ingress": [{"fromEndpoints": [by("payer")]}]},
        {"endpointSelector": {"matchExpressions": [{"key": ACCOUNT, "operator": "NotIn", "values": ["backup"]}]}},
        {"endpointSelector": {"matchExpressions": [{"key": ACCOUNT, "operator": "Exists"}]}},
    ],
    ids=("its own", "the twin's", "as a peer", "any but another", "any"),
)
def test_a_policy_that_tells_the_accounts_apart_is_refused(spec: dict[str, Any]) -> None:
    assert told("payer", **spec) == [("refusal", SAID.format("CiliumNetworkPolicy by-account in sock-shop"))]


def test_other_accounts_and_policies_without_any_are_nobodys_business() -> None:
    assert not told("payer", endpointSelector=by("backup"))
    assert not told("payer", endpointSelector={})
    assert not told("default", endpointSelector=by("default"))
    assert not told(None, endpointSelector=by("default"))
    assert not told("payer", existing=False, endpointSelector=by("payer"))


def test_a_selector_that_cant_be_read_may_be_about_any_account() -> None:
    calico = ("crd.projectcalico.org", "NetworkPolicy")
    found = told("payer", kind=calico, serviceAccountSelector="name == 'backup'")
    assert found == [("refusal", SAID.format("Calico NetworkPolicy by-account in sock-shop"))]


TIER = {"tier": "back", "pod-template-hash": "1"}


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (("networking.k8s.io", "NetworkPolicy"), {"podSelector": {"matchLabels": {"tier": "back"}}}),
        (
            ("networking.k8s.io", "NetworkPolicy"),
            {"podSelector": {}, "egress": [{"to": [{"podSelector": {"matchLabels": {"tier": "front"}}}]}]},
        ),
        (
            (CILIUM, "CiliumNetworkPolicy"),
            {"endpointSelector": {"matchExpressions": [{"key": "k8s:tier", "operator": "Exists"}]}},
        ),
        (
            (CILIUM, "CiliumNetworkPolicy"),
            {"endpointSelector": {}, "egress": [{"toEndpoints": [{"matchLabels": {"any.tier": "x"}}]}]},
        ),
        (("crd.projectcalico.org", "NetworkPolicy"), {"selector": "tier == 'back'"}),
    ],
    ids=("whom it selects", "a peer", "Cilium's", "Cilium's peer", "a language"),
)
def test_a_policy_by_a_label_that_the_topology_leaves_out_is_refused(
    kind: tuple[str, str], spec: dict[str, Any]
) -> None:
    [(level, said)] = told(None, kind=kind, labels=TIER, **spec)
    assert level == "refusal"
    assert said.endswith("goes by the label tier: the pods of payment.sock-shop wear it, and its twin wouldn't")


def test_labels_by_which_no_policy_goes_may_be_left_out() -> None:
    assert not told(None, labels=TIER, endpointSelector={"matchLabels": {"name": "payment", "frontier": "back"}})
    assert not told(None, labels=TIER, existing=False, endpointSelector={"matchLabels": {"tier": "back"}})
    named = {"io.cilium.k8s.namespace.labels.tier": "x", "k8s:io.cilium.k8s.namespace.labels.team.tier": "y"}
    assert not told(None, labels=TIER, endpointSelector={}, ingress=[{"fromEndpoints": [{"matchLabels": named}]}])
    of_namespaces = {"from": [{"namespaceSelector": {"matchLabels": {"tier": "back"}}}]}
    kubernetes = ("networking.k8s.io", "NetworkPolicy")
    assert not told(None, kind=kubernetes, labels=TIER, podSelector={}, ingress=[of_namespaces])


def applied(**spec: Any) -> dict[str, Any]:
    """A policy that the run would apply."""
    return named("mine", SHOP, spec=spec)


def test_the_policies_that_a_run_would_apply_are_looked_at_too() -> None:
    made = named("payment-1", SHOP, spec={"containers": []}, status={"phase": "Running"})
    made["metadata"]["labels"] = {"name": "payment", "tier": "back"}
    paper = Paper(objects={("", "Namespace"): there(), ("", "Pod"): [made]})
    mine = applied(podSelector={"matchLabels": {"tier": "back"}})
    plan = preflight.plan(load("sock-shop"), Intent(existing=True, policies=(mine,)))
    [(level, said)] = odd(checked(paper, plan=plan))
    assert (level, said.partition(": the pods")[0]) == (
        "refusal",
        "twins: NetworkPolicy mine in sock-shop goes by the label tier",
    )


def test_pods_on_their_nodes_network_are_under_no_policy() -> None:
    host = named("payment-1", SHOP, spec={"containers": [], "hostNetwork": True}, status={"phase": "Running"})
    host["metadata"]["labels"] = {"name": "payment"}
    found = odd(checked(Paper(objects={("", "Namespace"): there(), ("", "Pod"): [host]}), existing=True))
    said = (
        "the pods of payment.sock-shop are on their nodes' network, under no policy, and its twin would be under them"
    )
    assert found == [("refusal", f"twins: {said}")]


NAMESPACE, CILIUM_NAMESPACE = "kubernetes.io/metadata.name", "k8s:io.kubernetes.pod.namespace"
TEAM = "k8s:io.cilium.k8s.namespace.labels.team"
KUBERNETES, ADMIN = ("networking.k8s.io", "NetworkPolicy"), ("policy.networking.k8s.io", "AdminNetworkPolicy")
CALICO, GLOBAL = ("crd.projectcalico.org", "NetworkPolicy"), ("crd.projectcalico.org", "GlobalNetworkPolicy")


def letting(selector: dict[str, Any]) -> dict[str, Any]:
    return {"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": selector}]}]}


def of_attackers(kind: tuple[str, str], spec: dict[str, Any], *, mine: bool = False) -> list[str]:
    """What is said of the attackers' namespaces; `monitoring` is a namespace of the team `sre`, and has one."""
    shop = load("sock-shop")
    topology = replace(shop, attackers=(*shop.attackers, Source("rogue", "monitoring", SourceKind.ROGUE)))
    home = "" if kind in (ADMIN, GLOBAL) else SHOP
    standing = {} if mine else {kind: [named("metrics", home, spec=spec)]}
    namespaces = [*there(), {"metadata": {"name": "monitoring", "labels": {"team": "sre"}}}]
    intent = Intent(existing=True, policies=(applied(**spec),) if mine else ())
    paper = Paper(objects={("", "Namespace"): namespaces, **standing}, groups=tuple(GROUPS))
    found = odd(checked(paper, plan=preflight.plan(topology, intent)))
    return [said for level, said in found if level == "refusal" and said.startswith("attackers: ")]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (KUBERNETES, letting({"matchLabels": {NAMESPACE: "monitoring"}})),
        (KUBERNETES, letting({"matchLabels": {"team": "sre"}})),
        (KUBERNETES, letting({"matchExpressions": [{"key": "team", "operator": "Exists"}]})),
        (
            KUBERNETES,
            letting({"matchExpressions": [{"key": NAMESPACE, "operator": "NotIn", "values": ["monitoring"]}]}),
        ),
        (
            ADMIN,
            {"subject": {"namespaces": {}}, "ingress": [{"from": [{"namespaces": {"matchLabels": {"team": "sre"}}}]}]},
        ),
        (
            (CILIUM, "CiliumNetworkPolicy"),
            {
                "endpointSelector": {},
                "ingress": [{"fromEndpoints": [{"matchLabels": {CILIUM_NAMESPACE: "monitoring", "k8s:app": "x"}}]}],
            },
        ),
        (
            (CILIUM, "CiliumNetworkPolicy"),
            {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{"matchLabels": {TEAM: "sre"}}]}]},
        ),
        (CALICO, {"ingress": [{"source": {"namespaceSelector": f"{NAMESPACE} == 'monitoring'"}}]}),
        (CALICO, {"ingress": [{"source": {"namespaceSelector": "has(team)"}}]}),
        (GLOBAL, {"selector": "projectcalico.org/namespace == 'monitoring'"}),
    ],
    ids=(
        *("its name", "its label", "any such label", "all but it", "an administrator's"),
        *("Cilium, its name", "Cilium, its label", "Calico, its name", "Calico, its label", "Calico, of pods"),
    ),
)
def test_a_policy_by_a_namespace_that_an_attacker_cant_be_in_is_refused(
    kind: tuple[str, str], spec: dict[str, Any]
) -> None:
    """What is closed to the run's attacker, in a namespace of the run's own, may be open to whoever is in that one."""
    [said] = of_attackers(kind, spec)
    assert said.endswith(
        "goes by namespaces: rogue.monitoring would be in a namespace of the run's own, "
        "which isn't to it what monitoring is"
    )


def test_so_is_one_that_the_run_would_apply() -> None:
    [said] = of_attackers(KUBERNETES, letting({"matchLabels": {NAMESPACE: "monitoring"}}), mine=True)
    assert said.startswith("attackers: NetworkPolicy mine in sock-shop goes by namespaces: ")


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (KUBERNETES, letting({})),
        (KUBERNETES, letting({"matchLabels": {NAMESPACE: "kube-system"}})),
        (
            KUBERNETES,
            letting({"matchExpressions": [{"key": NAMESPACE, "operator": "NotIn", "values": ["kube-system"]}]}),
        ),
        (KUBERNETES, {"podSelector": {"matchLabels": {"team": "sre"}}}),
        (ADMIN, {"subject": {"namespaces": {"matchExpressions": [{"key": RUN_LABEL, "operator": "DoesNotExist"}]}}}),
        (
            (CILIUM, "CiliumNetworkPolicy"),
            {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{"matchLabels": {"k8s:name": "user"}}]}]},
        ),
        (CALICO, {"ingress": [{"source": {"namespaceSelector": f"{NAMESPACE} == 'monitoring-system'"}}]}),
        (CALICO, {"selector": "role == 'monitoring'"}),
    ],
    ids=(
        "all",
        "another",
        "all but another",
        "pods",
        "runs are exempt",
        "Cilium, pods",
        "Calico, another",
        "Calico, pods",
    ),
)
def test_policies_to_which_the_two_namespaces_are_alike_are_nobodys_business(
    kind: tuple[str, str], spec: dict[str, Any]
) -> None:
    assert not of_attackers(kind, spec)


def test_the_packaged_policies_tell_nobody_apart() -> None:
    from lateral.policy import load_policies

    shop = load("sock-shop")
    plan = replace(planned(), intent=Intent(policies=load_policies("kubernetes", shop).documents))
    assert not odd(checked(Paper(), plan=plan))
