"""The official Python client against the API."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client as official_client
from kubernetes import watch as official_watch
from kubernetes.client.exceptions import ApiException

from lateral.lab.store import HISTORY, Object

from .documents import config_map, deployment, pod, policy, service

if TYPE_CHECKING:
    from .served import Served

# Manifests are plain maps here, which the client takes but its types don't.
client: Any = official_client
watch: Any = official_watch
# The client's watch leaves its connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def test_objects_make_the_round_trip(served: Served) -> None:
    with served.client() as api:
        core, apps, networking = client.CoreV1Api(api), client.AppsV1Api(api), client.NetworkingV1Api(api)
        made = core.create_namespaced_pod("shop", pod())
        assert made.spec.containers[0].image_pull_policy == "IfNotPresent"
        assert apps.create_namespaced_deployment("shop", deployment()).spec.replicas == 1
        assert core.create_namespaced_service("shop", service()).spec.cluster_ip
        assert networking.create_namespaced_network_policy("shop", policy()).spec.policy_types == ["Ingress"]
        assert [found.metadata.name for found in core.list_pod_for_all_namespaces(label_selector="app=web").items] == [
            "web"
        ]
        patched = apps.patch_namespaced_deployment("web", "shop", {"spec": {"replicas": 2}})
        assert patched.spec.replicas == 2
        patched.spec.replicas = 3
        assert apps.replace_namespaced_deployment("web", "shop", patched).metadata.generation == 3
        options = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=patched.metadata.uid))
        apps.delete_namespaced_deployment("web", "shop", body=options)
        assert apps.list_namespaced_deployment("shop").items == []
        assert core.delete_namespaced_pod("web", "shop").metadata.name == "web"
        assert core.delete_namespaced_service("web", "shop").metadata.name == "web"
        networking.delete_collection_namespaced_network_policy("shop")
        assert networking.list_namespaced_network_policy("shop").items == []


def test_errors_are_api_exceptions(served: Served) -> None:
    with served.client() as api:
        core = client.CoreV1Api(api)
        with pytest.raises(ApiException) as missing:
            core.read_namespaced_pod("web", "shop")
        assert (missing.value.status, '"reason":"NotFound"' in str(missing.value.body)) == (404, True)
        with pytest.raises(ApiException) as jobs:
            client.BatchV1Api(api).list_namespaced_job("shop")
        assert jobs.value.status == 404


def test_a_watch_sees_what_happens_after_a_list(served: Served) -> None:
    with served.client() as api:
        core = client.CoreV1Api(api)
        core.create_namespaced_config_map("shop", config_map("before"))
        version = core.list_namespaced_config_map("shop").metadata.resource_version
        core.create_namespaced_config_map("default", config_map("elsewhere"))
        core.create_namespaced_config_map("shop", config_map("a"))
        core.patch_namespaced_config_map("a", "shop", {"data": {"k": "v"}})
        core.delete_namespaced_config_map("a", "shop")
        seen = [
            (event["type"], event["object"].metadata.name)
            for event in watch.Watch().stream(
                core.list_namespaced_config_map, "shop", resource_version=version, timeout_seconds=1
            )
        ]
        assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


def test_a_watch_without_a_version_starts_with_what_is_there(served: Served) -> None:
    with served.client() as api:
        core = client.CoreV1Api(api)
        core.create_namespaced_config_map("shop", config_map("before"))
        watching = watch.Watch()
        seen = []
        for event in watching.stream(core.list_config_map_for_all_namespaces, timeout_seconds=10):
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == 1:
                core.create_namespaced_config_map("default", config_map("after"))
            else:
                watching.stop()
        assert seen == [("ADDED", "before"), ("ADDED", "after")]


def test_a_selected_watch_sees_objects_enter_and_leave(served: Served) -> None:
    with served.client() as api:
        core = client.CoreV1Api(api)
        version = core.list_namespaced_config_map("shop").metadata.resource_version
        core.create_namespaced_config_map("shop", {"metadata": {"name": "a", "labels": {"app": "x"}}})
        core.patch_namespaced_config_map("a", "shop", {"metadata": {"labels": {"app": "y"}}})
        core.patch_namespaced_config_map("a", "shop", {"metadata": {"labels": {"app": "x"}}})
        stream = watch.Watch().stream(
            core.list_namespaced_config_map,
            "shop",
            resource_version=version,
            timeout_seconds=1,
            label_selector="app=x",
        )
        assert [event["type"] for event in stream] == ["ADDED", "DELETED", "ADDED"]


def test_a_watch_from_a_forgotten_version_is_expired(served: Served) -> None:
    def churn() -> None:
        served.store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}})
        for _ in range(HISTORY + 1):
            served.store.modify("ConfigMap", "shop", "a", count)

    def count(new: Object) -> None:
        new["data"] = {"n": str(int(new.get("data", {"n": "0"})["n"]) + 1)}

    served.within(churn)
    with served.client() as api:
        core = client.CoreV1Api(api)
        events = watch.Watch().stream(core.list_namespaced_config_map, "shop", resource_version="1", timeout_seconds=1)
        with pytest.raises(ApiException) as expired:
            next(events)
    assert expired.value.status == 410


def test_bookmarks_end_the_initial_events(served: Served) -> None:
    query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersionMatch=NotOlderThan"
    answer = served.ask("GET", f"/api/v1/namespaces?{query}")
    lines = answer.text.splitlines()
    assert [line.partition(",")[0] for line in lines[:3]] == [
        '{"type":"ADDED"',
        '{"type":"ADDED"',
        '{"type":"BOOKMARK"',
    ]
    assert '"k8s.io/initial-events-end":"true"' in lines[2]


def test_a_watch_ends_with_its_client(served: Served) -> None:
    """Nothing is kept for a client that has gone."""
    with served.client() as api:
        stream: Any = client.CoreV1Api(api).list_namespace(watch=True, _preload_content=False)
        assert subscribers(served) == 1
        stream.close()
    done = threading.Event()
    for _ in range(100):
        if subscribers(served) == 0:
            return
        done.wait(0.05)
    pytest.fail("the watch's subscription outlived its client by 5 s")


def subscribers(served: Served) -> int:
    return served.within(lambda: len(served.store._subscriptions))
