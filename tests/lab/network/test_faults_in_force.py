"""What the lab's faults do to real packets, and what becomes of the same packets without them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from tests.lab.network.node import TestNode, TestPod, ask, in_namespaces, node, reaches, socket_in

from lateral.lab.faults import FAULTS
from lateral.lab.network.addresses import SECOND_NODE

if TYPE_CHECKING:
    from tests.unit.network.plain_reading import Object

HTTP, ADMIN, DNS = ("TCP", 80), ("TCP", 8080), ("UDP", 53)
WEB, CLIENT, OTHER = ({"matchLabels": {"app": name}} for name in ("web", "client", "other"))
DENY_ALL: Object = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
SERVICE = "10.102.0.80"
CONNECTIONS = 400
TWO_TRIES = 1.4
"""Seconds in which a client sends its SYN twice."""

Situation = Callable[[TestNode], Awaitable[object]]


def isolated(direction: str, **rule: object) -> Object:
    """Everybody's traffic in one direction denied, but for what a rule allows."""
    return {"podSelector": {}, "policyTypes": [direction], direction.lower(): [rule] if rule else []}


async def pair(lab: TestNode, policy: Object | None = None, namespace: str = "shop") -> tuple[TestPod, TestPod]:
    """A client in some namespace and the web that it dials, with a policy of web's namespace in force."""
    web = lab.pod("web", {"app": "web"}, listens=(HTTP, ADMIN, DNS))
    client = lab.pod("client", {"app": "client"}, namespace)
    if policy is not None:
        lab.policy("policy", policy)
    await lab.settled()
    return client, web


async def closing(client: TestPod, web: TestPod, limit: float = 10.0) -> float:
    """The seconds until web can't be reached any more."""
    began = time.monotonic()
    while await reaches(client, web):
        assert time.monotonic() - began < limit
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def denied(lab: TestNode) -> object:
    return await reaches(*await pair(lab, DENY_ALL))


async def denied_by_direction(lab: TestNode) -> object:
    """What is open when only ingress is denied, and when only egress is."""
    client, web = await pair(lab, isolated("Ingress"))
    at_target = await reaches(client, web)
    lab.policy("policy", isolated("Egress"))
    await lab.settled()
    return at_target, await reaches(client, web)


async def by_namespace(lab: TestNode) -> object:
    """From another namespace than the one that is let in: with no more said of the peer, and with other labels."""
    shop = {"matchLabels": {"team": "a"}}
    client, web = await pair(lab, isolated("Ingress", **{"from": [{"namespaceSelector": shop}]}), "other")
    found = await reaches(client, web)
    peer = {"namespaceSelector": shop, "podSelector": OTHER}
    lab.policy("policy", isolated("Ingress", **{"from": [peer]}))
    await lab.settled()
    return found, await reaches(client, web)


async def by_label(lab: TestNode) -> object:
    """With other labels than those that are let in, from that namespace and from another."""
    client, web = await pair(lab, isolated("Ingress", **{"from": [{"podSelector": OTHER}]}))
    stranger = lab.pod("stranger", {"app": "client"}, "other")
    await lab.settled()
    return await reaches(client, web), await reaches(stranger, web)


async def excepted(lab: TestNode) -> object:
    client, web = await pair(lab)
    block = {"cidr": "10.101.0.0/16", "except": [f"{client.ip}/32"]}
    lab.policy("policy", isolated("Ingress", **{"from": [{"ipBlock": block}]}))
    await lab.settled()
    return await reaches(client, web)


async def by_port(lab: TestNode) -> object:
    """At the allowed port, at another, and at another of somebody who isn't allowed any."""
    rule = {"from": [{"podSelector": CLIENT}], "ports": [{"port": 80}]}
    client, web = await pair(lab, isolated("Ingress", **rule))
    stranger = lab.pod("stranger", {"app": "stranger"})
    await lab.settled()
    return await reaches(client, web), await reaches(client, web, 8080), await reaches(stranger, web, 8080)


