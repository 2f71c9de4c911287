"""Preflight on clusters on paper: what keeps a run from starting is refused, what it may suffer from is told."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lateral import preflight
from lateral.preflight import Check, Level
from lateral.preflight.permissions import PERMISSIONS, Place
from lateral.preflight.quota import quantity
from lateral.topology import load

from .paper import GROUPS, Paper, checked, daemonset, named, node

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
    assert "sock-shop (baseline)" in told["PodSecurity"]


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
        """No exec but in `default`."""
        return asked.get("subresource") != "exec" or asked["namespace"] == "default" or asked["verb"] != "create"

    said = "permissions: may not create pods/exec in sock-shop, canary-*"
    assert only(checked(Paper(may=may))) == ("refusal", said)


def test_where_not_even_that_may_be_asked_nothing_is_allowed() -> None:
    level, said = only(checked(Paper(forbidden={"selfsubjectaccessreviews"})))
    assert (level, said[:45]) == ("refusal", "permissions: it can't be asked what may be do")


@pytest.mark.parametrize("resource", sorted({one.resource for one in PERMISSIONS if not one.needed}))
def test_what_may_not_be_read_is_never_fine(resource: str) -> None:
    """Whatever preflight alone has to read: where it mustn't, something remains unknown, and that is told."""
    paper = Paper(groups=tuple(GROUPS), forbidden={resource})
    if resource == "configmaps":
        paper.objects["apps", "DaemonSet"] = [daemonset("cilium", "quay.io/cilium/cilium:v1.17.0")]
    found = odd(checked(paper))
    assert {level for level, _ in found} == {"warning"}
    assert any("can't be told: " in said and f'cannot list resource "{resource}"' in said for _, said in found), found


def test_a_server_that_doesnt_say_what_it_has_leaves_all_of_it_unknown() -> None:
    """Nothing is taken for absent that could merely not be looked for."""
    checks = checked(Paper(forbidden={"apis"}, groups=tuple(GROUPS)))
    fine = {one.what for one in checks if one.level is Level.OK}
    assert not fine & {"nodes", "quota", "policy engine", "standing policies"}


def test_everything_that_is_granted_for_preflight_is_read() -> None:
    """What a run itself needs, tests with a cluster show."""
    paper = Paper(groups=tuple(GROUPS))
    checked(paper)
    assert {one.resource for one in PERMISSIONS if not one.needed} <= paper.read


def test_an_application_that_is_there_is_left_alone() -> None:
    objects = {("", "Namespace"): [named("default"), named("kube-system"), named("sock-shop")]}
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


def test_an_application_that_is_on_its_way_out_is_waited_for() -> None:
    leaving = named("sock-shop")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    paper = Paper(objects={("", "Namespace"): [named("default"), named("kube-system"), leaving]})
    assert only(checked(paper)) == ("refusal", "application: namespace sock-shop is still being deleted")


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


def guarded(level: str) -> Paper:
    default = {"metadata": {"name": "default", "labels": {LEVEL: level}}}
    return Paper(objects={("", "Namespace"): [default, named("kube-system")]})


@pytest.mark.parametrize("level", ["privileged", "baseline", "restricted"])
def test_the_rogues_keep_to_every_level(level: str) -> None:
    assert not odd(checked(guarded(level)))


def test_a_level_that_refuses_the_shop_is_refused() -> None:
    shop = {"metadata": {"name": "sock-shop", "labels": {LEVEL: "restricted"}}}
    paper = Paper(objects={("", "Namespace"): [named("default"), named("kube-system"), shop]})
    found = [said for level, said in odd(checked(paper)) if "PodSecurity" in said and level == "refusal"]
    assert found == [
        "PodSecurity: namespace sock-shop enforces restricted, which refuses sock-shop's pods (runAsNonRoot isn't true)"
    ]


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> Paper:
    one = named("team", "default", spec={"hard": hard, **spec}, status={"hard": hard, "used": used or {}})
    return Paper(objects={("", "ResourceQuota"): [one]})


@pytest.mark.parametrize(
    ("paper", "said"),
    [
        (quota({"pods": "10"}), ""),
        (quota({"pods": "10"}, {"pods": "7"}), "pods: 4 needed, 3 of 10 left"),
        (
            quota({"requests.memory": "1Gi"}, {"requests.memory": "1000Mi"}),
            "requests.memory: 64Mi needed, 24Mi of 1Gi left",
        ),
        (quota({"memory": "1Gi", "requests.cpu": "1", "limits.memory": "1Gi"}), ""),
        (quota({"limits.cpu": "4"}), "limits.cpu is limited, and the run's pods state none"),
        (quota({"pods": "0"}, scopes=["Terminating"]), ""),
        (quota({"pods": "0"}, scopes=["NotTerminating"]), "pods: 4 needed, 0 of 0 left"),
        (quota({"services": "0"}), ""),
    ],
)
def test_quotas(paper: Paper, said: str) -> None:
    """Two rogues live in `default`, and as many new ones come."""
    found = odd(checked(paper))
    if not said:
        assert not found
    else:
        level, told = found[0]
        assert level == "refusal"
        assert told.startswith(f"quota: namespace default: ResourceQuota team: {said}")


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


def limits(*items: dict[str, Any]) -> list[dict[str, Any]]:
    return [named("sizes", "default", spec={"limits": list(items)})]


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
    found = odd(checked(Paper(objects={("", "LimitRange"): limits(item)})))
    assert bool(found) == bool(said)
    assert all(told.startswith(f"quota: namespace default: LimitRange sizes: {said}") for _, told in found)


def test_a_default_limit_satisfies_a_quota() -> None:
    paper = quota({"limits.cpu": "4"})
    paper.objects["", "LimitRange"] = limits({"type": "Container", "default": {"cpu": "100m"}})
    assert not odd(checked(paper))
