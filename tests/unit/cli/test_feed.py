"""What a person is shown of what happens: each thing once, in words, and never a flood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from lateral.cli.feed import A_SECOND, Feed

Object = dict[str, Any]


def feed(clock: Callable[[], float] = lambda: 0.0) -> Feed:
    return Feed(drop="Dropped", unseen="Unseen", clock=clock)


def pod(
    *, ready: bool = False, restarts: int = 0, phase: str = "Running", waiting: Object | None = None, **metadata: str
) -> Object:
    state = {"waiting": waiting} if waiting else {"running": {}}
    return {
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "web", "uid": "1", **metadata},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"restartCount": restarts, "state": state}],
        },
    }


def policy(labels: dict[str, str], types: Sequence[str] = ("Ingress",)) -> Object:
    return {
        "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": "closed", "uid": "2"},
        "spec": {"podSelector": {"matchLabels": labels}, "policyTypes": list(types)},
    }


def event(message: str, count: int = 1, reason: str = "Dropped", uid: str = "3") -> Object:
    return {"kind": "Event", "metadata": {"uid": uid}, "reason": reason, "message": message, "count": count}


def told(of: Feed, *changes: tuple[str, Object]) -> list[str]:
    return [line for change, obj in changes for line in of.lines(change, obj)]


def test_a_pods_life_is_told_step_by_step_and_once() -> None:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s"}
    life = [
        ("ADDED", {"kind": "Pod", "metadata": pod()["metadata"]}),
        ("MODIFIED", pod(phase="Pending", waiting={"reason": "ContainerCreating"})),
        ("MODIFIED", pod(ready=True)),
        ("MODIFIED", pod(ready=True, labelled="yes")),
        ("MODIFIED", pod(waiting=waiting)),
        ("MODIFIED", pod(ready=True, restarts=1)),
        ("MODIFIED", pod(restarts=1, deletionTimestamp="now")),
        ("DELETED", pod(restarts=1, deletionTimestamp="now")),
    ]
    assert told(feed(), *life) == [
        "pod      shop/web created",
        "pod      shop/web ready",
        "pod      shop/web CrashLoopBackOff: back-off 10s",
        "pod      shop/web no longer ready",
        "pod      shop/web restarted (1)",
        "pod      shop/web ready",
        "pod      shop/web gone",
    ]


def test_a_pod_that_ends_by_itself_is_told_how() -> None:
    changes = [("PRESENT", pod(ready=True)), ("MODIFIED", pod(phase="Succeeded"))]
    assert told(feed(), *changes) == ["pod      shop/web ended (Succeeded)"]


def test_what_was_there_before_is_no_news_but_what_becomes_of_it_is() -> None:
    followed = feed()
    present = (pod(ready=True, restarts=2), policy({"app": "web"}), event("a to b dropped: why", 5))
    assert told(followed, *(("PRESENT", one) for one in present)) == []
    assert told(followed, *(("PRESENT", one) for one in present)) == []
    assert told(followed, ("MODIFIED", pod(ready=True, restarts=3)), ("MODIFIED", event("a to b dropped: why", 6))) == [
        "pod      shop/web restarted (3)",
        "drop     a to b: why",
    ]


def test_a_policys_life_says_whom_it_isolates() -> None:
    changes = [
        ("ADDED", policy({"app": "web"})),
        ("MODIFIED", policy({"app": "web"})),
        ("MODIFIED", policy({}, ("Ingress", "Egress"))),
        ("DELETED", policy({})),
    ]
    assert told(feed(), *changes) == [
        "policy   shop/closed applied: isolates ingress of pods with app=web",
        "policy   shop/closed changed: isolates ingress and egress of all pods of the namespace",
        "policy   shop/closed removed",
    ]


def test_expressions_are_part_of_whom_a_policy_isolates() -> None:
    obj = policy({})
    obj["spec"]["podSelector"] = {
        "matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}, {"key": "x", "operator": "Exists"}]
    }
    assert told(feed(), ("ADDED", obj))[0].endswith("isolates ingress of pods with app In a,b, x Exists")


def test_every_further_dropped_connection_is_told_and_other_events_are_not() -> None:
    changes = [
        ("ADDED", event("a to b:1/TCP dropped: why")),
        ("MODIFIED", event("a to b:1/TCP dropped: why")),
        ("MODIFIED", event("a to b:1/TCP dropped: why", 4)),
        ("ADDED", event("Started container", reason="Started", uid="4")),
        ("DELETED", event("a to b:1/TCP dropped: why", 4)),
    ]
    assert told(feed(), *changes) == ["drop     a to b:1/TCP: why", "drop     a to b:1/TCP: why (3 times)"]


def test_a_lab_that_can_not_see_drops_says_so_also_when_that_was_before() -> None:
    assert told(feed(), ("PRESENT", event("this kernel can't", reason="Unseen"))) == ["note     this kernel can't"]


@pytest.mark.parametrize("later", ["another drop", "quiet"])
def test_a_flood_is_cut_and_counted(later: str) -> None:
    now = 10.0
    followed = feed(lambda: now)
    flood = [("ADDED", event("a dropped: why", uid=f"e{number}")) for number in range(A_SECOND + 100)]
    assert told(followed, *flood) == ["drop     a: why"] * A_SECOND
    assert list(followed.late_lines()) == []
    now = 11.0
    counted = "drop     100 more dropped connections, too many to show"
    if later == "quiet":
        assert list(followed.late_lines()) == [counted]
    else:
        assert told(followed, ("ADDED", event("b dropped: why", uid="b"))) == [counted, "drop     b: why"]
    assert list(followed.late_lines()) == []
