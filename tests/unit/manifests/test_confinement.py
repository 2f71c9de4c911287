"""What the admission policy lets the account do, where: in a run's namespaces all, beside applications the least."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.confinement import Document, Request, shipped

from lateral import attacker
from lateral.canary import documents as canary
from lateral.model import Source, SourceKind
from lateral.resources import RUN_LABEL, Run, load, manifests
from lateral.topology import load as topology

POLICY = shipped()
RUN = Run("1f2e3d4c")
SHOP = topology("sock-shop")
RESOURCES = {
    "Pod": ("", "pods"),
    "ReplicaSet": ("apps", "replicasets"),
    "NetworkPolicy": ("networking.k8s.io", "networkpolicies"),
}
ROGUE = attacker.rogue(Source("rogue", "sock-shop", SourceKind.ROGUE, {"app": "rogue"}), RUN.own("rogue"), RUN)
[TWIN, *_] = [one for one in attacker.documents(SHOP, RUN) if one["kind"] == "ReplicaSet"]
NETWORK_POLICY = canary.policy("sock-shop", 8080, RUN)
KINDS = sorted(
    (group, resource)
    for rule in POLICY.rules
    for group in rule["apiGroups"]
    for resource in rule["resources"]
    if resource != "namespaces"
)


def named(namespace: str, **labels: str) -> Document:
    return {"metadata": {"name": namespace, "labels": labels} if labels else {"name": namespace}}


OWN = named("canary-1f2e3d4c", **{RUN_LABEL: RUN.id})
THEIRS = named("theirs")
OPENED = named("sock-shop", **{"lateral.dev/measured": "true"})
POLICED = named("sock-shop", **{"lateral.dev/measured": "policies"})


def create(document: Document, home: Document = OPENED) -> Request:
    group, resource = RESOURCES[document["kind"]]
    return Request("CREATE", group, resource, home, document["metadata"]["name"], document)


def update(old: Document, new: Document, home: Document = OPENED) -> Request:
    return replace(create(new, home), operation="UPDATE", old=old)


def delete(document: Document, home: Document = OPENED) -> Request:
    return replace(create(document, home), operation="DELETE", object=None, old=document)


def connect(resource: str, name: str, home: Document = OPENED) -> Request:
    return Request("CONNECT", "", resource, home, name, {"kind": "Options"})


def unlabelled(document: Document) -> Document:
    found = copy.deepcopy(document)
    del found["metadata"]["labels"][RUN_LABEL]
    return found


def test_a_run_may_put_its_own_beside_an_application_that_is_opened_to_it() -> None:
    """Whatever it creates there, for whichever application, and as it changes and removes it."""
    for app in (SHOP, topology("example")):
        own = [one for one in attacker.documents(app, RUN) if one["metadata"].get("namespace") in app.namespaces]
        own += attacker.further(app, RUN, {source.key: ["a", "b"] for source in app.sources()})
        beside = [one for one in own if one["metadata"]["namespace"] in app.namespaces]
        assert {one["kind"] for one in beside} == {"Pod", "ReplicaSet"}
        for one in (*beside, ROGUE):
            home = named(one["metadata"]["namespace"], **{"lateral.dev/measured": "true"})
            for request in (create(one, home), update(one, one, home), delete(one, home)):
                assert POLICY.refusals(request) == []


@pytest.mark.parametrize(
    "name",
    [
        "rogue-1f2e3d4c",
        "rogue-1f2e3d4c-2",
        "new-rogue-1-1f2e3d4c",
        "twin-front-end-1f2e3d4c-x7k2p",
        "twin-front-end-1f2e3d4c-2-x7k2p",
        f"twin-{'long-' * 11}x7k2p"[:58] + "x7k2p",
    ],
)
def test_a_runs_own_pods_may_be_entered(name: str) -> None:
    assert len(name) <= 63
    assert POLICY.refusals(connect("pods/exec", name)) == []


@pytest.mark.parametrize(
    "name",
    [
        "front-end-7d4b9c6f5d-x7k2p",
        "front-end-7d4b9c6f-24589",
        "orders-db-0",
        "twin-peaks",
        "twin-peaks-7d4b9c6f5d-x7k2p",
        "backup-29384756-x7k2p",
        "backup-29384756-24589",
    ],
)
def test_nobody_elses_pods_may_be_entered(name: str) -> None:
    """But forwarded to, past policies: that is how it is seen that they are alive."""
    assert POLICY.refusals(connect("pods/exec", name))
    assert POLICY.refusals(connect("pods/portforward", name)) == []


Change = Callable[[Any], Any]


def container(**fields: Any) -> Change:
    return lambda spec: spec["containers"][0].update(fields)


def secured(**fields: Any) -> Change:
    return lambda spec: spec["containers"][0]["securityContext"].update(fields)


def without(*path: str) -> Change:
    def change(spec: Any) -> None:
        for step in path[:-1]:
            spec = spec[int(step)] if step.isdigit() else spec[step]
        del spec[path[-1]]

    return change


HARMFUL: dict[str, Change] = {
    "the node's network": lambda spec: spec.update(hostNetwork=True),
    "the node's processes": lambda spec: spec.update(hostPID=True),
    "the node's memory": lambda spec: spec.update(hostIPC=True),
    "the node's files": lambda spec: spec.update(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
    "Secrets": lambda spec: spec.update(volumes=[{"name": "v", "secret": {"secretName": "s"}}]),
    "ConfigMaps": lambda spec: spec.update(volumes=[{"name": "v", "configMap": {"name": "c"}}]),
    "data": lambda spec: spec.update(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]),
    "a projected token": lambda spec: spec.update(volumes=[{"name": "v", "projected": {"sources": []}}]),
    "one volume of several": lambda spec: spec.update(
        volumes=[{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "s"}}]
    ),
    "a token": lambda spec: spec.update(automountServiceAccountToken=True),
    "a token by default": without("automountServiceAccountToken"),
    "containers before the others": lambda spec: spec.update(initContainers=[spec["containers"][0]]),
    "root": lambda spec: spec["securityContext"].update(runAsNonRoot=False),
    "whatever the image says": without("securityContext", "runAsNonRoot"),
    "no seccomp": without("securityContext", "seccompProfile"),
    "unconfined": lambda spec: spec["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    "sysctls": lambda spec: spec["securityContext"].update(sysctls=[{"name": "kernel.x", "value": "1"}]),
    "another SELinux type": lambda spec: spec["securityContext"].update(seLinuxOptions={"type": "spc_t"}),
    "no AppArmor": lambda spec: spec["securityContext"].update(appArmorProfile={"type": "Unconfined"}),
    "a Windows node's processes": lambda spec: spec["securityContext"].update(windowsOptions={"hostProcess": True}),
    "no security context": without("securityContext"),
    "a container without any": without("containers", "0", "securityContext"),
    "a privileged container": secured(privileged=True),
    "escalation": secured(allowPrivilegeEscalation=True),
    "escalation by default": without("containers", "0", "securityContext", "allowPrivilegeEscalation"),
    "a capability": secured(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}),
    "some capabilities": secured(capabilities={"drop": ["CHOWN"]}),
    "all capabilities": without("containers", "0", "securityContext", "capabilities"),
    "a container's root": secured(runAsUser=0),
    "a container that may be root": secured(runAsNonRoot=False),
    "a container that is unconfined": secured(seccompProfile={"type": "Unconfined"}),
    "a container that sees all of /proc": secured(procMount="Unmasked"),
    "a container of another SELinux type": secured(seLinuxOptions={"type": "spc_t"}),
    "a container without AppArmor": secured(appArmorProfile={"type": "Unconfined"}),
    "a node's connections": container(startupProbe={"tcpSocket": {"host": "10.96.0.1", "port": 443}}),
    "a node's requests": container(livenessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}),
    "a node's requests for readiness": container(readinessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}),
    "a node's requests at first": container(lifecycle={"postStart": {"httpGet": {"host": "10.96.0.1", "port": 80}}}),
    "a container on a Windows node": secured(windowsOptions={"hostProcess": True}),
    "a Secret's keys": container(envFrom=[{"secretRef": {"name": "s"}}]),
    "a Secret's key": container(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
    "the node's port": container(ports=[{"containerPort": 80, "hostPort": 80}]),
    "a second container": lambda spec: spec["containers"].append({"name": "b", "image": "i"}),
    "readiness": without("readinessGates"),
    "another gate": lambda spec: spec.update(readinessGates=[{"conditionType": "example.org/soon"}]),
}


@pytest.mark.parametrize("whose", [ROGUE, TWIN], ids=["pod", "replicaset"])
@pytest.mark.parametrize("harm", HARMFUL)
def test_beside_an_application_pods_get_nothing_of_it_and_nothing_of_the_node(whose: Document, harm: str) -> None:
    """Its namespace may be held to no level, and has Secrets, data and accounts."""
    made = copy.deepcopy(whose)
    HARMFUL[harm](made["spec"] if whose is ROGUE else made["spec"]["template"]["spec"])
    assert POLICY.refusals(create(made))
    assert POLICY.refusals(update(whose, made))
    assert POLICY.refusals(create(made, OWN)) == [], "there the namespace's level decides"


@pytest.mark.parametrize("whose", [ROGUE, TWIN], ids=["pod", "replicaset"])
def test_beside_an_application_no_annotation_takes_a_pods_apparmor_away(whose: Document) -> None:
    """So it is said to servers before 1.30."""
    made = copy.deepcopy(whose)
    metadata = made["metadata"] if whose is ROGUE else made["spec"]["template"]["metadata"]
    metadata["annotations"]["container.apparmor.security.beta.kubernetes.io/rogue"] = "unconfined"
    assert POLICY.refusals(create(made))


def test_a_service_takes_no_address_of_others() -> None:
    """Nodes would lead to the run what is sent there."""
    service: Document = {"metadata": {"name": "one", "labels": {RUN_LABEL: RUN.id}}, "spec": {}}
    taking = {**service, "spec": {"externalIPs": ["10.96.0.10"]}}
    assert POLICY.refusals(Request("CREATE", "", "services", OWN, "one", service)) == []
    assert POLICY.refusals(Request("CREATE", "", "services", OWN, "one", taking))
    assert POLICY.refusals(Request("UPDATE", "", "services", OWN, "one", taking, service))


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec.update(volumes=[{"name": "scratch", "emptyDir": {}}]),
        container(env=[{"name": "A", "value": "b"}]),
        container(ports=[{"containerPort": 80}]),
    ],
)
def test_what_is_a_pods_own_does_no_harm(change: Change) -> None:
    made = copy.deepcopy(ROGUE)
    change(made["spec"])
    assert POLICY.refusals(create(made)) == []


def test_in_a_runs_own_namespaces_all_pods_may_be_entered() -> None:
    assert POLICY.refusals(connect("pods/exec", "client-0", OWN)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["spec"].update(replicas=2),
        lambda one: one["spec"].pop("replicas"),
        lambda one: one["spec"].update(selector={"matchLabels": {"name": "front-end"}}),
        lambda one: one["spec"]["selector"]["matchLabels"].update({"pod-template-hash": "7d4b9c6f5d"}),
        lambda one: one["spec"].update(selector={"matchExpressions": [{"key": "name", "operator": "Exists"}]}),
        lambda one: one["metadata"].update(ownerReferences=[{"kind": "Deployment", "name": "front-end"}]),
    ],
)
def test_a_replicaset_beside_an_application_takes_none_of_its_pods(change: Change) -> None:
    made = copy.deepcopy(TWIN)
    change(made)
    assert POLICY.refusals(create(made))


def test_a_pod_beside_an_application_is_nobodys() -> None:
    """A ReplicaSet that had it for its own would have one too many, and delete one."""
    made = copy.deepcopy(ROGUE)
    made["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "front-end-7d4b9c6f5d"}]
    assert POLICY.refusals(create(made))


@pytest.mark.parametrize("mine", [ROGUE, TWIN, NETWORK_POLICY], ids=["pod", "replicaset", "networkpolicy"])
def test_beside_an_application_only_a_runs_own_objects_are_touched(mine: Document) -> None:
    """Neither can others be made a run's, nor a run's nobody's."""
    theirs = unlabelled(mine)
    for request in (create(theirs), update(theirs, theirs), update(theirs, mine), update(mine, theirs), delete(theirs)):
        assert POLICY.refusals(replace(request, namespace=POLICED))
    for request in (create(mine), update(mine, mine), delete(mine)):
        assert POLICY.refusals(replace(request, namespace=POLICED)) == []


