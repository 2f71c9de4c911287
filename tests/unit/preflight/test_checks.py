"""Preflight on clusters on paper: what keeps a run from starting is refused, what it may suffer from is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lateral import preflight
from lateral.connection import ApiError, TransportError
from lateral.placement import placement
from lateral.preflight import Check, Intent, Level
from lateral.preflight.permissions import PERMISSIONS, Place
from lateral.preflight.quota import quantity
from lateral.resources import RUN_LABEL
from lateral.topology import load

from .paper import GROUPS, Paper, checked, daemonset, named, node, planned

if TYPE_CHECKING:
    from lateral.errors import ClusterError

TWO = """
application: shop
namespace: shop
manifests: manifests
workloads:
  - {name: web, labels: {app: web}, ports: [{port: 80, speaks: http}]}
  - {name: db, namespace: stores, labels: {app: db}, ports: [{port: 80, speaks: http}]}
"""
LEVEL = "pod-security.kubernetes.io/enforce"


def odd(checks: tuple[Check, ...]) -> list[tuple[str, str]]:
    """What isn't fine, without its advice."""
    assert all(one.advice for one in checks if one.level is not Level.OK)
    return [(str(one.level), f"{one.what}: {one.detail}") for one in checks if one.level is not Level.OK]


def only(checks: tuple[Check, ...]) -> tuple[str, str]:
    [one] = odd(checks)
    return one


def test_a_cluster_that_is_as_it_should_be_is_ready() -> None:
    checks = checked(Paper())
    assert not odd(checks)
    told = {one.what: one.detail for one in checks}
    assert told["version"] == "v1.31.2"
    assert told["policy engine"] == "Calico v3.29.1"
    assert told["application"] == "sock-shop will be created"
    own = "default-* (restricted), outside-* (restricted), canary-* (restricted)"
    assert told["PodSecurity"] == f"sock-shop (baseline), {own}"


def test_a_server_that_is_away_is_all_there_is_to_say() -> None:
    assert only(checked(Paper(unreachable="connection refused"))) == ("refusal", "server: connection refused")


@pytest.mark.parametrize(
    ("version", "level"),
    [("v1.26.15", "refusal"), ("v1.27.0", ""), ("v1.31.5-gke.1169000", ""), ("v1.36.2+k3s1", ""), ("v2.0.0", "")],
)
def test_versions(version: str, level: str) -> None:
    """From 1.27 on, whatever the vendor adds."""
    assert [found for found, _ in odd(checked(Paper(version=version)))] == ([level] if level else [])


def test_a_version_that_is_none_is_told() -> None:
    assert only(checked(Paper(version="dev"))) == ("warning", "version: 'dev' is no version of Kubernetes")


def test_what_may_not_be_done_is_told_with_where() -> None:
    def may(asked: Mapping[str, str]) -> bool:
        """No exec but in the shop."""
        return asked.get("subresource") != "exec" or asked["namespace"] == "sock-shop" or asked["verb"] != "create"

    said = "permissions: may not create pods/exec in canary-*, default-*"
    assert only(checked(Paper(may=may))) == ("refusal", said)


def test_where_not_even_that_may_be_asked_nothing_is_allowed() -> None:
    level, said = only(checked(Paper(forbidden={"selfsubjectaccessreviews"})))
    assert (level, said[:45]) == ("refusal", "permissions: it can't be asked what may be do")


def test_where_the_connection_breaks_nobody_is_told_to_grant_anything() -> None:
    def breaks(_: Mapping[str, str]) -> bool:
        raise TransportError("POST: connection reset")

    [said] = [one for one in checked(Paper(may=breaks)) if one.what == "permissions"]
    assert (said.level, said.advice) == (Level.REFUSAL, "try again: the connection to the server broke")


@pytest.mark.parametrize("resource", sorted({one.resource for one in PERMISSIONS if not one.needed}))
def test_what_may_not_be_read_is_never_fine(resource: str) -> None:
    """Whatever preflight alone has to read: where it mustn't, something remains unknown, and that is told."""
    paper = Paper(groups=tuple(GROUPS), forbidden={resource})
    if resource in ("configmaps", "ciliumendpoints"):
        paper.objects["apps", "DaemonSet"] = [daemonset("cilium", "registry.example/cilium/cilium:v1.17.0")]
    paper.objects["", "Namespace"] = there()
    found = odd(checked(paper, existing=True))
    assert {level for level, _ in found} == {"warning"}
    assert any("can't be told: " in said and f'cannot list resource "{resource}"' in said for _, said in found), found


