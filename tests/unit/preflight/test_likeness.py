"""Policies that go by what a twin doesn't wear tell it from the pods that it stands for."""

from __future__ import annotations

from typing import Any

import pytest

from .paper import GROUPS, Paper, checked, named
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
        (("crd.projectcalico.org", "NetworkPolicy"), {"selector": "tier == 'back'"}),
    ],
    ids=("whom it selects", "a peer", "Cilium's", "a language"),
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