def test_policies_may_be_applied_to_an_application_where_that_is_said() -> None:
    for request in (create(NETWORK_POLICY), update(NETWORK_POLICY, NETWORK_POLICY), delete(NETWORK_POLICY)):
        assert POLICY.refusals(request)
        assert POLICY.refusals(replace(request, namespace=POLICED)) == []


@pytest.mark.parametrize(("group", "resource"), KINDS)
def test_nothing_is_touched_where_no_run_is(group: str, resource: str) -> None:
    """Not even by what carries a run's label; and beside an application none of the other kinds."""
    labelled = {"metadata": {"name": "one", "labels": {RUN_LABEL: RUN.id}}, "spec": {}}
    verbs: list[Request] = [
        Request("CREATE", group, resource, THEIRS, "one", labelled),
        Request("UPDATE", group, resource, THEIRS, "one", labelled, labelled),
        Request("DELETE", group, resource, THEIRS, "one", None, labelled),
    ]
    if "/" in resource:
        verbs = [Request("CONNECT", group, resource, THEIRS, RUN.own("rogue"), {"kind": "Options"})]
    for request in verbs:
        for closed in (THEIRS, named("theirs", team="a"), named("theirs", **{"lateral.dev/measured": "false"})):
            assert POLICY.refusals(replace(request, namespace=closed))
        if "pods" not in resource and resource not in ("replicasets", "networkpolicies"):
            assert POLICY.refusals(replace(request, namespace=POLICED))
        assert POLICY.refusals(replace(request, namespace=OWN)) == []