def test_a_server_that_doesnt_say_what_it_has_leaves_all_of_it_unknown() -> None:
    """Nothing is taken for absent that could merely not be looked for."""
    paper = Paper(forbidden={"apis"}, groups=tuple(GROUPS), objects={("", "Namespace"): there()})
    checks = checked(paper, existing=True)
    fine = {one.what for one in checks if one.level is Level.OK}
    assert not fine & {"nodes", "quota", "policy engine", "standing policies"}


def test_everything_that_is_granted_for_preflight_is_read() -> None:
    """What a run itself needs, tests with a cluster show."""
    paper = Paper(groups=tuple(GROUPS), objects={("", "Namespace"): there()})
    checked(paper, existing=True)
    assert {one.resource for one in PERMISSIONS if not one.needed} <= paper.read


def test_pull_secrets_that_are_brought_along_may_have_to_be_read_and_created() -> None:
    placed = placement([], [], ["ops/mirror", "own"], "", prefix="--")
    plan = preflight.plan(load("sock-shop"), Intent(placed))
    found = odd(checked(Paper(may=lambda asked: asked["resource"] != "secrets"), plan=plan))
    created = "sock-shop, default-*, outside-*, canary-*"
    assert found == [
        ("refusal", f"permissions: may not get secrets named mirror in ops, {created}"),
        ("refusal", f"permissions: may not create secrets in {created}"),
        ("refusal", f"permissions: may not patch secrets named mirror in {created}"),
    ]


def test_a_role_may_be_about_a_pull_secret_alone() -> None:
    """It has a name that is known, so that nobody has to let a run read others; creating knows no names."""
    plan = preflight.plan(load("sock-shop"), Intent(placement([], [], ["ops/mirror"], "", prefix="--")))

    def may(asked: Mapping[str, str]) -> bool:
        return asked["resource"] != "secrets" or asked["verb"] == "create" or asked.get("name") == "mirror"

    assert not odd(checked(Paper(may=may), plan=plan))


def test_pull_secrets_are_brought_into_the_runs_own_namespaces_alone() -> None:
    """Into the namespace of an application that is there nothing is copied, and no right to is wanted there."""
    placed = placement([], [], ["ops/mirror", "own"], "", prefix="--")
    plan = preflight.plan(load("sock-shop"), Intent(placed, existing=True, applying=False))
    paper = Paper(may=lambda asked: asked["resource"] != "secrets", objects={("", "Namespace"): there()})
    created = "default-*, outside-*, canary-*"
    assert odd(checked(paper, plan=plan)) == [
        ("refusal", f"permissions: may not get secrets named mirror in ops, {created}"),
        ("refusal", f"permissions: may not create secrets in {created}"),
        ("refusal", f"permissions: may not patch secrets named mirror in {created}"),
        ("warning", "pull secrets: Secret mirror is not copied into sock-shop, which isn't the run's"),
    ]


@pytest.mark.parametrize(("existing", "kinds"), [(True, ("Pod", "ReplicaSet")), (False, ("Namespace",))])
def test_what_admission_has_against_a_run_is_told_before_it_begins(existing: bool, kinds: tuple[str, ...]) -> None:
    """Where others rule: beside an application that is there, or where its namespaces come to be."""
    found = {("", "Namespace"): there()} if existing else {}
    names = {"Pod": "rogue-* in sock-shop", "ReplicaSet": "twin-front-end-* in sock-shop", "Namespace": "sock-shop"}
    for kind in kinds:
        for refusal in (ApiError("denied", 422), ApiError("exceeded quota", 403)):
            checks = checked(Paper(unwelcome={kind: refusal}, objects=found), existing=existing)
            assert only(checks) == ("refusal", f"admission: {kind} {names[kind]} isn't let in: {refusal}")
    [fine] = [one.detail for one in checked(Paper(objects=found), existing=existing) if one.what == "admission"]
    assert fine.startswith(f"dry runs of {len(kinds)} object")


def test_policies_are_tried_where_they_are_to_be_applied_to_an_application_that_is_there() -> None:
    paper = Paper(unwelcome={"NetworkPolicy": ApiError("denied", 422)}, objects={("", "Namespace"): there()})
    assert not odd(checked(paper, existing=True))
    applying = preflight.plan(load("sock-shop"), Intent(existing=True, applying=True))
    assert only(checked(paper, plan=applying)) == (
        "refusal",
        "admission: NetworkPolicy canary in sock-shop isn't let in: denied",
    )


