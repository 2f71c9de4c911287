"""Rights for applications of one's own: preflight names what their kinds take; manifests/rbac/applications has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.lab.authorizer import Act, Grant, grants

from lateral import preflight, resources
from lateral.preflight import Level
from lateral.resources import manifests
from lateral.topology import load

from .paper import Paper, checked, plural

ACCOUNT = "lateral/lateral"
POD = {"containers": [{"name": "c", "image": "i"}]}
TEMPLATE: dict[str, Any] = {"spec": {"template": {"spec": POD}}}
KINDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("v1", "Pod", {"spec": POD}),
    ("v1", "ConfigMap", {}),
    ("v1", "Service", {}),
    ("v1", "Secret", {}),
    ("v1", "ServiceAccount", {}),
    ("v1", "PersistentVolumeClaim", {}),
    ("apps/v1", "Deployment", TEMPLATE),
    ("apps/v1", "ReplicaSet", TEMPLATE),
    ("apps/v1", "StatefulSet", TEMPLATE),
    ("apps/v1", "DaemonSet", TEMPLATE),
    ("batch/v1", "Job", TEMPLATE),
    ("batch/v1", "CronJob", {"spec": {"jobTemplate": TEMPLATE}}),
    ("autoscaling/v2", "HorizontalPodAutoscaler", {}),
    ("networking.k8s.io/v1", "Ingress", {}),
    ("policy/v1", "PodDisruptionBudget", {}),
)


def application(folder: Path, *documents: Mapping[str, Any]) -> preflight.Plan:
    """A run that deploys these."""
    (folder / "all.yaml").write_text(yaml.safe_dump_all(list(documents)))
    return preflight.plan(replace(load("sock-shop"), manifests=folder))


def one(version: str, kind: str, rest: Mapping[str, Any], **metadata: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "one", **metadata}, **rest}


def missing(plan: preflight.Plan, allowed: Iterable[Grant]) -> list[str]:
    """What preflight says that may not be done."""
    given = list(allowed)

    def may(asked: Mapping[str, str]) -> bool:
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource", ""))))
        act = Act(asked["verb"], asked.get("group", ""), resource, asked.get("namespace", ""))
        return any(grant.allows(act) for grant in given)

    checks = checked(Paper(may=may), plan=plan)
    return [each.detail for each in checks if each.level is Level.REFUSAL and each.what == "permissions"]


def shipped(*folders: str) -> list[Grant]:
    return [one for folder in folders for one in grants(resources.load(manifests(folder)), ACCOUNT)]


def test_the_optional_roles_are_for_the_usual_kinds_and_for_nothing_else(tmp_path: Path) -> None:
    """Without any of their rules preflight names it, and with all of them it names nothing."""
    plan = application(tmp_path, *(one(*kind) for kind in KINDS))
    usual, optional = shipped("rbac", "rbac/deploying"), shipped("rbac/applications")
    assert missing(plan, [*usual, *optional]) == []
    acts = {act for each in optional for act in each.acts()}
    assert not acts & {act for each in usual for act in each.acts()}
    for verb, group, resource in sorted(acts):
        rest = [left for each in optional for left in each.without((verb, group, resource))]
        name = f"{resource}.{group}" if group else resource
        assert missing(plan, [*usual, *rest]) == [f"may not {verb} {name} in sock-shop"]


@pytest.mark.parametrize(("version", "kind", "rest"), KINDS, ids=[kind for _, kind, _ in KINDS])
def test_each_kind_is_asked_for_by_itself(tmp_path: Path, version: str, kind: str, rest: dict[str, Any]) -> None:
    """Nobody has to grant what only other applications have."""
    plan = application(tmp_path, one(version, kind, rest))
    usual, optional = shipped("rbac", "rbac/deploying"), shipped("rbac/applications")
    told = {said.split()[3].partition(".")[0] for said in missing(plan, usual)}
    assert told == {name for each in optional for _, _, name in each.acts() if name == plural(kind)}


@pytest.mark.parametrize(
    ("document", "where"),
    [
        (one("v1", "ConfigMap", {}, namespace="kube-system"), " in kube-system"),
        (one("scheduling.k8s.io/v1", "PriorityClass", {}), ""),
    ],
    ids=["elsewhere", "clusterwide"],
)
def test_what_no_namespace_of_the_runs_takes_along_has_to_be_removable(
    tmp_path: Path, document: dict[str, Any], where: str
) -> None:
    """What an application brings into other namespaces, or into none."""
    plan = application(tmp_path, document)
    resource = {"ConfigMap": "configmaps", "PriorityClass": "priorityclasses.scheduling.k8s.io"}[document["kind"]]
    told = missing(plan, shipped("rbac", "rbac/deploying"))
    asked = [verb for verb in ("create", "get", "patch", "list", "delete") if verb in ("list", "delete") or not where]
    assert told == [f"may not {verb} {resource}{where}" for verb in asked]


@pytest.mark.parametrize(
    ("spec", "pods"),
    [
        (None, 0),
        (["a"], 0),
        ({"template": None}, 0),
        ({"template": {"spec": None}}, 0),
        ({"template": {"metadata": ["a"], "spec": POD}}, 1),
        ({"template": {"metadata": {"labels": "a"}, "spec": POD}, "replicas": None}, 1),
        ({"template": {"metadata": None, "spec": POD}, "replicas": 3}, 3),
    ],
)
def test_a_manifest_of_another_shape_is_the_apis_to_refuse(spec: Any, pods: int, tmp_path: Path) -> None:
    planned = application(tmp_path, one("apps/v1", "Deployment", {"spec": spec}))
    assert sum(each.count for each in planned.pods if each.whose == "sock-shop's pods") == pods
