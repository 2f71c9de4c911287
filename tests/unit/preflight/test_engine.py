"""Which engine a cluster has, and whether it is set to deny anything."""

from __future__ import annotations

from typing import Any

import pytest

from .paper import GROUPS, Paper, checked, daemonset, named, planned
from .test_checks import odd

AGENT = "--enable-network-policy=true"
CILIUM = daemonset("cilium", "registry.example/cilium/cilium:v1.16.1@sha256:00", container="cilium-agent")


def kindnet(tag: str) -> dict[str, Any]:
    return daemonset("kindnet", f"registry.example/kindest/kindnetd:{tag}", container="kindnet-cni")


def engine(paper: Paper) -> tuple[str, str]:
    [found] = [one for one in checked(paper) if one.what == "policy engine"]
    return str(found.level), found.detail


def agents(*found: dict[str, Any], **rest: Any) -> Paper:
    return Paper(objects={("apps", "DaemonSet"): list(found)}, **rest)


@pytest.mark.parametrize(
    ("daemonsets", "level", "name"),
    [
        ([CILIUM], "ok", "Cilium v1.16.1"),
        ([daemonset("anetd")], "ok", "GKE Dataplane V2 (Cilium)"),
        ([daemonset("calico-node", "calico/node:v3.29.1")], "ok", "Calico v3.29.1"),
        ([daemonset("rke2-canal")], "ok", "Calico (canal)"),
        ([daemonset("antrea-agent", "antrea/antrea-agent-ubuntu:v2.2.0")], "ok", "Antrea v2.2.0"),
        ([daemonset("ovnkube-node-ipi")], "ok", "OVN-Kubernetes"),
        ([daemonset("kube-router", "localhost:5000/kube-router:v2.1")], "ok", "kube-router v2.1"),
        ([daemonset("weave-net")], "ok", "Weave Net"),
        ([daemonset("aws-node", args=[AGENT])], "ok", "AWS VPC CNI"),
        ([daemonset("aws-node"), daemonset("calico-node")], "ok", "Calico"),
        ([kindnet("v20250214-acbabc1a")], "ok", "kindnet v20250214-acbabc1a"),
        ([kindnet("latest")], "warning", "kindnet latest"),
        ([daemonset("node-exporter")], "warning", "unknown"),
        ([], "warning", "unknown"),
    ],
)
def test_engines(daemonsets: list[dict[str, Any]], level: str, name: str) -> None:
    assert engine(agents(*daemonsets)) == (level, name)


@pytest.mark.parametrize(
    "daemonset",
    [
        daemonset("kube-flannel-ds"),
        daemonset("aws-node", args=["--enable-network-policy=false"]),
        kindnet("v20240513-cd2ac642"),
    ],
)
def test_what_enforces_nothing_is_told_before_the_run(daemonset: dict[str, Any]) -> None:
    level, said = engine(agents(daemonset))
    assert level == "warning"
    assert said.endswith("as installed here enforces no NetworkPolicy")


def test_an_engine_is_known_by_other_signs() -> None:
    """By the server's version, or by the kinds that it has."""
    assert engine(agents(version="v1.31.2+k3s1")) == ("warning", "kube-router (built into k3s)")
    assert engine(agents(groups=("crd.antrea.io",))) == ("warning", "Antrea")


def cilium(**config: str) -> Paper:
    paper = agents(daemonset("cilium"), groups=tuple(GROUPS))
    paper.objects["", "ConfigMap"] = [named("cilium-config", "kube-system", data=config)]
    return paper


@pytest.mark.parametrize(
    ("config", "level", "said"),
    [
        ({}, "", ""),
        ({"enable-policy": "default", "policy-audit-mode": "false"}, "", ""),
        ({"policy-audit-mode": "true"}, "refusal", "policy-audit-mode is true"),
        ({"enable-policy": "never"}, "refusal", "enable-policy is never"),
        ({"enable-k8s-networkpolicy": "false"}, "refusal", "enable-k8s-networkpolicy is false"),
        ({"enable-policy": "always"}, "refusal", "enable-policy is always"),
    ],
)
def test_modes_of_cilium(config: dict[str, str], level: str, said: str) -> None:
    """Where it only says what it would deny, a run would find everything open; where it denies by itself, nothing."""
    # The names of the options are no names of arguments.
    found = odd(checked(cilium(**config)))
    assert [one for one, _ in found] == ([level] if level else [])
    assert all(told.startswith(f"Cilium's mode: {said}") for _, told in found)


@pytest.mark.parametrize(
    "config", [{"policy-audit-mode": "true"}, {"enable-policy": "never"}, {"enable-k8s-networkpolicy": "false"}]
)
def test_a_cilium_that_enforces_nothing_may_be_allowed(config: dict[str, str]) -> None:
    """It is told all the same."""
    [found] = [one for one in checked(cilium(**config), plan=planned(unenforced=True)) if one.what == "Cilium's mode"]
    assert (found.level, next(iter(config)) in found.detail) == ("warning", True)


def test_cilium_without_its_configuration_cant_be_told() -> None:
    found = odd(checked(agents(daemonset("cilium"))))
    assert found == [("warning", "Cilium's mode: can't be told: there is no ConfigMap cilium-config beside its agent")]


def test_the_configuration_is_looked_for_beside_the_agent() -> None:
    elsewhere = daemonset("cilium")
    elsewhere["metadata"]["namespace"] = "cilium"
    paper = agents(elsewhere)
    paper.objects["", "ConfigMap"] = [named("cilium-config", "cilium", data={"enable-policy": "never"})]
    assert [level for level, _ in odd(checked(paper))] == ["refusal"]
