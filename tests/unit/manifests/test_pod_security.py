"""Every pod that a run creates against the fields of Kubernetes' Pod Security Standards (v1.32)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lateral import application, attacker, placement, topology
from lateral.canary import documents as canaries
from lateral.model import SourceKind
from lateral.resources import Run

Object = dict[str, Any]
Violations = Iterator[str]

RUN = Run("cafe0001", private=frozenset({"default"}))
SHOP = topology.load("sock-shop")

SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
BASELINE_CAPABILITIES = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}
RESTRICTED_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"),
}
SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}


def contexts(spec: Object) -> list[Object]:
    """The pod's security context, then each container's."""
    return [spec.get("securityContext", {}), *(one.get("securityContext", {}) for one in placement.containers(spec))]


def baseline(spec: Object) -> Violations:
    for sharing in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(sharing):
            yield sharing
    for sysctl in spec.get("securityContext", {}).get("sysctls", []):
        if sysctl["name"] not in SAFE_SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    if any("hostPath" in volume for volume in spec.get("volumes", [])):
        yield "hostPath"
    for context in contexts(spec):
        if context.get("windowsOptions", {}).get("hostProcess"):
            yield "hostProcess"
        if context.get("seccompProfile", {}).get("type") == "Unconfined":
            yield "seccompProfile"
        if context.get("appArmorProfile", {}).get("type") == "Unconfined":
            yield "appArmorProfile"
        selinux = context.get("seLinuxOptions", {})
        if selinux.get("type") not in SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
            yield "seLinuxOptions"
    for container in placement.containers(spec):
        context = container.get("securityContext", {})
        if context.get("privileged"):
            yield "privileged"
        if set(context.get("capabilities", {}).get("add", [])) - BASELINE_CAPABILITIES:
            yield "capabilities.add"
        if context.get("procMount", "Default") != "Default":
            yield "procMount"
        if any(port.get("hostPort") for port in container.get("ports", [])):
            yield "hostPort"


def restricted(spec: Object) -> Violations:
    yield from baseline(spec)
    for volume in spec.get("volumes", []):
        if not RESTRICTED_VOLUMES & set(volume):
            yield f"volume {volume['name']}"
    of_pod = spec.get("securityContext", {})
    for context in contexts(spec):
        if context.get("runAsUser") == 0:
            yield "runAsUser"
    for container in placement.containers(spec):
        context = {**of_pod, **container.get("securityContext", {})}
        if context.get("allowPrivilegeEscalation") is not False:
            yield "allowPrivilegeEscalation"
        if context.get("runAsNonRoot") is not True:
            yield "runAsNonRoot"
        if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield "seccompProfile.type"
        capabilities = context.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield "capabilities"


def made(run: Run = RUN) -> list[Object]:
    """What the suite creates of its own: attackers, twins, listeners, canaries, and a new pod of each attacker."""
    canary = run.own("canary")
    return [
        *attacker.documents(SHOP, run),
        *canaries.ground(canary, run),
        *canaries.pods(canary, [canaries.post("node-a", 0)], run),
        canaries.latecomer(canary, "node-a", run),
        *(attacker.rogue(source, run.own(f"new-{source.name}-1"), run) for source in SHOP.attackers),
    ]


def specs(documents: list[Object]) -> dict[str, Object]:
    """The specs of pods, by kind, namespace and name."""
    found = {}
    for document in documents:
        metadata = document["metadata"]
        if (spec := placement.pod_spec(document)) is not None:
            found[f"{document['kind']} {metadata['namespace']}/{metadata['name']}"] = spec
    return found


OURS = specs(made())
SHOPS = specs(application.documents(SHOP, RUN))


def test_all_pods_are_looked_at() -> None:
    """A foothold and a new pod of each attacker, a twin of each workload, two listeners, three canaries; the shop."""
    attackers = sum(source.kind is SourceKind.ROGUE for source in SHOP.sources())
    assert len(OURS) == 2 * attackers + len(SHOP.workloads) + len(SHOP.outside.listeners) + 3
    assert len(SHOPS) == len(SHOP.workloads)


@pytest.mark.parametrize("name", OURS)
def test_the_suites_own_pods_are_restricted(name: str) -> None:
    """Nothing that PodSecurity's `restricted` refuses."""
    assert list(restricted(OURS[name])) == []


@pytest.mark.parametrize("name", SHOPS)
def test_the_shops_pods_are_baseline(name: str) -> None:
    """Nothing that PodSecurity's `baseline` refuses."""
    assert list(baseline(SHOPS[name])) == []


@pytest.mark.parametrize("name", OURS)
def test_the_suites_own_pods_ask_for_little(name: str) -> None:
    """No API token, no names of Services, requests and limits, a user that isn't the image's."""
    spec = OURS[name]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsUser"] > 0
    for container in placement.containers(spec):
        for kind in ("requests", "limits"):
            assert set(container["resources"][kind]) == {"cpu", "memory"}


def test_no_mesh_puts_a_sidecar_into_the_suites_own_pods() -> None:
    """Annotations, not labels: a twin's labels are exactly its workload's."""
    off = {
        "sidecar.istio.io/inject": "false",
        "linkerd.io/inject": "disabled",
        "kuma.io/sidecar-injection": "disabled",
        "consul.hashicorp.com/connect-inject": "false",
    }
    for document in made():
        if placement.pod_spec(document) is not None:
            pod = document if document["kind"] == "Pod" else document["spec"]["template"]
            assert off.items() <= pod["metadata"]["annotations"].items()


def test_the_suites_own_namespaces_are_held_to_restricted() -> None:
    """Whatever the cluster's default is, and no namespace of anyone else's is created."""
    namespaces = {one["metadata"]["name"]: one["metadata"]["labels"] for one in made() if one["kind"] == "Namespace"}
    assert set(namespaces) == {RUN.own(name) for name in ("default", "outside", "canary")}
    assert {one["pod-security.kubernetes.io/enforce"] for one in namespaces.values()} == {"restricted"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda spec: spec.update(hostNetwork=True), "hostNetwork"),
        (lambda spec: spec["securityContext"].update(runAsUser=0), "runAsUser"),
        (lambda spec: spec["securityContext"].update(runAsNonRoot=False), "runAsNonRoot"),
        (lambda spec: spec["securityContext"].pop("seccompProfile"), "seccompProfile.type"),
        (lambda spec: spec["containers"][0].pop("securityContext"), "allowPrivilegeEscalation"),
        (lambda spec: spec["containers"][0]["securityContext"].update(privileged=True), "privileged"),
        (lambda spec: spec.update(volumes=[{"name": "host", "hostPath": {"path": "/"}}]), "volume host"),
    ],
)
def test_what_restricted_refuses_is_known_here(change: Callable[[Object], object], told: str) -> None:
    """The rules of this test find what they are there for."""
    spec = copy.deepcopy(next(iter(OURS.values())))
    change(spec)
    assert told in list(restricted(spec))
