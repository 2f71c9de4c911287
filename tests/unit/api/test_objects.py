"""Create, read, list, replace, patch and delete, as clients see them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from .documents import config_map, deployment, pod, policy, service

if TYPE_CHECKING:
    from .served import Served

PODS = "/api/v1/namespaces/shop/pods"
MAPS = "/api/v1/namespaces/shop/configmaps"
SERVICES = "/api/v1/namespaces/shop/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


def created(served: Served, path: str, document: Any) -> Any:
    answer = served.ask("POST", path, document)
    assert answer.code == 201, answer.text
    return answer.json


def bind(served: Served, name: str) -> None:
    """As a scheduler does."""
    served.within(lambda: served.store.modify("Pod", "shop", name, lambda new: new["spec"].update(nodeName="lab-node")))


def test_what_is_created_can_be_read(served: Served) -> None:
    made = created(served, MAPS, config_map(colour="blue"))
    assert (made["kind"], made["apiVersion"], made["metadata"]["namespace"]) == ("ConfigMap", "v1", "shop")
    assert made["metadata"]["uid"]
    assert served.ask("GET", f"{MAPS}/settings").json == made


def test_an_object_is_created_once(served: Served) -> None:
    created(served, MAPS, config_map())
    again = served.ask("POST", MAPS, config_map())
    assert (again.code, again.json["reason"]) == (409, "AlreadyExists")


def test_names_are_generated(served: Served) -> None:
    names = {created(served, MAPS, {"metadata": {"generateName": "web-"}})["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


def test_what_the_server_owns_is_not_the_clients_to_say(served: Served) -> None:
    stated = {
        "name": "a",
        "uid": "mine",
        "creationTimestamp": "2020-01-01T00:00:00Z",
        "deletionTimestamp": "2020-01-01T00:00:00Z",
    }
    meta = created(served, PODS, {**pod(), "metadata": stated, "status": {"phase": "Running"}})
    assert meta["status"]["phase"] == "Pending"
    assert meta["metadata"]["uid"] != "mine"
    assert not meta["metadata"]["creationTimestamp"].startswith("2020")
    assert "deletionTimestamp" not in meta["metadata"]


def test_a_namespace_must_exist_and_stay(served: Served) -> None:
    missing = served.ask("POST", "/api/v1/namespaces/nowhere/configmaps", config_map())
    assert (missing.code, missing.message) == (404, 'namespaces "nowhere" not found')
    assert served.ask("DELETE", "/api/v1/namespaces/shop").json["status"]["phase"] == "Terminating"
    refused = served.ask("POST", MAPS, config_map())
    assert (refused.code, refused.json["reason"]) == (403, "Forbidden")
    assert "because it is being terminated" in refused.message


def test_lasting_namespaces_cannot_be_deleted(served: Served) -> None:
    assert served.ask("DELETE", "/api/v1/namespaces/default").code == 403


def test_a_namespace_wears_its_name(served: Served) -> None:
    made = created(served, "/api/v1/namespaces", {"metadata": {"name": "new"}})
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "new"}
    assert made["status"] == {"phase": "Active"}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/apis/batch/v1/namespaces/shop/jobs", 404),
        ("/api/v1/namespaces/shop/persistentvolumeclaims", 404),
        ("/api/v1/namespaces/shop/nodes", 404),
        ("/api/v1/pods/web", 404),
        ("/api/v1/namespaces/shop/pods/web/eviction", 404),
        ("/apis/cilium.io/v2/ciliumnetworkpolicies", 404),
        ("/metrics", 404),
    ],
)
def test_what_the_lab_does_not_have_is_an_error(served: Served, path: str, code: int) -> None:
    for method in ("GET", "POST"):
        answer = served.ask(method, path, {} if method == "POST" else None)
        assert answer.code == code
        assert answer.message.startswith("the server could not find the requested resource")


def test_a_method_that_does_not_fit_is_an_error(served: Served) -> None:
    assert served.ask("POST", "/api/v1/pods", pod()).code == 405
    assert served.ask("PUT", PODS, pod()).code == 405
    assert served.ask("DELETE", "/api/v1/namespaces").code == 405


@pytest.mark.parametrize("token", [None, "", "another", "ä"])
def test_nothing_is_said_without_the_token(served: Served, token: str | None) -> None:
    for path in ("/version", "/api/v1/namespaces", f"{PODS}/web/exec?command=sh&stdout=1"):
        answer = served.ask("GET", path, token=token)
        assert (answer.code, answer.message) == (401, "Unauthorized")


def test_a_body_must_be_what_the_url_says(served: Served) -> None:
    other = {**config_map(), "kind": "Secret", "apiVersion": "v1"}
    assert "does not match the expected kind (ConfigMap)" in served.ask("POST", MAPS, other).message
    elsewhere = {"metadata": {"name": "a", "namespace": "default"}}
    assert "does not match the namespace" in served.ask("POST", MAPS, elsewhere).message
    assert served.ask("POST", MAPS, "{", "application/json").code == 400
    assert served.ask("POST", MAPS, "x", "application/cbor").code == 415
    assert served.ask("POST", MAPS).code == 400
    assert served.ask("POST", MAPS, [1]).code == 400
    assert served.ask("POST", MAPS, "metadata: {name: from-yaml}", "application/yaml").code == 201


def test_unknown_fields_are_refused_unless_asked_otherwise(served: Served) -> None:
    misspelt = policy(PodSelector={})
    strict = served.ask("POST", POLICIES, misspelt)
    assert strict.code == 400
    assert 'strict decoding error: unknown field "spec.PodSelector"' in strict.message
    warned = served.ask("POST", f"{POLICIES}?fieldValidation=Warn", misspelt)
    assert warned.code == 201
    assert "PodSelector" not in warned.json["spec"]
    assert warned.warnings == ['299 - "unknown field \\"spec.PodSelector\\""']
    assert served.ask("POST", f"{POLICIES}?fieldValidation=Never", misspelt).code == 422


def test_a_dry_run_keeps_nothing(served: Served) -> None:
    assert served.ask("POST", f"{MAPS}?dryRun=All", config_map()).code == 201
    assert served.ask("GET", f"{MAPS}/settings").code == 404
    created(served, MAPS, config_map(a="1"))
    patched = served.ask("PATCH", f"{MAPS}/settings?dryRun=All", {"data": {"a": "2"}}, MERGE)
    assert patched.json["data"] == {"a": "2"}
    assert served.ask("DELETE", f"{MAPS}/settings?dryRun=All").code == 200
    assert served.ask("GET", f"{MAPS}/settings").json["data"] == {"a": "1"}
    assert served.ask("DELETE", f"{MAPS}/settings?dryRun=Some").code == 422


def names(answer: Any) -> list[str]:
    return [item["metadata"]["name"] for item in answer.json["items"]]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=a", ["a"]),
        ("app==a", ["a"]),
        ("app!=a", ["b", "c"]),
        ("app%20in%20(a,b)", ["a", "b"]),
        ("app%20notin%20(a),tier", ["b"]),
        ("tier", ["a", "b"]),
        ("!tier", ["c"]),
        ("app%20in%20(a,b),tier=back", ["b"]),
        ("", ["a", "b", "c"]),
    ],
)
def test_lists_are_selected_by_labels(served: Served, selector: str, expected: list[str]) -> None:
    for name, labels in (
        ("a", {"app": "a", "tier": "front"}),
        ("b", {"app": "b", "tier": "back"}),
        ("c", {"app": "c"}),
    ):
        created(served, MAPS, {"metadata": {"name": name, "labels": labels}})
    assert names(served.ask("GET", f"{MAPS}?labelSelector={selector}")) == expected


def test_lists_are_selected_by_fields(served: Served) -> None:
    for name in ("a", "b"):
        created(served, PODS, pod(name))
    bind(served, "b")
    for selector, expected in (
        ("metadata.name=a", ["a"]),
        ("spec.nodeName=lab-node", ["b"]),
        ("spec.nodeName!=lab-node,status.phase=Pending", ["a"]),
        ("status.phase=Running", []),
        ("metadata.namespace=shop", ["a", "b"]),
        ("spec.hostNetwork=false", ["a", "b"]),
    ):
        assert names(served.ask("GET", f"/api/v1/pods?fieldSelector={selector}")) == expected, selector
    unknown = served.ask("GET", f"{PODS}?fieldSelector=spec.colour=blue")
    assert (unknown.code, unknown.message) == (400, "field label not supported: spec.colour")
    assert served.ask("GET", f"{PODS}?labelSelector=a%20near%20b").code == 400


def test_lists_come_in_pages(served: Served) -> None:
    for name in "abcde":
        created(served, MAPS, config_map(name))
    seen, token = [], ""
    for expected in (2, 2, 1):
        page = served.ask("GET", f"{MAPS}?limit=2&continue={token}")
        seen += names(page)
        assert len(names(page)) == expected
        token = page.json["metadata"].get("continue", "")
    assert (seen, token) == (list("abcde"), "")
    assert served.ask("GET", f"{MAPS}?continue=nonsense").code == 400


def test_an_update_from_a_stale_state_is_a_conflict(served: Served) -> None:
    first = created(served, MAPS, config_map(a="1"))
    second = served.ask("PUT", f"{MAPS}/settings", {**first, "data": {"a": "2"}})
    assert second.code == 200
    stale = served.ask("PUT", f"{MAPS}/settings", {**first, "data": {"a": "3"}})
    assert (stale.code, stale.json["reason"]) == (409, "Conflict")
    unversioned = {**config_map(a="4")}
    assert served.ask("PUT", f"{MAPS}/settings", unversioned).json["data"] == {"a": "4"}
    other = {**first, "metadata": {"name": "settings", "uid": "another"}}
    assert served.ask("PUT", f"{MAPS}/settings", other).code == 409
    renamed = {**first, "metadata": {"name": "other"}}
    assert "does not match the name on the URL" in served.ask("PUT", f"{MAPS}/settings", renamed).message
    assert served.ask("PUT", f"{MAPS}/missing", config_map("missing")).code == 404


def test_an_update_without_a_change_keeps_the_version(served: Served) -> None:
    made = created(served, DEPLOYMENTS, deployment())
    again = served.ask("PUT", f"{DEPLOYMENTS}/web", deployment())
    assert again.json == made


def test_the_generation_counts_changes_of_the_spec(served: Served) -> None:
    created(served, DEPLOYMENTS, deployment())
    labelled = served.ask("PATCH", f"{DEPLOYMENTS}/web", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    assert labelled.json["metadata"]["generation"] == 1
    scaled = served.ask("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 3}}, MERGE)
    assert scaled.json["metadata"]["generation"] == 2


def test_status_and_the_rest_change_apart(served: Served) -> None:
    created(served, PODS, pod())
    condition = {"type": "a.io/ready", "status": "True"}
    change = {"metadata": {"labels": {"app": "other"}}, "status": {"phase": "Running", "conditions": [condition]}}
    main = served.ask("PATCH", f"{PODS}/web", change, STRATEGIC).json
    assert (main["metadata"]["labels"], main["status"]["phase"]) == ({"app": "other"}, "Pending")
    change["metadata"] = {"labels": {"app": "third"}}
    status = served.ask("PATCH", f"{PODS}/web/status", change, STRATEGIC).json
    assert (status["metadata"]["labels"], status["status"]["phase"]) == ({"app": "other"}, "Running")
    assert status["status"]["conditions"] == [condition]
    bad = served.ask("PATCH", f"{PODS}/web/status", {"status": {"conditionz": []}}, MERGE)
    assert (bad.code, "conditionz" in bad.message) == (422, True)


def test_patches_of_every_kind_are_taken(served: Served) -> None:
    created(served, MAPS, config_map(a="1", b="2"))
    path = f"{MAPS}/settings"
    assert served.ask("PATCH", path, {"data": {"a": None}}, MERGE).json["data"] == {"b": "2"}
    assert served.ask("PATCH", path, {"data": {"c": "3"}}, STRATEGIC).json["data"] == {"b": "2", "c": "3"}
    operations = [{"op": "remove", "path": "/data/b"}]
    assert served.ask("PATCH", path, operations, "application/json-patch+json").json["data"] == {"c": "3"}
    stale = {"metadata": {"resourceVersion": "1"}, "data": {"c": "4"}}
    assert served.ask("PATCH", path, stale, MERGE).code == 409
    assert served.ask("PATCH", path, {"metadata": {"name": "x"}}, MERGE).code == 422
    refused = served.ask("PATCH", path, {"dat": {}}, MERGE)
    assert (refused.code, 'unknown field "dat"' in refused.message) == (422, True)
    assert served.ask("PATCH", f"{MAPS}/missing", {}, MERGE).code == 404
    apply = served.ask("PATCH", path, json.dumps(config_map()), "application/apply-patch+yaml")
    assert apply.code == 415
    assert "no server-side apply" in apply.message


def test_a_pod_on_a_node_goes_when_its_kubelet_says_so(served: Served) -> None:
    created(served, PODS, pod())
    bind(served, "web")
    gone = served.ask("DELETE", f"{PODS}/web?gracePeriodSeconds=7").json
    assert gone["metadata"]["deletionGracePeriodSeconds"] == 7
    assert "deletionTimestamp" in served.ask("GET", f"{PODS}/web").json["metadata"]
    sooner = served.ask("DELETE", f"{PODS}/web", {"gracePeriodSeconds": 3}).json
    assert sooner["metadata"]["deletionGracePeriodSeconds"] == 3
    later = served.ask("DELETE", f"{PODS}/web", {"gracePeriodSeconds": 30}).json
    assert later["metadata"]["deletionGracePeriodSeconds"] == 3
    assert served.ask("DELETE", f"{PODS}/web", {"gracePeriodSeconds": 0}).json["kind"] == "Pod"
    assert served.ask("GET", f"{PODS}/web").code == 404
    assert served.ask("DELETE", f"{PODS}/web").code == 404


def test_a_pod_without_a_node_goes_at_once(served: Served) -> None:
    created(served, PODS, pod())
    assert served.ask("DELETE", f"{PODS}/web").json["kind"] == "Pod"
    assert served.ask("GET", f"{PODS}/web").code == 404


def test_finalizers_hold_an_object(served: Served) -> None:
    held = {"metadata": {"name": "settings", "finalizers": ["a.io/hold"]}}
    created(served, MAPS, held)
    assert served.ask("DELETE", f"{MAPS}/settings").json["kind"] == "ConfigMap"
    more = {"metadata": {"finalizers": ["a.io/hold", "a.io/more"]}}
    assert served.ask("PATCH", f"{MAPS}/settings", more, MERGE).code == 422
    assert served.ask("PATCH", f"{MAPS}/settings", {"metadata": {"finalizers": None}}, MERGE).code == 200
    assert served.ask("GET", f"{MAPS}/settings").code == 404


def test_preconditions_guard_a_deletion(served: Served) -> None:
    made = created(served, MAPS, config_map())
    wrong = served.ask("DELETE", f"{MAPS}/settings", {"preconditions": {"uid": "another"}})
    assert (wrong.code, wrong.json["reason"]) == (409, "Conflict")
    assert "does not match the UID in record" in wrong.message
    assert served.ask("DELETE", f"{MAPS}/settings", {"preconditions": {"resourceVersion": "1"}}).code == 409
    right = served.ask("DELETE", f"{MAPS}/settings", {"preconditions": {"uid": made["metadata"]["uid"]}})
    assert (right.code, right.json["status"], right.json["details"]["name"]) == (200, "Success", "settings")


def test_the_propagation_of_a_deletion_is_kept_for_the_controllers(served: Served) -> None:
    created(served, DEPLOYMENTS, deployment())
    waiting = served.ask("DELETE", f"{DEPLOYMENTS}/web?propagationPolicy=Foreground").json
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert served.ask("DELETE", f"{DEPLOYMENTS}/web?propagationPolicy=Sideways").code == 422


def test_collections_are_deleted_by_selector(served: Served) -> None:
    for name in ("a", "b"):
        created(served, MAPS, {"metadata": {"name": name, "labels": {"app": name}}})
    deleted = served.ask("DELETE", f"{MAPS}?labelSelector=app=a")
    assert (deleted.json["kind"], names(deleted)) == ("ConfigMapList", ["a"])
    assert names(served.ask("GET", MAPS)) == ["b"]


def test_scale_reads_and_writes_replicas(served: Served) -> None:
    created(served, DEPLOYMENTS, deployment(replicas=2))
    scale = served.ask("GET", f"{DEPLOYMENTS}/web/scale").json
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 2}, "app=web")
    assert (
        served.ask("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 5}}, MERGE).json["spec"]["replicas"] == 5
    )
    stale = {**scale, "spec": {"replicas": 1}}
    assert served.ask("PUT", f"{DEPLOYMENTS}/web/scale", stale).code == 409
    assert served.ask("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": -1}}, MERGE).code == 422
    made = served.ask("GET", f"{DEPLOYMENTS}/web").json
    assert (made["spec"]["replicas"], made["metadata"]["generation"]) == (5, 2)


def test_a_service_gets_an_address_and_keeps_it(served: Served) -> None:
    made = created(served, SERVICES, service())
    address = made["spec"]["clusterIP"]
    assert address.startswith("10.102.")
    assert made["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    replaced = served.ask("PUT", f"{SERVICES}/web", service())
    assert replaced.json["spec"]["clusterIP"] == address
    moved = served.ask("PATCH", f"{SERVICES}/web", {"spec": {"clusterIP": "10.102.3.4"}}, MERGE)
    assert (moved.code, "field is immutable" in moved.message) == (422, True)


def test_a_node_port_service_becomes_plain_again(served: Served) -> None:
    made = created(served, SERVICES, service(type="NodePort"))
    assert 30000 <= made["spec"]["ports"][0]["nodePort"] <= 32767
    plain = served.ask("PATCH", f"{SERVICES}/web", {"spec": {"type": "ClusterIP"}}, STRATEGIC).json
    assert "nodePort" not in plain["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in plain["spec"]


def test_reviews_allow_what_the_lab_has(served: Served) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

    def allowed(**attributes: str) -> Any:
        return served.ask("POST", path, {"spec": {"resourceAttributes": attributes}}).json["status"]

    assert allowed(verb="create", resource="pods", subresource="exec")["allowed"] is True
    assert allowed(verb="*", resource="networkpolicies", group="networking.k8s.io")["allowed"] is True
    missing = allowed(verb="create", resource="jobs", group="batch")
    assert (missing["allowed"], missing["reason"]) == (False, "the lab has no create of jobs.batch")
    assert allowed(verb="create", resource="networkpolicies")["allowed"] is False
    rules = served.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "shop"}})
    listed = {resource for rule in rules.json["status"]["resourceRules"] for resource in rule["resources"]}
    assert {"pods", "pods/exec"} <= listed


def test_discovery_lists_what_is_served(served: Served) -> None:
    groups = {group["name"] for group in served.ask("GET", "/apis").json["groups"]}
    assert groups == {"apps", "discovery.k8s.io", "coordination.k8s.io", "networking.k8s.io", "authorization.k8s.io"}
    core = {resource["name"] for resource in served.ask("GET", "/api/v1").json["resources"]}
    assert {"pods", "pods/exec", "namespaces", "services"} <= core
    assert served.ask("GET", "/version").json["minor"] == "32"
    assert [served.ask("GET", f"/{path}").text for path in ("healthz", "livez", "readyz")] == ["ok"] * 3
    for path in served.ask("GET", "/openapi/v3").json["paths"].values():
        assert served.ask("GET", path["serverRelativeURL"]).code == 200