async def by_protocol(lab: TestNode) -> object:
    client, web = await pair(lab, DENY_ALL)
    return await reaches(client, web), await reaches(client, web, 53, "UDP")


async def updated(lab: TestNode) -> object:
    """Denied, then allowed by the same policy, then by a new one of its name."""
    client, web = await pair(lab, isolated("Ingress"))
    first = await reaches(client, web)
    allowing = isolated("Ingress", **{"from": []})
    lab.policy("policy", allowing)
    await lab.settled()
    second = await reaches(client, web)
    lab.store.remove("NetworkPolicy", "shop", "policy")
    lab.policy("policy", allowing)
    await lab.settled()
    return first, second, await reaches(client, web)


async def relabelled(lab: TestNode) -> object:
    """A client that becomes somebody who isn't let in, and a new pod that is nobody from the start."""
    client, web = await pair(lab, isolated("Ingress", **{"from": [{"podSelector": CLIENT}]}))
    lab.store.modify("Pod", "shop", "client", lambda pod: pod["metadata"].update(labels={"app": "other"}))
    newcomer = lab.pod("newcomer", {"app": "other"})
    await lab.settled()
    return await reaches(client, web), await reaches(newcomer, web)


async def deleted(lab: TestNode) -> object:
    client, web = await pair(lab, DENY_ALL)
    lab.store.remove("NetworkPolicy", "shop", "policy")
    await lab.settled()
    return await reaches(client, web)


async def on_both_nodes(lab: TestNode) -> object:
    """From one node to the other and within each, when ingress is denied."""
    here, there = lab.pod("here", listens=[HTTP]), lab.pod("there", listens=[HTTP], node=SECOND_NODE)
    client, other = lab.pod("client"), lab.pod("other", node=SECOND_NODE)
    lab.policy("policy", isolated("Ingress"))
    await lab.settled()
    ways = [(source, target) for source in (client, other) for target in (here, there)]
    return tuple(await asyncio.gather(*(reaches(source, target) for source, target in ways)))


async def refused(lab: TestNode) -> object:
    """A denied connection by the pod's address and by its Service's, and a denied datagram."""
    client, web = await pair(lab)
    lab.service("web", SERVICE, [{"port": 80}])
    lab.endpoints("web", [{"port": 80}], {web.ip: True})
    lab.policy("policy", DENY_ALL)
    await lab.settled()
    return [await ask(client, *to) for to in ((web.ip, 80), (SERVICE, 80), (web.ip, 53, "UDP"))]


CASES: dict[str, tuple[Situation, object, object]] = {
    "ignore-policies": (denied, True, False),
    "ingress-only": (denied_by_direction, (False, True), (False, False)),
    "egress-only": (denied_by_direction, (True, False), (False, False)),
    "any-namespace": (by_namespace, (True, False), (False, False)),
    "any-pod": (by_label, (True, False), (False, False)),
    "no-except": (excepted, True, False),
    "ports-ignored": (by_port, (True, True, False), (True, False, False)),
    "udp-open": (by_protocol, (False, True), (False, False)),
    "stale-update": (updated, (False, False, True), (False, True, True)),
    "stale-labels": (relabelled, (True, False), (False, False)),
    "never-removed": (deleted, False, True),
    "one-node": (on_both_nodes, (False, True, False, True), (False, False, False, False)),
    "rejects": (refused, ["refused"] * 3, ["dropped"] * 3),
}
BY_TIME_OR_CHANCE = {"slow-5s", "leaky", "agent-dies", "new-pod-window"}
NOT_OF_PACKETS = {"slow-api"}


def test_every_fault_is_tried_here_or_where_the_api_is() -> None:
    assert {*CASES, *BY_TIME_OR_CHANCE, *NOT_OF_PACKETS} == set(FAULTS)


@pytest.mark.parametrize("fault", CASES)
def test_a_fault_does_what_it_says_and_without_it_nothing_is_amiss(fault: str) -> None:
    situation, faulty, sound = CASES[fault]

    async def scenario() -> None:
        async with node(fault) as lab:
            assert await situation(lab) == faulty

    async def control() -> None:
        async with node() as lab:
            assert await situation(lab) == sound

    in_namespaces(scenario)
    in_namespaces(control)


