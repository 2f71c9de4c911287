"""Pods that Cilium doesn't manage, since they are older than it, are under no policy; their twins would be."""

from __future__ import annotations

from typing import Any

import pytest

from .paper import Paper, checked, daemonset, named
from .test_checks import odd, there

SHOP = "sock-shop"
CILIUM = daemonset("cilium", "registry.example/cilium/cilium:v1.17.0")
UNMANAGED = "managed pods: Cilium doesn't manage {} in sock-shop: they are under no policy, and their twins would be"


def pod(name: str, phase: str = "Running", labels: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """One of payment's."""
    made = named(name, SHOP, spec={"containers": [], **changes.pop("spec", {})}, status={"phase": phase})
    made["metadata"].update(labels=labels or {"name": "payment", "pod-template-hash": "1"}, **changes)
    return made


def told(
    *pods: dict[str, Any], managed: tuple[str, ...] = (), existing: bool = True, keeps_none: str = "false"
) -> list[Any]:
    """What preflight says of Cilium's shop, but for nodes and the like."""
    objects = {
        ("", "Namespace"): there() if existing else [],
        ("", "Pod"): list(pods),
        ("", "ConfigMap"): [named("cilium-config", "kube-system", data={"disable-endpoint-crd": keeps_none})],
        ("apps", "DaemonSet"): [CILIUM],
        ("cilium.io", "CiliumEndpoint"): [named(name, SHOP) for name in managed],
    }
    return odd(checked(Paper(objects=objects, groups=("cilium.io",)), existing=existing))


def test_a_pod_without_an_endpoint_is_refused() -> None:
    found = told(pod("payment-1"), pod("payment-2"), managed=("payment-2", "another"))
    assert found == [("refusal", UNMANAGED.format("payment-1"))]


def test_many_are_told_in_short() -> None:
    found = told(*(pod(f"payment-{at}") for at in range(5)))
    assert found == [("refusal", UNMANAGED.format("payment-0, payment-1, payment-2 and 2 more"))]


@pytest.mark.parametrize(
    "other",
    [
        pod("done", "Succeeded"),
        pod("going", deletionTimestamp="2025-01-01T00:00:00Z"),
        pod("stranger", labels={"name": "backup"}),
    ],
    ids=lambda one: one["metadata"]["name"],
)
def test_pods_that_no_twin_stands_for_dont_count(other: dict[str, Any]) -> None:
    assert not told(pod("payment-1"), other, managed=("payment-1",))


def test_a_pod_on_its_nodes_network_has_no_endpoint_and_is_told_of_as_what_it_is() -> None:
    [(level, said)] = told(pod("payment-1", spec={"hostNetwork": True}))
    assert (level, said.partition(": ")[0]) == ("refusal", "twins")


def test_an_application_of_the_runs_own_is_new_as_a_whole() -> None:
    assert not told(existing=False)


def test_where_cilium_keeps_no_endpoints_it_cant_be_told() -> None:
    [(level, said)] = told(pod("payment-1"), keeps_none="true")
    assert (level, said.partition(": ")[0]) == ("warning", "managed pods")


def test_where_cilium_is_known_by_its_kinds_alone_it_is_a_warning() -> None:
    """They may be all that is left of it."""
    objects = {("", "Namespace"): there(), ("", "Pod"): [pod("payment-1")], ("apps", "DaemonSet"): []}
    found = odd(checked(Paper(objects=objects, groups=("cilium.io",)), existing=True))
    assert ("warning", UNMANAGED.format("payment-1")) in found