@pytest.mark.parametrize(
    ("refusal", "level"),
    [
        (ApiError("admission webhook x.example does not support dry run", 400), "warning"),
        (TransportError("reset"), "warning"),
        (ApiError("pods is forbidden: User u cannot create resource pods", 403), ""),
        (ApiError("there already", 409), ""),
        (ApiError("no such namespace", 404), ""),
    ],
)
def test_what_is_no_word_of_admissions_is_told_as_what_it_is(refusal: ClusterError, level: str) -> None:
    """What can't be tried remains unknown; rights and what is there are looked at elsewhere."""
    paper = Paper(unwelcome={"Pod": refusal}, objects={("", "Namespace"): there()})
    assert [found for found, _ in odd(checked(paper, existing=True))] == ([level] if level else [])


def test_policies_that_are_only_measured_need_no_rights_to_change_any() -> None:
    """But for the canaries' own; where a set of the run's own is applied, it is, and it is tried beforehand."""

    def may(asked: Mapping[str, str]) -> bool:
        changes = asked["verb"] in ("create", "get", "patch", "delete")
        return asked["resource"] != "networkpolicies" or not changes or asked["namespace"].startswith("canary-")

    paper = Paper(may=may, objects={("", "Namespace"): there()})
    assert not odd(checked(paper, existing=True))
    applying = preflight.plan(load("sock-shop"), Intent(existing=True, applying=True))
    assert odd(checked(paper, plan=applying)) == [
        ("refusal", "permissions: may not create networkpolicies.networking.k8s.io in sock-shop, default"),
        *(
            ("refusal", f"permissions: may not {verb} networkpolicies.networking.k8s.io in sock-shop")
            for verb in ("get", "patch", "delete")
        ),
    ]
    without = preflight.plan(load("sock-shop"), Intent(applying=False))
    assert not odd(checked(Paper(may=may), plan=without))


def test_what_is_put_beside_an_application_has_to_be_removable_there() -> None:
    """No namespace of the run's own takes it along."""

    def may(asked: Mapping[str, str]) -> bool:
        return (asked["verb"], asked["resource"]) not in {("delete", "pods"), ("delete", "replicasets")}

    paper = Paper(may=may, objects={("", "Namespace"): there()})
    assert not [said for _, said in odd(checked(Paper(may=may)))]
    assert odd(checked(paper, existing=True)) == [
        ("refusal", "permissions: may not delete pods in sock-shop"),
        ("refusal", "permissions: may not delete replicasets.apps in sock-shop"),
    ]


def test_nothing_is_needed_to_deploy_what_is_there() -> None:
    def may(asked: Mapping[str, str]) -> bool:
        return asked["resource"] != "deployments"

    assert odd(checked(Paper(may=may)))
    assert not odd(checked(Paper(may=may, objects={("", "Namespace"): there()}), existing=True))


def test_kinds_that_an_application_brings_are_asked_for(tmp_path: Path) -> None:
    """Those that the server has may have to be allowed; the others can't be created at all."""
    pods: dict[str, Any] = {"spec": {"template": {"spec": {"containers": []}}}}
    kinds: Any = (("apps/v1", "DaemonSet", pods), ("v1", "LimitRange", {}), ("example.org/v1", "Widget", {}))
    objects = [
        {"apiVersion": version, "kind": kind, "metadata": {"name": "extra"}, **rest} for version, kind, rest in kinds
    ]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(objects))
    plan = preflight.plan(replace(load("sock-shop"), manifests=tmp_path))
    theirs = ("daemonsets", "limitranges")
    found = odd(checked(Paper(may=lambda asked: asked["resource"] not in theirs), plan=plan))
    refused = [f"may not {verb} daemonsets.apps in sock-shop" for verb in ("create", "get", "patch", "list")]
    refused += [f"may not {verb} limitranges in sock-shop" for verb in ("create", "get", "patch")]
    missing = ("refusal", "kinds: the cluster has no kind Widget in example.org/v1")
    assert found == [*(("refusal", f"permissions: {said}") for said in refused), missing]


def test_an_application_that_is_there_is_left_alone() -> None:
    objects = {("", "Namespace"): there()}
    level, said = only(checked(Paper(objects=objects)))
    assert (level, said) == (
        "refusal",
        "application: namespace sock-shop is there already, and isn't this run's: it stays untouched",
    )
    assert not odd(checked(Paper(objects=objects), existing=True))