def test_namespaces_are_a_runs_own_before_and_after() -> None:
    level = {"pod-security.kubernetes.io/enforce": "baseline"}
    mine, theirs = named("one", **{RUN_LABEL: RUN.id}, **level), named("one", **level)

    def request(operation: str, old: Document | None, new: Document | None) -> Request:
        return Request(operation, "", "namespaces", new or old, "one", new, old)

    assert POLICY.refusals(request("CREATE", None, mine)) == []
    assert POLICY.refusals(request("UPDATE", mine, mine)) == []
    assert POLICY.refusals(request("DELETE", mine, None)) == []
    assert POLICY.refusals(request("CREATE", None, theirs))
    assert POLICY.refusals(request("UPDATE", theirs, mine))
    assert POLICY.refusals(request("UPDATE", mine, theirs))
    assert POLICY.refusals(request("DELETE", theirs, None))
    assert POLICY.refusals(request("UPDATE", named("kube-system"), mine))
    opened = {**OPENED["metadata"]["labels"], **level}
    assert POLICY.refusals(request("UPDATE", theirs, named("one", **opened))), "nobody opens a namespace to itself"
    for bad in ({}, {"pod-security.kubernetes.io/enforce": "privileged"}):
        loose = named("one", **{RUN_LABEL: RUN.id}, **bad)
        assert POLICY.refusals(request("CREATE", None, loose))
        assert POLICY.refusals(request("UPDATE", mine, loose))
        assert POLICY.refusals(request("DELETE", loose, None)) == []


