"""Policies of others, of whatever kind: which of them concern a run, and whether they are changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from lateral.errors import ClusterError
from lateral.resources import RUN_LABEL, Run
from lateral.standing import Scope, changed, look, selecting

from .simulated import ENGINES, Faults, SimulatedApi, simulated

if TYPE_CHECKING:
    from lateral.cluster import Cluster

RUN = Run("1f2e3d4c")
SCOPE = Scope(RUN, ("shop", "stores"), ("canary-1f2e3d4c", "kube-system"), {"kube-system": "k8s-app=kube-dns"})
CNP, CCNP, ANP = "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "AdminNetworkPolicy"
VERSIONS = {kind: root.removeprefix("/apis/") for root, kinds in ENGINES.items() for kind in kinds}
ALL = {"": {"endpointSelector": {}}, ANP: {"subject": {"namespaces": {}}}, "NetworkPolicy": {"podSelector": {}}}


def policy(kind: str, name: str, namespace: str = "", spec: Any = None, **metadata: Any) -> dict[str, Any]:
    version = VERSIONS.get(kind, "networking.k8s.io/v1")
    home = {"namespace": namespace} if namespace else {}
    stated = ALL.get(kind, ALL[""]) if spec is None else spec
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **home, **metadata}, "spec": stated}


def pod(namespace: str, name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "main"}]}}


def cluster(faults: Faults | None = None, *policies: dict[str, Any]) -> tuple[Cluster, SimulatedApi]:
    """A cluster of Cilium with a pod in every namespace that is looked at, and in one that isn't."""
    found, api = simulated(faults or Faults(serves=ENGINES))
    homes = ("shop", "stores", "canary-1f2e3d4c", "billing")
    found.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": one, "labels": {}}} for one in homes])
    found.apply([*(pod(one, f"web-{one}") for one in homes), pod("kube-system", "metrics"), *policies])
    return found, api