def test_all_of_an_applications_namespaces_are_looked_at(tmp_path: Path) -> None:
    """One that is there already is in the way, whichever it is; of those, too, it is asked what may be done."""
    (tmp_path / "shop.yaml").write_text(TWO)
    (tmp_path / "manifests").mkdir()
    plan = preflight.plan(load(tmp_path / "shop.yaml"))
    assert plan.namespaces[Place.APPLICATION] == ("shop", "stores")
    assert {"shop", "stores"} <= plan.created.keys()
    told = [one.detail for one in checked(Paper(), plan=plan) if one.what == "application"]
    assert told == ["shop will be created", "stores will be created"]
    paper = Paper(objects={("", "Namespace"): [named("default"), named("kube-system"), named("stores")]})
    assert (
        "refusal",
        "application: namespace stores is there already, and isn't this run's: it stays untouched",
    ) in odd(checked(paper, plan=plan))


def test_an_application_of_another_run_is_no_refusal() -> None:
    """It may be measuring, and its end may be waited for: the Lease decides, not preflight."""
    theirs = named("sock-shop")
    theirs["metadata"]["labels"] = {RUN_LABEL: "1f2e3d4c"}
    theirs["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    paper = Paper(objects={("", "Namespace"): [named("default"), named("kube-system"), theirs]})
    [found] = [one for one in checked(paper) if one.what == "application"]
    assert (found.level, found.detail) == ("warning", "namespace sock-shop is run 1f2e3d4c's")
    assert "lateral clean --run 1f2e3d4c" in found.advice


def test_an_application_that_is_on_its_way_out_is_waited_for() -> None:
    leaving = named("sock-shop")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    paper = Paper(objects={("", "Namespace"): [named("default"), named("kube-system"), leaving]})
    assert only(checked(paper)) == ("refusal", "application: namespace sock-shop is still being deleted")


def test_which_namespaces_will_be_used_is_told() -> None:
    """The application's, too, where something is put beside it."""
    own = "default-*, outside-*, canary-*"
    rest = ("a Lease in: default", "looked at: kube-system")
    assert planned().uses() == (f"created: sock-shop, {own}", *rest)
    assert planned(existing=True).uses() == (f"created: {own}", "measured as it is: sock-shop", *rest)


def test_an_application_that_is_to_be_there_and_isnt_is_missed() -> None:
    assert only(checked(Paper(), existing=True)) == ("refusal", "application: there is no namespace sock-shop")


def on(*nodes: dict[str, Any]) -> Paper:
    return Paper(objects={("", "Node"): list(nodes)})


def relabelled(name: str, **labels: str) -> dict[str, Any]:
    made = node(name)
    made["metadata"]["labels"] |= {f"kubernetes.io/{key}": value for key, value in labels.items()}
    return made


TAINT = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("unfit", "why"),
    [
        (relabelled("a", os="windows"), "kubernetes.io/os is windows"),
        (node("a", unschedulable=True), "cordoned"),
        (node("a", taints=[TAINT]), "tainted dedicated:NoSchedule"),
        ({**node("a"), "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, "not ready"),
    ],
)
def test_nodes_that_take_no_pods(unfit: dict[str, Any], why: str) -> None:
    found = odd(checked(on(unfit)))
    assert [level for level, _ in found] == ["refusal", "refusal"]
    assert all(said.startswith("nodes: 0 of 1 can take ") and said.endswith(f": a: {why}") for _, said in found)


def test_a_node_that_prefers_other_pods_takes_these() -> None:
    assert not odd(checked(on(node("a", taints=[{**TAINT, "effect": "PreferNoSchedule"}]), node("b"))))


def test_another_architecture_takes_the_runs_own_pods_alone() -> None:
    found = odd(checked(on(relabelled("a", arch="arm64"), relabelled("b", arch="arm64"))))
    assert found == [
        (
            "refusal",
            (
                "nodes: 0 of 2 can take sock-shop's pods (kubernetes.io/arch=amd64, kubernetes.io/os=linux): "
                "a: kubernetes.io/arch is arm64; b: kubernetes.io/arch is arm64"
            ),
        )
    ]


def test_one_node_is_enough_for_half_of_it() -> None:
    assert {level for level, _ in odd(checked(on(node("a"), node("b", unschedulable=True))))} == {"warning"}


MORE = "pods may have IPv6 addresses, too, and only IPv4 is dialled"


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        (["10.0.0.0/24"], []),
        (["fd00::/64"], [("refusal", "addresses: pods have IPv6 addresses alone, and only IPv4 is dialled")]),
        (
            ["10.0.0.0/24", "fd00::/64"],
            [
                ("warning", f"addresses: {MORE}: paths to what has one stay UNPROVEN"),
            ],
        ),
    ],
)
def test_addresses_that_arent_dialled_are_told_beforehand(ranges: list[str], expected: list[tuple[str, str]]) -> None:
    nodes = [node(name, podCIDRs=ranges) for name in ("a", "b")]
    assert odd(checked(Paper(objects={("", "Node"): nodes}))) == expected