def test_elsewhere_only_dns_is_looked_at_and_policies_are_tried() -> None:
    dns, default = named("kube-system"), named("default")
    assert POLICY.refusals(connect("pods/portforward", "coredns-x", dns)) == []
    assert POLICY.refusals(connect("pods/exec", "coredns-x", dns))
    for theirs in ("etcd-control-plane", "node-local-dns-x7k2p", "kube-proxy-x7k2p"):
        assert POLICY.refusals(connect("pods/portforward", theirs, dns)), "it shares its node's network"
    assert POLICY.refusals(connect("pods/portforward", "coredns-x", default))
    tried = replace(create(unlabelled(NETWORK_POLICY), default), dry_run=True)
    assert POLICY.refusals(tried) == []
    assert POLICY.refusals(replace(tried, dry_run=False))
    assert POLICY.refusals(replace(tried, namespace=THEIRS))
    assert POLICY.refusals(replace(create(ROGUE, default), dry_run=True))


def test_others_are_not_concerned() -> None:
    assert (
        POLICY.refusals(replace(delete(unlabelled(ROGUE), THEIRS), user="system:serviceaccount:lateral:default")) == []
    )


def test_the_account_is_the_one_that_the_roles_are_bound_to() -> None:
    [account] = [one for one in load(manifests("rbac")) if one["kind"] == "ServiceAccount"]
    name, home = account["metadata"]["name"], account["metadata"]["namespace"]
    assert Request("CREATE", "", "pods").user == f"system:serviceaccount:{home}:{name}"