BILLING = {"endpointSelector": {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "billing"}}}
WEB = {"endpointSelector": {"matchLabels": {"app": "web-stores"}}}
DNS = {"podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}


@pytest.mark.parametrize(
    ("added", "told"),
    [
        (policy("NetworkPolicy", "new", "stores"), "NetworkPolicy new was added"),
        (policy("NetworkPolicy", "new", "canary-1f2e3d4c"), "NetworkPolicy new in canary-1f2e3d4c was added"),
        (policy("NetworkPolicy", "new", "kube-system", DNS), "NetworkPolicy new in kube-system was added"),
        (policy(CNP, "new", "shop"), f"{CNP} new was added"),
        (policy(CNP, "new", "canary-1f2e3d4c"), f"{CNP} new in canary-1f2e3d4c was added"),
        (policy(CCNP, "new"), f"{CCNP} new was added"),
        (policy(CCNP, "new", spec=WEB), f"{CCNP} new was added"),
        (policy(ANP, "new"), f"{ANP} new was added"),
    ],
    ids=lambda one: "" if isinstance(one, str) else f"{one['kind']} {one['metadata'].get('namespace', '')}",
)
def test_a_policy_that_is_added_is_noticed(added: dict[str, Any], told: str) -> None:
    """Of any kind, in the application's namespaces, the canaries', the DNS servers', and for the whole cluster."""
    found, _ = cluster()
    before = look(found, SCOPE)
    assert changed(found, before) == ""
    found.apply([added])
    assert changed(found, before) == f"{told} while the sweep ran"


@pytest.mark.parametrize(
    "added",
    [
        policy("NetworkPolicy", "new", "billing"),
        policy(CNP, "new", "billing"),
        policy(CCNP, "new", spec=BILLING),
        policy(CCNP, "new", spec={"nodeSelector": {}}),
        policy("NetworkPolicy", "new", "kube-system", {"podSelector": {"matchLabels": {"app": "metrics"}}}),
        policy("NetworkPolicy", "canary", "canary-1f2e3d4c", labels={RUN_LABEL: "1f2e3d4c"}),
    ],
    ids=["elsewhere", "elsewhere too", "other pods", "nodes", "other servers", "the canaries' own"],
)
def test_what_selects_nothing_that_is_measured_disturbs_nobody(added: dict[str, Any]) -> None:
    found, _ = cluster()
    before = look(found, SCOPE)
    found.apply([added])
    assert changed(found, before) == ""


def _widened(one: dict[str, Any]) -> None:
    one["spec"] = BILLING


def _restored(one: dict[str, Any]) -> None:
    one["metadata"]["resourceVersion"] += "0"


def _generation(one: dict[str, Any]) -> None:
    one["metadata"]["generation"] = 2


def _ending(one: dict[str, Any]) -> None:
    one["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("change", [_widened, _restored, _generation, _ending])
def test_a_policy_that_is_changed_is_noticed(change: Callable[[dict[str, Any]], None]) -> None:
    """Also one that no longer selects anything, one that is again as it was, and one that is about to go."""
    found, api = cluster(None, policy(CCNP, "base"))
    before = look(found, SCOPE)
    change(api.objects[CCNP, "", "base"])
    assert changed(found, before) == f"{CCNP} base was changed while the sweep ran"


def test_a_policy_that_is_removed_is_noticed() -> None:
    found, api = cluster(None, policy(CCNP, "base"))
    before = look(found, SCOPE)
    del api.objects[CCNP, "", "base"]
    assert changed(found, before) == f"{CCNP} base was removed while the sweep ran"


@pytest.mark.parametrize("known", [{}, {"generation": 1}])
def test_a_status_that_an_engine_writes_is_no_change(known: dict[str, Any]) -> None:
    """Nodes report what they enforce into it, all the time."""
    base = {**policy(CCNP, "base", **known), "status": {"conditions": []}}
    found, api = cluster(None, base)
    before = look(found, SCOPE)
    api.objects[CCNP, "", "base"]["status"] = {"conditions": [{"type": "Valid"}]}
    api.objects[CCNP, "", "base"]["metadata"]["resourceVersion"] += "0"
    assert changed(found, before) == ""


def test_what_the_run_applied_is_watched_too() -> None:
    found, _ = cluster()
    before = look(found, SCOPE)
    ours = found.apply([policy("NetworkPolicy", "ours", "shop", labels={RUN_LABEL: RUN.id})])
    assert changed(found, before.beside(ours)) == ""
    found.delete(ours[0])
    assert changed(found, before.beside(ours)) == "NetworkPolicy ours was removed while the sweep ran"


def test_those_that_concern_what_is_measured_are_named() -> None:
    found, _ = cluster(
        None,
        policy(CCNP, "base"),
        policy(CCNP, "billing", spec=BILLING),
        policy("NetworkPolicy", "deny", "shop"),
        policy("NetworkPolicy", "deny", "billing"),
        policy(ANP, "tenants"),
    )
    assert {str(one) for one in selecting(found, look(found, SCOPE))} == {
        f"{CCNP} base",
        f"{ANP} tenants",
        "NetworkPolicy deny in shop",
    }


def test_kinds_that_arent_there_cost_nothing() -> None:
    """Not a request for each; where there are no policies, no pod is looked at either."""
    found, api = cluster(Faults())
    api.listed.clear()
    before = look(found, SCOPE)
    assert before.unread == ()
    assert selecting(found, before) == ()
    assert sorted(api.listed) == [("NetworkPolicy", one) for one in sorted(SCOPE.all)]


def test_kinds_that_may_not_be_listed_are_told_once() -> None:
    """However many namespaces they are of; the others are watched all the same."""
    found, _ = cluster(Faults(serves=ENGINES, unlisted={CNP, "NetworkPolicy kube-system"}))
    before = look(found, SCOPE)
    assert [one.partition(" can't be looked at, so nobody")[0] for one in before.unread] == [
        "NetworkPolicy of other namespaces",
        CNP,
    ]
    assert all("cannot list" in one for one in before.unread)
    assert changed(found, before) == ""
    found.apply([policy(CCNP, "new")])
    assert changed(found, before) == f"{CCNP} new was added while the sweep ran"


def test_a_server_that_tells_no_kinds_still_has_networkpolicies() -> None:
    found, _ = cluster(Faults(serves=ENGINES, unlisted={"/apis"}))
    before = look(found, SCOPE)
    [told] = before.unread
    assert told.startswith("policies of other kinds than NetworkPolicy can't be looked at")
    found.apply([policy("NetworkPolicy", "new", "stores")])
    assert changed(found, before) == "NetworkPolicy new was added while the sweep ran"


def test_the_applications_own_policies_must_be_listable() -> None:
    found, _ = cluster(Faults(unlisted={"NetworkPolicy stores"}))
    with pytest.raises(ClusterError, match="cannot list NetworkPolicy stores"):
        look(found, SCOPE)


def test_what_can_no_longer_be_listed_may_have_been_changed() -> None:
    faults = Faults(serves=ENGINES)
    found, _ = cluster(faults)
    before = look(found, SCOPE)
    faults.unlisted.add(CCNP)
    assert changed(found, before).startswith(f"whether a {CCNP} was changed while the sweep ran can't be told: ")
