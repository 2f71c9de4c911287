"""What policies deny is told as events of the pod that they isolate."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.lab.network.node import TestNode, ask, in_namespaces, node, socket_in

from lateral.lab.network import drops
from lateral.lab.network.drops import COMPONENT, MOST, REASON, UNSEEN_REASON, Drops
from lateral.lab.network.netlink import DUMP, NETFILTER, REQUEST, Message, NetlinkSocket
from lateral.lab.store import Object, Store

if TYPE_CHECKING:
    import pytest

SECONDS = 5.0
WEB = {"matchLabels": {"app": "web"}}
FRIEND = {"matchLabels": {"app": "friend"}}


async def _events(made: TestNode, done: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    """The messages and counts of the drops' events, once they are as wanted, or when the time is over."""
    found: dict[str, int] = {}
    async with asyncio.timeout(SECONDS):
        while not done(found := {event["message"]: event["count"] for event in _drops(made)}):
            await asyncio.sleep(0.01)
    return found


def _drops(made: TestNode) -> list[Object]:
    return [event for event in made.store.list("Event") if event["reason"] == REASON]


def test_a_denied_connection_is_told_with_both_ends_and_the_policies() -> None:
    async def scenario() -> None:
        async with node() as made:
            web = made.pod("web", {"app": "web"}, listens=[("TCP", 80)])
            other = made.pod("stranger", {"app": "stranger"}, namespace="other")
            made.policy("closed", {"podSelector": WEB, "policyTypes": ["Ingress"]})
            made.policy("friends", {"podSelector": WEB, "ingress": [{"from": [{"podSelector": FRIEND}]}]})
            made.policy("elsewhere", {"podSelector": FRIEND, "policyTypes": ["Ingress"]})
            await made.settled()
            assert await ask(other, web.ip, 80) == "dropped"
            by = "NetworkPolicies closed, friends isolate the target's ingress"
            assert await _events(made, bool) == {f"other/stranger to shop/web:80/TCP dropped: {by}": 1}
            (event,) = _drops(made)
            assert (event["type"], event["source"]["component"]) == ("Warning", COMPONENT)
            assert event["metadata"]["namespace"] == "shop"
            assert (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == ("Pod", "web")

    in_namespaces(scenario)


def test_a_denied_way_out_is_told_at_the_source() -> None:
    async def scenario() -> None:
        async with node() as made:
            web = made.pod("web", {"app": "web"}, namespace="other", listens=[("UDP", 53)])
            friend = made.pod("friend", {"app": "friend"})
            made.policy("no-way-out", {"podSelector": FRIEND, "policyTypes": ["Egress"]})
            await made.settled()
            assert await ask(friend, web.ip, 53, "UDP") == "dropped"
            wanted = "shop/friend to other/web:53/UDP dropped: NetworkPolicy no-way-out isolates the source's egress"
            assert await _events(made, bool) == {wanted: 1}
            assert _drops(made)[0]["involvedObject"]["name"] == "friend"

    in_namespaces(scenario)


def test_what_is_allowed_or_refused_is_not_told() -> None:
    async def scenario() -> None:
        async with node() as made:
            web = made.pod("web", {"app": "web"}, listens=[("TCP", 80)])
            friend = made.pod("friend", {"app": "friend"})
            made.policy("friends", {"podSelector": WEB, "ingress": [{"from": [{"podSelector": FRIEND}]}]})
            await made.settled()
            assert (await ask(friend, web.ip, 80)).startswith("web ")
            assert await ask(friend, web.ip, 81) == "refused"
            stranger = made.pod("stranger", {"app": "stranger"})
            await made.settled()
            assert await ask(stranger, web.ip, 82) == "dropped"
            assert [message.split(" ")[2] for message in await _events(made, bool)] == ["shop/web:82/TCP"]

    in_namespaces(scenario)


def test_what_is_sent_again_is_one_connection_and_another_one_is_counted() -> None:
    async def scenario() -> None:
        async with node() as made:
            web = made.pod("web", {"app": "web"})
            stranger = made.pod("stranger")
            made.policy("closed", {"podSelector": WEB, "policyTypes": ["Ingress"]})
            await made.settled()
            client = socket_in(stranger.fd, "UDP")
            for _ in range(3):
                client.sendto(b"?", (web.ip, 53))
            assert list((await _events(made, bool)).values()) == [1]
            socket_in(stranger.fd, "UDP").sendto(b"?", (web.ip, 53))
            assert list((await _events(made, lambda found: sum(found.values()) > 1)).values()) == [2]

    in_namespaces(scenario)


def test_thousands_of_drops_are_few_events_and_none_gets_through() -> None:
    async def scenario() -> None:
        async with node() as made:
            web = made.pod("web", {"app": "web"}, listens=[("TCP", 80)])
            stranger = made.pod("stranger")
            made.policy("closed", {"podSelector": WEB, "policyTypes": ["Ingress"]})
            await made.settled()
            client = socket_in(stranger.fd, "UDP")
            for port in range(1, 5001):
                client.sendto(b"?", (web.ip, port))
            found = await _events(made, lambda found: sum(found.values()) >= 3000)
            assert len(found) == MOST + 1
            assert await ask(stranger, web.ip, 80) == "dropped"

    in_namespaces(scenario)


def test_a_kernel_that_can_not_tell_still_enforces_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    async def scenario() -> None:
        monkeypatch.setattr(drops, "_bind", refuse)
        async with node() as made:
            made.store.create({"kind": "Node", "metadata": {"name": "lab-node"}})
            made.namespace("default")
            web = made.pod("web", {"app": "web"}, listens=[("TCP", 80)])
            stranger = made.pod("stranger")
            made.policy("closed", {"podSelector": WEB, "policyTypes": ["Ingress"]})
            await made.settled()
            assert await ask(stranger, web.ip, 80) == "dropped"
            assert not made.drops.seen
            assert _drops(made) == []

    async def said() -> None:
        monkeypatch.setattr(drops, "_bind", refuse)
        store = Store()
        store.create({"kind": "Namespace", "metadata": {"name": "default"}})
        store.create({"kind": "Node", "metadata": {"name": "lab-node"}})
        running = asyncio.create_task(Drops(store).run())
        async with asyncio.timeout(SECONDS):
            while not store.list("Event"):
                await asyncio.sleep(0)
        (event,) = store.list("Event")
        assert event["reason"] == UNSEEN_REASON
        assert "Operation not supported" in event["message"]
        running.cancel()

    in_namespaces(scenario)
    in_namespaces(said)


def test_the_trial_of_the_rule_leaves_no_table() -> None:
    async def scenario() -> None:
        made = TestNode()
        assert made.drops.seen
        assert b"lateral-trial" not in _tables()

    in_namespaces(scenario)


def _tables() -> bytes:
    """The kernel's answer to a request for all tables of this network namespace."""
    netlink = NetlinkSocket(NETFILTER)
    return b"".join(netlink.dump(Message(10 << 8 | 1, REQUEST | DUMP, bytes([socket.AF_UNSPEC, 0, 0, 0]))))
