"""What NetworkPolicies do to real packets between pods."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.lab.network.node import TestNode, TestPod, ask, in_namespaces, node, reaches, socket_in
from tests.unit.network.plain_reading import NAMESPACES, POLICIES, Object, clusters, plainly_allowed

PORTS = (("TCP", 80), ("TCP", 8080), ("UDP", 53))
EVERYTHING = {
    f"{source}>{target}:{port}/{protocol}"
    for source in ("friend", "peer", "stranger")
    for target in ("web", "db")
    for protocol, port in PORTS
}
WEB: Object = {"matchLabels": {"app": "web"}}
FRIEND: Object = {"matchLabels": {"app": "friend"}}
NO_FRIEND: Object = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["friend"]}]}
HTTP_AT_80 = {"name": "http", "protocol": "TCP", "containerPort": 80}
HTTP_AT_8080 = {"name": "http", "protocol": "TCP", "containerPort": 8080}
SHOP: Object = {"matchLabels": {"team": "a"}}


def to_web(*flows: str) -> set[str]:
    """What is left when of all flows to web only these stay, and none to db is touched."""
    return {flow for flow in EVERYTHING if ">db:" in flow} | set(flows)


def from_friend(*flows: str) -> set[str]:
    return {flow for flow in EVERYTHING if not flow.startswith("friend>")} | set(flows)


def ingress(*rules: Object) -> Object:
    return {"podSelector": WEB, "ingress": list(rules)}


def egress(*rules: Object) -> Object:
    return {"podSelector": FRIEND, "policyTypes": ["Egress"], "egress": list(rules)}


def any_port(*pairs: str) -> set[str]:
    return {f"{pair}:{port}/{protocol}" for pair in pairs for protocol, port in PORTS}


CASES: list[tuple[str, list[Object], set[str]]] = [
    ("no policy, nothing closed", [], EVERYTHING),
    ("default deny", [{"podSelector": {}}], set()),
    ("deny one pod's ingress", [ingress()], to_web()),
    ("an empty rule allows all", [ingress({})], EVERYTHING),
    (
        "by label, in the policy's own namespace only",
        [ingress({"from": [{"podSelector": FRIEND}]})],
        to_web(*any_port("friend>web")),
    ),
    (
        "by namespace",
        [ingress({"from": [{"namespaceSelector": {"matchLabels": {"team": "b"}}}]})],
        to_web(*any_port("stranger>web")),
    ),
    (
        "by label in any namespace",
        [ingress({"from": [{"namespaceSelector": {}, "podSelector": FRIEND}]})],
        to_web(*any_port("friend>web", "stranger>web")),
    ),
    (
        "two peers are alternatives",
        [ingress({"from": [{"podSelector": {"matchLabels": {"app": "peer"}}}, {"namespaceSelector": {}}]})],
        EVERYTHING,
    ),
    (
        "by expressions",
        [ingress({"from": [{"podSelector": NO_FRIEND}]})],
        to_web(*any_port("peer>web")),
    ),
    (
        "one port of one protocol",
        [ingress({"ports": [{"port": 80}]})],
        to_web(*(f"{s}>web:80/TCP" for s in ("friend", "peer", "stranger"))),
    ),
    (
        "any port of UDP",
        [ingress({"ports": [{"protocol": "UDP"}]})],
        to_web(*(f"{s}>web:53/UDP" for s in ("friend", "peer", "stranger"))),
    ),
    (
        "a range of ports",
        [ingress({"from": [{"podSelector": {}}], "ports": [{"port": 81, "endPort": 8080}]})],
        to_web("friend>web:8080/TCP", "peer>web:8080/TCP"),
    ),
    (
        "a port by name means each pod's own number",
        [{"podSelector": {}, "ingress": [{"from": [{"podSelector": FRIEND}], "ports": [{"port": "http"}]}]}],
        {"friend>web:80/TCP", "friend>db:8080/TCP"},
    ),
    (
        "a name is a name of one protocol",
        [ingress({"ports": [{"port": "http", "protocol": "UDP"}]})],
        to_web(),
    ),
    (
        "a block without a part of it",
        [ingress({"from": [{"ipBlock": {"cidr": "10.101.0.0/24", "except": ["10.101.0.4/31"]}}]})],
        to_web(*any_port("friend>web")),
    ),
    (
        "policies add up",
        [
            ingress({"from": [{"podSelector": FRIEND}], "ports": [{"port": 80}]}),
            ingress({"ports": [{"port": 53, "protocol": "UDP"}]}),
        ],
        to_web("friend>web:80/TCP", "friend>web:53/UDP", "peer>web:53/UDP", "stranger>web:53/UDP"),
    ),
    ("deny one pod's egress", [egress()], from_friend()),
    (
        "egress by label and port",
        [egress({"to": [{"podSelector": WEB}], "ports": [{"port": 80}]})],
        from_friend("friend>web:80/TCP"),
    ),
    (
        "egress to a port by name",
        [egress({"to": [{"podSelector": {}}], "ports": [{"port": "http"}]})],
        from_friend("friend>web:80/TCP", "friend>db:8080/TCP"),
    ),
    (
        "egress to a name anywhere",
        [egress({"ports": [{"port": "http"}]})],
        from_friend("friend>web:80/TCP", "friend>db:8080/TCP"),
    ),
    (
        "both ends have to allow",
        [
            egress({"to": [{"podSelector": WEB}]}),
            ingress({"from": [{"podSelector": FRIEND}], "ports": [{"port": 8080}]}),
        ],
        from_friend("friend>web:8080/TCP") - any_port("peer>web", "stranger>web"),
    ),
]


@pytest.mark.parametrize(
    ("specs", "allowed"), [pytest.param(specs, allowed, id=words) for words, specs, allowed in CASES]
)
def test_policies_let_through(specs: list[Object], allowed: set[str]) -> None:
    async def scenario() -> None:
        async with node() as lab:
            targets = [
                lab.pod("web", {"app": "web"}, listens=PORTS, ports=[HTTP_AT_80]),
                lab.pod("db", {"app": "db"}, listens=PORTS, ports=[HTTP_AT_8080]),
            ]
            sources = [
                lab.pod("friend", {"app": "friend"}),
                lab.pod("peer", {"app": "peer"}),
                lab.pod("stranger", {"app": "friend"}, namespace="other"),
            ]
            for at, spec in enumerate(specs):
                lab.policy(f"policy-{at}", spec)
            await lab.settled()
            flows = [(s, t, protocol, port) for s in sources for t in targets for protocol, port in PORTS]
            found = await asyncio.gather(*(reaches(s, t, port, protocol) for s, t, protocol, port in flows))
            names = [f"{s.name}>{t.name}:{port}/{protocol}" for s, t, protocol, port in flows]
            assert {name for name, open_ in zip(names, found, strict=True) if open_} == allowed

    in_namespaces(scenario)


@settings(max_examples=6, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(clusters(), POLICIES)
def test_policies_by_chance_agree_with_a_plain_reading(objects: list[Object], policies: list[Object]) -> None:
    ports = (("TCP", 80), ("UDP", 53), ("TCP", 8080))

    async def scenario() -> None:
        async with node() as lab:
            lab.store.remove("Namespace", "", "shop")
            lab.store.remove("Namespace", "", "other")
            for namespace in NAMESPACES:
                lab.store.create({"kind": "Namespace", **namespace})
            pods = []
            for made in objects:
                meta, container = made["metadata"], made["spec"]["containers"][0]
                pods.append(lab.pod(meta["name"], meta["labels"], meta["namespace"], ports, container["ports"]))
                assert pods[-1].ip == made["status"]["podIP"]
            for at, each in enumerate(policies):
                lab.policy(f"policy-{at}", each["spec"], each["metadata"]["namespace"])
            await lab.settled()
            pairs = [(s, t, p) for s in range(len(pods)) for t in range(len(pods)) for p in ports]
            found = await asyncio.gather(*(reaches(pods[s], pods[t], port, proto) for s, t, (proto, port) in pairs))
            plain = [plainly_allowed(objects[s], objects[t], proto, port, policies) for s, t, (proto, port) in pairs]
            different = [
                (pods[s].name, pods[t].name, p, f)
                for (s, t, p), f, q in zip(pairs, found, plain, strict=True)
                if f != q
            ]
            assert different == []

    in_namespaces(scenario)


DENY_ALL: Object = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_the_node_reaches_its_pods_and_they_reach_it_whatever_policies_say() -> None:
    async def scenario() -> None:
        async with node() as lab:
            web = lab.pod("web", listens=[("TCP", 80)])
            agent = lab.pod("agent", host_network=True, listens=[("TCP", 9100), ("UDP", 9100)])
            lab.policy("deny", DENY_ALL)
            await lab.settled()
            assert await ask(agent, web.ip, 80) == "web 10.100.0.1"
            assert await reaches(web, agent, 9100)
            assert await reaches(web, agent, 9100, "UDP")

    in_namespaces(scenario)


def test_a_pod_always_reaches_itself() -> None:
    async def scenario() -> None:
        async with node() as lab:
            web = lab.pod("web", listens=[("TCP", 80)])
            lab.policy("deny", DENY_ALL)
            await lab.settled()
            assert await reaches(web, web)

    in_namespaces(scenario)


def test_pods_that_have_ended_are_not_isolated_and_no_peers() -> None:
    async def scenario() -> None:
        async with node() as lab:
            web = lab.pod("web", {"app": "web"}, listens=[("TCP", 80)], phase="Failed")
            client = lab.pod("client", {"app": "client"})
            lab.policy("deny", {"podSelector": WEB})
            await lab.settled()
            assert await reaches(client, web)

    in_namespaces(scenario)


async def _changes(lab: TestNode, web: TestPod, client: TestPod, change: Any, open_: bool) -> None:
    change()
    await lab.settled()
    assert await reaches(client, web) is open_


def test_rules_follow_policies_labels_pods_and_namespaces() -> None:
    async def scenario() -> None:
        async with node() as lab:
            web = lab.pod("web", {"app": "web"}, listens=[("TCP", 80)])
            client = lab.pod("client", namespace="other")
            store = lab.store
            friends = {"namespaceSelector": SHOP, "podSelector": FRIEND}

            def label(kind: str, namespace: str, name: str, **labels: str) -> Any:
                return lambda: store.modify(kind, namespace, name, lambda obj: obj["metadata"].update(labels=labels))

            await _changes(lab, web, client, lambda: lab.policy("web", ingress({"from": [friends]})), False)
            await _changes(lab, web, client, label("Pod", "other", "client", app="friend"), False)
            await _changes(lab, web, client, label("Namespace", "", "other", team="a"), True)
            await _changes(lab, web, client, label("Pod", "other", "client"), False)
            newcomer = lab.pod("newcomer", {"app": "friend"})
            await _changes(lab, web, newcomer, lambda: None, True)
            await _changes(lab, web, newcomer, label("Namespace", "", "shop", team="z"), False)
            await _changes(lab, web, newcomer, label("Pod", "shop", "web", app="else"), True)
            await _changes(lab, web, newcomer, lambda: lab.policy("web", DENY_ALL), False)
            await _changes(lab, web, newcomer, lambda: store.remove("NetworkPolicy", "shop", "web"), True)

    in_namespaces(scenario)


def test_an_established_connection_survives_a_policy_that_closes_its_path() -> None:
    async def scenario() -> None:
        async with node() as lab:
            web = lab.pod("web", {"app": "web"}, listens=[("TCP", 80)])
            client = lab.pod("client")
            await lab.settled()
            made = socket_in(client.fd, "TCP")
            assert await ask(client, web.ip, 80, client=made) == f"web {client.ip}"
            lab.policy("deny", {"podSelector": {}})
            await lab.settled()
            assert not await reaches(client, web)
            await asyncio.get_running_loop().sock_sendall(made, b"still there?")
            async with asyncio.timeout(5):
                assert await asyncio.get_running_loop().sock_recv(made, 100) == b"still there?"
            made.close()

    in_namespaces(scenario)


def test_a_datagram_that_was_dropped_leaves_nothing_that_keeps_its_flow_closed() -> None:
    async def scenario() -> None:
        async with node() as lab:
            web = lab.pod("web", listens=[("UDP", 53)])
            client = lab.pod("client")
            lab.policy("deny", {"podSelector": {}})
            await lab.settled()
            made = socket_in(client.fd, "UDP")
            assert await ask(client, web.ip, 53, "UDP", client=made) == "dropped"
            lab.store.remove("NetworkPolicy", "shop", "deny")
            await lab.settled()
            assert await ask(client, web.ip, 53, "UDP", client=made) == f"web {client.ip}"
            made.close()

    in_namespaces(scenario)


def test_a_pod_can_not_borrow_the_address_of_another() -> None:
    async def scenario() -> None:
        async with node() as lab:
            web = lab.pod("web", {"app": "web"}, listens=[("UDP", 53)])
            friend = lab.pod("friend", {"app": "friend"})
            rogue = lab.pod("rogue")
            lab.policy("web", ingress({"from": [{"podSelector": FRIEND}]}))
            await lab.settled()
            received = socket_in(web.fd, "UDP")
            received.bind(("", 9))
            received.settimeout(0.5)
            for pod in (friend, rogue):
                made = socket_in(pod.fd, "UDP")
                made.setsockopt(socket.IPPROTO_IP, socket.IP_TRANSPARENT, 1)
                made.bind((friend.ip, 0))
                made.sendto(pod.name.encode(), (web.ip, 9))
                made.close()
            assert received.recv(100) == b"friend"
            with pytest.raises(TimeoutError):
                received.recv(100)
            received.close()

    in_namespaces(scenario)


def test_an_engine_that_ignores_policies_lets_everything_through() -> None:
    async def scenario() -> None:
        async with node(fault="ignore-policies") as lab:
            web, client = lab.pod("web", listens=[("TCP", 80)]), lab.pod("client")
            lab.policy("deny", DENY_ALL)
            await lab.settled()
            assert await reaches(client, web)

    in_namespaces(scenario)
