"""Merge, strategic merge and JSON patches."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lateral.lab.api import patch, strategic
from lateral.lab.status import StatusError

POD: dict[str, Any] = {
    "metadata": {"labels": {"app": "web", "tier": "front"}, "finalizers": ["a/b"]},
    "spec": {
        "containers": [
            {"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"name": "log", "image": "log:1"},
        ],
        "tolerations": [{"key": "x"}],
        "nodeSelector": {"disk": "ssd"},
    },
}


def merged(change: Any, kind: str = "Pod", target: Any = POD) -> Any:
    before = copy.deepcopy(target)
    result = strategic.merge(kind, target, change)
    assert target == before, "the target is shared and must stay as it is"
    return result


def names(entries: list[Any]) -> list[str]:
    return [entry["name"] for entry in entries]


def test_containers_are_merged_by_name() -> None:
    spec = merged({"spec": {"containers": [{"name": "log", "image": "log:2"}, {"name": "new", "image": "n"}]}})["spec"]
    images = {container["name"]: container["image"] for container in spec["containers"]}
    assert images == {"web": "web:1", "log": "log:2", "new": "n"}


def test_lists_within_lists_are_merged() -> None:
    change = {"spec": {"containers": [{"name": "web", "env": [{"name": "B", "value": "3"}]}]}}
    env = merged(change)["spec"]["containers"][0]["env"]
    assert env == [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}]


def test_an_entry_can_be_deleted() -> None:
    change = {"spec": {"containers": [{"name": "log", "$patch": "delete"}]}}
    assert names(merged(change)["spec"]["containers"]) == ["web"]


def test_a_list_can_be_replaced() -> None:
    change = {"spec": {"containers": [{"$patch": "replace"}, {"name": "only", "image": "o"}]}}
    assert names(merged(change)["spec"]["containers"]) == ["only"]


def test_a_map_can_be_replaced_and_deleted() -> None:
    assert merged({"metadata": {"labels": {"$patch": "replace", "a": "b"}}})["metadata"]["labels"] == {"a": "b"}
    assert "nodeSelector" not in merged({"spec": {"nodeSelector": {"$patch": "delete"}}})["spec"]


def test_lists_without_a_key_are_replaced() -> None:
    assert merged({"spec": {"tolerations": [{"key": "y"}]}})["spec"]["tolerations"] == [{"key": "y"}]


def test_null_removes_a_field() -> None:
    assert merged({"metadata": {"labels": {"tier": None}}})["metadata"]["labels"] == {"app": "web"}


def test_primitive_lists_are_added_to_and_deleted_from() -> None:
    assert merged({"metadata": {"finalizers": ["c/d", "a/b"]}})["metadata"]["finalizers"] == ["a/b", "c/d"]
    change = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/b"]}}
    assert merged(change)["metadata"]["finalizers"] == []


def test_the_clients_order_is_kept() -> None:
    change = {
        "spec": {
            "$setElementOrder/containers": [{"name": "new"}, {"name": "web"}],
            "containers": [{"name": "new", "image": "n"}],
        }
    }
    assert [name for name in names(merged(change)["spec"]["containers"]) if name != "log"] == ["new", "web"]


def test_retained_keys_drop_the_others() -> None:
    target = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    change = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert merged(change, "Deployment", target)["spec"]["strategy"] == {"type": "Recreate"}


def test_service_ports_are_merged_by_port_and_conditions_by_type() -> None:
    target = {
        "spec": {"ports": [{"port": 80, "name": "http"}]},
        "status": {"conditions": [{"type": "A", "status": "x"}]},
    }
    assert (
        len(
            merged({"spec": {"ports": [{"port": 80, "name": "web"}, {"port": 81}]}}, "Service", target)["spec"]["ports"]
        )
        == 2
    )
    change = {"status": {"conditions": [{"type": "A", "status": "y"}]}}
    assert merged(change, "Pod", target)["status"]["conditions"] == [{"type": "A", "status": "y"}]


def test_an_entry_without_its_key_is_refused() -> None:
    with pytest.raises(StatusError, match="merge key name"):
        merged({"spec": {"containers": [{"image": "x"}]}})


def test_a_merge_patch_replaces_lists_and_removes_by_null() -> None:
    assert patch.merge({"a": {"b": 1, "c": 2}, "l": [1, 2]}, {"a": {"b": None}, "l": [3]}) == {"a": {"c": 2}, "l": [3]}


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": "add", "path": "/l/1", "value": 9}, {"l": [1, 9, 2], "m": {"a/b": 1}}),
        ({"op": "add", "path": "/l/-", "value": 9}, {"l": [1, 2, 9], "m": {"a/b": 1}}),
        ({"op": "add", "path": "/n", "value": {}}, {"l": [1, 2], "m": {"a/b": 1}, "n": {}}),
        ({"op": "replace", "path": "/m/a~1b", "value": 5}, {"l": [1, 2], "m": {"a/b": 5}}),
        ({"op": "remove", "path": "/l/0"}, {"l": [2], "m": {"a/b": 1}}),
        ({"op": "move", "from": "/m/a~1b", "path": "/l/0"}, {"l": [1, 1, 2], "m": {}}),
        ({"op": "copy", "from": "/l/1", "path": "/m/c"}, {"l": [1, 2], "m": {"a/b": 1, "c": 2}}),
        ({"op": "test", "path": "/l/0", "value": 1}, {"l": [1, 2], "m": {"a/b": 1}}),
        ({"op": "replace", "path": "/l/1", "value": 7}, {"l": [1, 7], "m": {"a/b": 1}}),
    ],
)
def test_json_patch_operations(operation: Any, result: Any) -> None:
    target = {"l": [1, 2], "m": {"a/b": 1}}
    assert patch.apply_operations(target, [operation]) == result
    assert target == {"l": [1, 2], "m": {"a/b": 1}}


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "test", "path": "/l/0", "value": 2}, 422),
        ({"op": "remove", "path": "/missing"}, 422),
        ({"op": "add", "path": "/l/9", "value": 1}, 422),
        ({"op": "replace", "path": "/missing", "value": 1}, 422),
        ({"op": "frobnicate", "path": "/l"}, 400),
        ({"op": "add", "path": "l"}, 400),
    ],
)
def test_json_patches_that_fail(operation: Any, code: int) -> None:
    with pytest.raises(StatusError) as caught:
        patch.apply_operations({"l": [1]}, [operation])
    assert caught.value.code == code