def test_a_slow_engine_closes_and_opens_five_seconds_late() -> None:
    async def scenario() -> None:
        async with node("slow-5s") as lab:
            client, web = await pair(lab, DENY_ALL)
            assert 4.0 < await closing(client, web) < 8.0

    async def control() -> None:
        async with node() as lab:
            assert not await reaches(*await pair(lab, DENY_ALL))

    in_namespaces(scenario)
    in_namespaces(control)


def test_an_agent_dies_in_the_middle_of_things_and_does_not_come_back() -> None:
    async def several(lab: TestNode) -> tuple[TestPod, TestPod]:
        for at in range(8):
            lab.policy(f"policy-{at}", DENY_ALL)
        return await pair(lab)

    async def scenario() -> None:
        async with node("agent-dies") as lab:
            client, web = await several(lab)
            began = time.monotonic()
            assert not await reaches(client, web)
            while not await reaches(client, web):
                assert time.monotonic() - began < 10
            assert time.monotonic() - began > 2
            lab.policy("another", DENY_ALL)
            await lab.settled()
            assert await reaches(client, web)

    async def control() -> None:
        async with node() as lab:
            client, web = await several(lab)
            began = time.monotonic()
            while time.monotonic() - began < 4:
                assert not await reaches(client, web)

    in_namespaces(scenario)
    in_namespaces(control)


def test_a_new_pod_is_open_at_first_in_both_directions_and_only_it() -> None:
    async def newcomers(lab: TestNode) -> tuple[TestPod, TestPod, TestPod]:
        old = lab.pod("old", {"app": "old"}, listens=[HTTP])
        lab.policy("in", isolated("Ingress"))
        await lab.settled()
        await closing(lab.pod("first"), old)
        lab.policy("in", {**isolated("Ingress"), "podSelector": WEB})
        lab.policy("out", {**isolated("Egress"), "podSelector": CLIENT})
        client, web = await pair(lab)
        return old, client, web

    async def scenario() -> None:
        async with node("new-pod-window") as lab:
            old, client, web = await newcomers(lab)
            assert await reaches(client, old)
            assert await reaches(old, web)
            assert 1.0 < await closing(old, web) < 5.0
            assert not await reaches(client, old)
            lab.policy("old", {**isolated("Ingress"), "podSelector": {"matchLabels": {"app": "old"}}})
            newcomer = lab.pod("newcomer")
            await lab.settled()
            assert not await reaches(newcomer, old)

    async def control() -> None:
        async with node() as lab:
            old, client, web = await newcomers(lab)
            assert not await reaches(client, old)
            assert not await reaches(old, web)

    in_namespaces(scenario)
    in_namespaces(control)


async def _connects(source: TestPod, target: TestPod) -> bool:
    made = socket_in(source.fd, "TCP")
    made.setblocking(False)
    with made, contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TWO_TRIES):
            await asyncio.get_running_loop().sock_connect(made, (target.ip, 80))
            return True
    return False


def test_a_leaky_engine_lets_one_connection_in_ten_through_however_often_its_first_packet_is_sent() -> None:
    async def scenario() -> None:
        async with node("leaky") as lab:
            client, web = await pair(lab, DENY_ALL)
            through = sum(await asyncio.gather(*(_connects(client, web) for _ in range(CONNECTIONS))))
            assert CONNECTIONS // 20 < through < CONNECTIONS * 3 // 20
            datagrams = await asyncio.gather(*(reaches(client, web, 53, "UDP") for _ in range(100)))
            assert 0 < sum(datagrams) < 30

    async def control() -> None:
        async with node() as lab:
            client, web = await pair(lab, DENY_ALL)
            assert not any(await asyncio.gather(*(_connects(client, web) for _ in range(CONNECTIONS))))

    in_namespaces(scenario)
    in_namespaces(control)
