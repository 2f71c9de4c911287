"""Events say what happened: the same one again is counted, and the oldest make room."""

from __future__ import annotations

from lateral.lab.events import Recorder
from lateral.lab.store import Object, Store


def populated() -> tuple[Store, Object]:
    store = Store()
    store.create({"kind": "Namespace", "metadata": {"name": "shop"}})
    return store, store.create({"kind": "Pod", "metadata": {"name": "a", "namespace": "shop"}})


def test_an_event_again_raises_its_count() -> None:
    store, pod = populated()
    recorder = Recorder(store)
    for _ in range(3):
        recorder.warning(pod, "Unhealthy", "Readiness probe failed: no", "kubelet")
    (event,) = store.list("Event")
    assert event["count"] == 3
    assert event["involvedObject"]["uid"] == pod["metadata"]["uid"]


def test_the_oldest_events_make_room() -> None:
    store, pod = populated()
    recorder = Recorder(store, kept=2)
    for message in ("one", "two", "one", "three"):
        recorder.normal(pod, "Pulled", message, "kubelet")
    assert {event["message"] for event in store.list("Event")} == {"one", "three"}


def test_an_event_that_somebody_deleted_starts_again() -> None:
    store, pod = populated()
    recorder = Recorder(store)
    recorder.normal(pod, "Pulled", "one", "kubelet")
    store.remove("Event", "shop", store.list("Event")[0]["metadata"]["name"])
    recorder.normal(pod, "Pulled", "one", "kubelet")
    assert [event["count"] for event in store.list("Event")] == [1]