def there(**labels: str) -> list[dict[str, Any]]:
    """The namespaces of a cluster that has the shop already."""
    shop = {"metadata": {"name": "sock-shop", "labels": labels}}
    return [named("default"), named("kube-system"), shop]


@pytest.mark.parametrize("level", ["privileged", "baseline", "restricted"])
def test_the_suites_own_pods_keep_to_every_level(level: str) -> None:
    """Wherever an application is, rogues and twins are admitted beside it."""
    paper = Paper(objects={("", "Namespace"): there(**{LEVEL: level})})
    assert not odd(checked(paper, existing=True))


def test_a_level_that_refuses_the_shop_is_refused() -> None:
    paper = Paper(objects={("", "Namespace"): there(**{LEVEL: "restricted"})})
    found = [said for level, said in odd(checked(paper)) if "PodSecurity" in said and level == "refusal"]
    assert found == [
        "PodSecurity: namespace sock-shop enforces restricted, which refuses sock-shop's pods (runAsNonRoot isn't true)"
    ]


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> Paper:
    one = named("team", "sock-shop", spec={"hard": hard, **spec}, status={"hard": hard, "used": used or {}})
    return Paper(objects={("", "ResourceQuota"): [one], ("", "Namespace"): there()})


@pytest.mark.parametrize(
    ("paper", "said"),
    [
        (quota({"pods": "40"}), ""),
        (quota({"pods": "40"}, {"pods": "30"}), "pods: 31 needed, 10 of 40 left"),
        (
            quota({"requests.memory": "1Gi"}, {"requests.memory": "1000Mi"}),
            "requests.memory: 496Mi needed, 24Mi of 1Gi",
        ),
        (quota({"memory": "1Gi", "requests.cpu": "1", "limits.memory": "4Gi", "limits.cpu": "16"}), ""),
        (quota({"limits.cpu": "4"}), "limits.cpu: 15500m needed, 4 of 4 left"),
        (quota({"cpu": "100m"}), "cpu: 310m needed, 100m of 100m left"),
        (quota({"pods": "0"}, scopes=["Terminating"]), ""),
        (quota({"pods": "0"}, scopes=["NotTerminating"]), "pods: 31 needed, 0 of 0 left"),
        (quota({"services": "0"}), ""),
    ],
)
def test_quotas(paper: Paper, said: str) -> None:
    """Beside an application that is there come fourteen twins and a rogue on each of two nodes, and a new rogue."""
    found = odd(checked(paper, existing=True))
    if not said:
        assert not found
    else:
        level, told = only(checked(paper, existing=True))
        assert level == "refusal"
        assert told.startswith(f"quota: namespace sock-shop: ResourceQuota team: {said}")


@pytest.mark.parametrize(
    ("text", "number"),
    [("2", "2"), ("10m", "0.01"), ("1.5Gi", "1610612736"), ("128Mi", "134217728"), ("3k", "3000"), ("1e3", "1000")],
)
def test_quantities(text: str, number: str) -> None:
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "Mi", "1 Mi", "1Zi", "one"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantity(text)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"type": "Container", "max": {"memory": "128Mi"}}, ""),
        (
            {"type": "Container", "max": {"memory": "100Mi"}},
            "memory is limited to 100Mi, and the run's pods have 128Mi",
        ),
        ({"type": "Pod", "min": {"cpu": "100m"}}, "cpu must be at least 100m, and the run's pods ask for 10m"),
        ({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}, ""),
    ],
)
def test_limits(item: dict[str, Any], said: str) -> None:
    sizes = named("sizes", "sock-shop", spec={"limits": [item]})
    found = odd(checked(Paper(objects={("", "LimitRange"): [sizes], ("", "Namespace"): there()}), existing=True))
    expected = [("refusal", f"quota: namespace sock-shop: LimitRange sizes: {said}")] if said else []
    assert found == expected
