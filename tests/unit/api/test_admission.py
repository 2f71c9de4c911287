"""Defaults that are filled in, and objects that are refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lateral.lab.api.admission import admit_change, admit_new
from lateral.lab.kinds import BY_NAME
from lateral.lab.status import StatusError
from lateral.lab.store import Store

from .documents import config_map, deployment, pod, policy, service


def store() -> Store:
    made = Store()
    made.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    return made


def admitted(kind: str, document: Any) -> Any:
    obj = copy.deepcopy(document)
    admit_new(BY_NAME[kind], obj, "shop", store())
    return obj


def refused(kind: str, document: Any) -> StatusError:
    with pytest.raises(StatusError) as caught:
        admitted(kind, document)
    return caught.value


def change(kind: str, document: Any, **spec: Any) -> None:
    """Create, then update some of the spec."""
    kept = store()
    obj = copy.deepcopy(document)
    admit_new(BY_NAME[kind], obj, "shop", kept)
    old = kept.create(obj)
    new = copy.deepcopy(old)
    new["spec"].update(spec)
    admit_change(BY_NAME[kind], new, old, kept)


def test_a_pod_is_completed() -> None:
    container = {
        "name": "main",
        "image": "web",
        "ports": [{"containerPort": 80}],
        "readinessProbe": {"httpGet": {"port": 80}},
        "resources": {"limits": {"cpu": "1"}},
    }
    spec = admitted("Pod", pod(containers=[container], volumes=[{"name": "tmp"}]))["spec"]
    made = spec["containers"][0]
    assert (spec["restartPolicy"], spec["dnsPolicy"], spec["terminationGracePeriodSeconds"]) == (
        "Always",
        "ClusterFirst",
        30,
    )
    assert (spec["serviceAccountName"], spec["volumes"]) == ("default", [{"name": "tmp", "emptyDir": {}}])
    assert made["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert made["imagePullPolicy"] == "Always"
    assert made["resources"]["requests"] == {"cpu": "1"}
    assert made["readinessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("web", "Always"),
        ("web:latest", "Always"),
        ("host:5000/web", "Always"),
        ("web:1", "IfNotPresent"),
        ("web@sha256:1", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, expected: str) -> None:
    made = admitted("Pod", pod(containers=[{"name": "main", "image": image}]))
    assert made["spec"]["containers"][0]["imagePullPolicy"] == expected


def test_a_deployment_is_completed() -> None:
    spec = admitted("Deployment", deployment())["spec"]
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert spec["template"]["spec"]["restartPolicy"] == "Always"


@pytest.mark.parametrize(
    ("rules", "types"),
    [
        ({}, ["Ingress"]),
        ({"ingress": [{}]}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"egress": []}, ["Ingress"]),
    ],
)
def test_policy_types_follow_the_rules(rules: Any, types: list[str]) -> None:
    assert admitted("NetworkPolicy", policy(**rules))["spec"]["policyTypes"] == types


def test_a_policys_ports_are_completed() -> None:
    made = admitted("NetworkPolicy", policy(ingress=[{"ports": [{"port": 80}]}]))
    assert made["spec"]["ingress"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]


def test_secrets_take_text() -> None:
    secret = admitted("Secret", {"metadata": {"name": "a"}, "stringData": {"key": "value"}})
    assert (secret["type"], secret["data"], "stringData" in secret) == ("Opaque", {"key": "dmFsdWU="}, False)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"from": [{}]}, "spec.ingress[0].from[0]: Required value: must specify a peer"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0"}}]}, "must be a valid CIDR value"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}, "must be a valid CIDR value"),
        ({"from": [{"ipBlock": {"cidr": "fd00::/8"}}]}, "the lab has no IPv6"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}, "must be a strict subset"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}, "must be a strict subset"),
        (
            {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]},
            "may not specify both ipBlock and another peer",
        ),
        ({"from": [{"podSelector": {"matchLabels": {"a b": "c"}}}]}, "name part must consist of"),
        (
            {"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}]},
            "not a valid selector operator",
        ),
        ({"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}]}, "must be specified when"),
        ({"ports": [{"port": 0}]}, "must be between 1 and 65535"),
        ({"ports": [{"port": "no_name"}]}, "must contain only alpha-numeric"),
        ({"ports": [{"port": 80, "protocol": "ICMP"}]}, 'Unsupported value: "ICMP"'),
        ({"ports": [{"port": 80, "protocol": "SCTP"}]}, "the lab has no SCTP"),
        ({"ports": [{"port": 80, "endPort": 79}]}, "must be greater than or equal to `port`"),
        ({"ports": [{"port": "http", "endPort": 90}]}, "may not be specified when `port` is non-numeric"),
        ({"ports": [{"endPort": 90}]}, "may not be specified when `port` is not specified"),
    ],
)
def test_policies_that_mean_nothing_are_refused(rule: Any, message: str) -> None:
    error = refused("NetworkPolicy", policy(ingress=[rule]))
    assert (error.code, error.reason) == (422, "Invalid")
    assert message in error.message


def test_egress_peers_are_checked_too() -> None:
    assert "spec.egress[0].to[0]: Required value" in refused("NetworkPolicy", policy(egress=[{"to": [{}]}])).message
    assert 'Unsupported value: "Both"' in refused("NetworkPolicy", policy(policyTypes=["Both"])).message


def container(**fields: Any) -> Any:
    return pod(containers=[{"name": "main", "image": "web:1", **fields}])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (pod(containers=[]), "spec.containers: Required value"),
        (container(image=""), "spec.containers[0].image: Required value"),
        (container(name="A_b"), "spec.containers[0].name: Invalid value"),
        (container(ports=[{"containerPort": 0}]), "must be between 1 and 65535"),
        (container(ports=[{"containerPort": 1, "protocol": "SCTP"}]), "the lab has no SCTP"),
        (container(readinessProbe={}), "must specify a handler type"),
        (container(readinessProbe={"grpc": {"port": 1}}), "the lab has no gRPC probes"),
        (container(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2}), "must be 1"),
        (container(volumeMounts=[{"name": "gone", "mountPath": "/a"}]), 'Not found: "gone"'),
        (container(imagePullPolicy="Sometimes"), 'Unsupported value: "Sometimes"'),
        (container(lifecycle={"preStop": {"exec": {"command": ["a"]}}}), "the lab runs no lifecycle handlers"),
        (pod(restartPolicy="Perhaps"), 'Unsupported value: "Perhaps"'),
        (pod(volumes=[{"name": "a", "hostPath": {"path": "/"}}]), "the lab has no volumes of this type"),
        (pod(containers=[{"name": "a", "image": "a"}, {"name": "a", "image": "b"}]), 'Duplicate value: "a"'),
        (pod("Web"), "metadata.name: Invalid value"),
        ({**pod(), "metadata": {"name": "web", "labels": {"a": "b c"}}}, "metadata.labels: Invalid value"),
        ({**pod(), "metadata": {}}, "name or generateName is required"),
    ],
)
def test_pods_that_cannot_be_are_refused(document: Any, message: str) -> None:
    error = refused("Pod", document)
    assert error.code == 422
    assert message in error.message


def test_a_pods_service_account_must_exist() -> None:
    error = refused("Pod", pod(serviceAccountName="robot"))
    assert (error.code, 'serviceaccount "robot" not found' in error.message) == (403, True)


def test_of_a_pod_only_images_change() -> None:
    change("Pod", pod(), containers=[{**admitted("Pod", pod())["spec"]["containers"][0], "image": "web:2"}])
    forbidden: list[dict[str, Any]] = [{"hostNetwork": True}, {"nodeName": "other"}, {"containers": []}]
    for fields in forbidden:
        with pytest.raises(StatusError) as caught:
            change("Pod", pod(), **fields)
        assert caught.value.code == 422


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (deployment(selector={"matchLabels": {"app": "other"}}), "`selector` does not match template `labels`"),
        (deployment(selector={}), "empty selector is invalid"),
        (deployment(replicas=-1), "must be greater than or equal to 0"),
        (deployment(strategy={"type": "Recreate", "rollingUpdate": {}}), "may not be specified when strategy"),
        (deployment(strategy={"type": "Blue"}), 'Unsupported value: "Blue"'),
        (
            deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
            "may not be 0 when `maxSurge` is 0",
        ),
        (deployment(strategy={"rollingUpdate": {"maxSurge": "few"}}), "or a percentage"),
        (
            deployment(
                template={"metadata": {"labels": {"app": "web"}}, "spec": {**pod()["spec"], "restartPolicy": "Never"}}
            ),
            "spec.template.spec.restartPolicy: Unsupported value",
        ),
    ],
)
def test_deployments_that_cannot_be_are_refused(document: Any, message: str) -> None:
    assert message in refused("Deployment", document).message


def test_a_deployments_selector_stays() -> None:
    with pytest.raises(StatusError, match="field is immutable"):
        change("Deployment", deployment(), selector={"matchLabels": {"app": "web", "new": "x"}})


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (service(ports=[]), "spec.ports: Required value"),
        (service(ports=[{"port": 1}, {"port": 2}]), "spec.ports[0].name: Required value"),
        (service(ports=[{"port": 1, "protocol": "SCTP"}]), "the lab has no SCTP"),
        (service(ipFamilies=["IPv6"]), "the lab has no IPv6"),
        (service(ports=[{"port": 1, "nodePort": 30000}]), "may not be used when `type` is 'ClusterIP'"),
        (service(type="Magic"), 'Unsupported value: "Magic"'),
        (service("1web"), "a DNS-1035 label"),
        (service(clusterIP="10.9.9.9"), "not in the valid range"),
    ],
)
def test_services_that_cannot_be_are_refused(document: Any, message: str) -> None:
    assert message in refused("Service", document).message


def test_other_kinds_are_checked() -> None:
    assert "data[a b]" in refused("ConfigMap", config_map(**{"a b": "c"})).message
    slice_ = {"metadata": {"name": "a"}, "addressType": "IPv6", "endpoints": []}
    assert "the lab has no IPv6" in refused("EndpointSlice", slice_).message
    event = {"metadata": {"name": "a"}, "involvedObject": {"namespace": "other"}}
    assert "does not match event.namespace" in refused("Event", event).message


def test_an_immutable_config_map_stays() -> None:
    kept = store()
    obj = {**config_map(a="1"), "immutable": True}
    admit_new(BY_NAME["ConfigMap"], obj, "shop", kept)
    old = kept.create(obj)
    with pytest.raises(StatusError, match="field is immutable"):
        admit_change(BY_NAME["ConfigMap"], {**copy.deepcopy(old), "data": {"a": "2"}}, old, kept)
