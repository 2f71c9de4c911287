"""The lab's store keeps versions, hands out every change in order, and says when a watch starts too far back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lateral.lab import store as store_module
from lateral.lab.status import StatusError
from lateral.lab.store import Change, Store


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"namespace": "shop", "name": name}, "data": data}


def test_a_created_object_gets_an_identity_of_its_own() -> None:
    store = Store()
    given = config_map("a")
    first = store.create(given)["metadata"]
    second = store.create(config_map("b"))["metadata"]
    assert first["uid"] != second["uid"]
    assert int(first["resourceVersion"]) < int(second["resourceVersion"]) == store.version
    assert "uid" not in given["metadata"]


def test_a_second_object_of_the_same_name_is_refused() -> None:
    store = Store()
    store.create(config_map("a"))
    with pytest.raises(StatusError, match='configmaps "a" already exists') as refused:
        store.create(config_map("a"))
    assert (refused.value.code, refused.value.reason) == (409, "AlreadyExists")


def test_a_stale_version_is_a_conflict_and_changes_nothing() -> None:
    store = Store()
    stale = store.create(config_map("a", v="1"))
    store.replace(config_map("a", v="2"))
    with pytest.raises(StatusError, match="the object has been modified"):
        store.replace({**config_map("a", v="3"), "metadata": dict(stale["metadata"])})
    assert store.get("ConfigMap", "shop", "a")["data"] == {"v": "2"}


def test_replacing_an_object_by_its_equal_is_no_change() -> None:
    store = Store()
    store.create(config_map("a", v="1"))
    version = store.version
    changes = store.subscribe(["ConfigMap"])
    store.modify("ConfigMap", "shop", "a", lambda obj: obj["data"].update(v="1"))
    assert store.version == version
    assert changes.drain() == []


def test_modify_leaves_what_was_handed_out_before_as_it_was() -> None:
    store = Store()
    before = store.create(config_map("a", v="1"))
    after = store.modify("ConfigMap", "shop", "a", lambda obj: obj["data"].update(v="2"))
    assert (before["data"], after["data"]) == ({"v": "1"}, {"v": "2"})
    assert before["metadata"]["uid"] == after["metadata"]["uid"]


def test_a_subscriber_sees_every_change_of_its_kinds_in_order() -> None:
    async def scenario() -> list[Change]:
        store = Store()
        changes = store.subscribe(["ConfigMap"])
        store.create(config_map("a", v="1"))
        store.create({"kind": "Secret", "apiVersion": "v1", "metadata": {"namespace": "shop", "name": "s"}})
        store.modify("ConfigMap", "shop", "a", lambda obj: obj["data"].update(v="2"))
        store.remove("ConfigMap", "shop", "a")
        return [await asyncio.wait_for(changes.next(), 1) for _ in range(3)]

    added, modified, deleted = asyncio.run(scenario())
    assert [c.type for c in (added, modified, deleted)] == ["ADDED", "MODIFIED", "DELETED"]
    assert added.version < modified.version < deleted.version
    assert modified.before is not None
    assert modified.before["data"] == {"v": "1"}
    assert deleted.object["metadata"]["resourceVersion"] == str(deleted.version)


def test_a_watch_resumes_from_a_version_it_has_seen() -> None:
    store = Store()
    seen = int(store.create(config_map("a"))["metadata"]["resourceVersion"])
    store.create(config_map("b"))
    assert [c.object["metadata"]["name"] for c in store.subscribe(["ConfigMap"], since=seen).drain()] == ["b"]


def test_a_watch_from_a_version_that_is_no_longer_kept_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "HISTORY", 3)
    store = Store()
    for name in "abcdef":
        store.create(config_map(name))
    with pytest.raises(StatusError, match="too old resource version: 2") as refused:
        store.subscribe(["ConfigMap"], since=2)
    assert refused.value.code == 410
    assert len(store.subscribe(["ConfigMap"], since=3).drain()) == 3


def test_a_closed_subscription_hears_nothing_more() -> None:
    store = Store()
    changes = store.subscribe(["ConfigMap"])
    changes.close()
    store.create(config_map("a"))
    assert changes.drain() == []


def test_objects_are_listed_by_namespace_and_name() -> None:
    store = Store()
    store.create(config_map("b"))
    store.create(config_map("a"))
    store.create({**config_map("c"), "metadata": {"namespace": "other", "name": "c"}})
    assert [o["metadata"]["name"] for o in store.list("ConfigMap")] == ["c", "a", "b"]
    assert [o["metadata"]["name"] for o in store.list("ConfigMap", "shop")] == ["a", "b"]
