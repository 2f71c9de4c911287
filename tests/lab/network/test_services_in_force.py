"""What Services do to real packets, and how policies see them."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
from tests.lab.network.node import TestNode, TestPod, ask, in_namespaces, node, reaches, socket_in

WEB_IP, DNS_IP, LOST_IP = "10.102.0.20", "10.102.0.10", "10.102.9.9"
HTTP = {"name": "http", "port": 80, "protocol": "TCP"}
HTTP_AT_8080 = {"name": "http", "port": 8080, "protocol": "TCP"}
DNS = {"name": "dns", "port": 53, "protocol": "UDP"}


def web_service(lab: TestNode, *ready: TestPod, unready: tuple[TestPod, ...] = ()) -> None:
    lab.service("web", WEB_IP, [{**HTTP, "nodePort": 30001}], type_="NodePort")
    endpoints = {**{pod.ip: True for pod in ready}, **{pod.ip: False for pod in unready}}
    lab.endpoints("web", [HTTP_AT_8080], endpoints)


def test_a_service_spreads_connections_over_its_ready_pods_which_see_who_calls() -> None:
    async def scenario() -> None:
        async with node() as lab:
            pods = [lab.pod(f"web-{at}", listens=[("TCP", 8080)]) for at in range(3)]
            client = lab.pod("client")
            web_service(lab, *pods[:2], unready=(pods[2],))
            await lab.settled()
            answers = {await ask(client, WEB_IP, 80) for _ in range(40)}
            assert answers == {f"web-0 {client.ip}", f"web-1 {client.ip}"}

    in_namespaces(scenario)


def test_the_node_reaches_services_too() -> None:
    async def scenario() -> None:
        async with node() as lab:
            web, agent = lab.pod("web", listens=[("TCP", 8080)]), lab.pod("agent", host_network=True)
            web_service(lab, web)
            await lab.settled()
            assert await ask(agent, WEB_IP, 80) == "web 10.100.0.1"
            assert await ask(agent, "10.100.0.1", 30001) == "web 10.100.0.1"

    in_namespaces(scenario)


def test_a_service_may_lead_to_a_pod_of_the_nodes_network() -> None:
    async def scenario() -> None:
        async with node() as lab:
            agent = lab.pod("agent", host_network=True, listens=[("TCP", 8080)])
            client = lab.pod("client")
            web_service(lab, agent)
            await lab.settled()
            assert await ask(client, WEB_IP, 80) == f"agent {client.ip}"

    in_namespaces(scenario)


def test_a_node_port_leads_to_the_pod_and_policies_judge_who_really_calls() -> None:
    async def scenario() -> None:
        async with node() as lab:
            web = lab.pod("web", {"app": "web"}, listens=[("TCP", 8080)])
            friend, rogue = lab.pod("friend", {"app": "friend"}), lab.pod("rogue")
            web_service(lab, web)
            rule = {"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}], "ports": [{"port": 8080}]}
            lab.policy("web", {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [rule]})
            await lab.settled()
            for address, port in ((WEB_IP, 80), ("10.100.0.1", 30001)):
                assert await ask(friend, address, port) == f"web {friend.ip}"
                assert await ask(rogue, address, port) == "dropped"

    in_namespaces(scenario)


def test_egress_rules_see_the_pod_behind_the_service_not_its_address() -> None:
    async def scenario() -> None:
        async with node() as lab:
            web, client = lab.pod("web", listens=[("TCP", 8080)]), lab.pod("client", {"app": "client"})
            web_service(lab, web)
            only = {"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"]}
            lab.policy("client", {**only, "egress": [{"to": [{"ipBlock": {"cidr": "10.102.0.0/16"}}]}]})
            await lab.settled()
            assert await ask(client, WEB_IP, 80) == "dropped"
            lab.policy("client", {**only, "egress": [{"to": [{"ipBlock": {"cidr": f"{web.ip}/32"}}]}]})
            await lab.settled()
            assert await ask(client, WEB_IP, 80) == f"web {client.ip}"

    in_namespaces(scenario)


@pytest.mark.parametrize("policy", [False, True], ids=["without policies", "under default deny"])
def test_a_pod_reaches_itself_by_its_service(policy: bool) -> None:
    async def scenario() -> None:
        async with node() as lab:
            web = lab.pod("web", listens=[("TCP", 8080)])
            web_service(lab, web)
            if policy:
                lab.policy("deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
            await lab.settled()
            assert await ask(web, WEB_IP, 80) == "web 10.100.0.1"

    in_namespaces(scenario)


@pytest.mark.parametrize("from_node", [False, True], ids=["from a pod", "from the node"])
def test_what_no_endpoint_serves_is_refused_and_what_no_service_has_is_dropped(from_node: bool) -> None:
    async def scenario() -> None:
        async with node() as lab:
            web = lab.pod("web", listens=[("TCP", 8080)])
            client = lab.pod("client", host_network=from_node)
            web_service(lab, unready=(web,))
            lab.service("dns", DNS_IP, [DNS])
            await lab.settled()
            assert [await ask(client, WEB_IP, port) for port in (80, 81)] == ["refused", "refused"]
            assert await ask(client, LOST_IP, 80) == "dropped"
            if not from_node:  # the node's own datagrams don't even leave the socket
                assert await ask(client, DNS_IP, 53, "UDP") == "refused"
            # More at once than the kernel would answer if it limited its refusals.
            assert set(await asyncio.gather(*(ask(client, WEB_IP, 80) for _ in range(30)))) == {"refused"}

    in_namespaces(scenario)


def test_a_udp_flow_that_keeps_its_port_follows_the_service_to_other_pods() -> None:
    async def scenario() -> None:
        async with node() as lab:
            first, second = (lab.pod(f"dns-{at}", listens=[("UDP", 53)]) for at in range(2))
            client = lab.pod("client")
            lab.service("dns", DNS_IP, [{**DNS, "nodePort": 30053}], type_="NodePort")
            await lab.settled()
            made, by_node_port = socket_in(client.fd, "UDP"), socket_in(client.fd, "UDP")
            for pod in (first, second):
                assert await ask(client, "10.100.0.1", 30053, "UDP", client=by_node_port) != f"{pod.name} {client.ip}"
                lab.endpoints("dns", [DNS], {pod.ip: True})
                await lab.settled()
                assert await ask(client, DNS_IP, 53, "UDP", client=made) == f"{pod.name} {client.ip}"
                assert await ask(client, "10.100.0.1", 30053, "UDP", client=by_node_port) == f"{pod.name} {client.ip}"
            made.close()
            by_node_port.close()

    in_namespaces(scenario)


def test_a_batch_that_the_kernel_refuses_leaves_the_old_rules_says_so_and_is_tried_again() -> None:
    async def scenario() -> None:
        logged: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("lateral.lab.network.network").addHandler(handler)
        async with node() as lab:
            web, client = lab.pod("web", {"app": "web"}, listens=[("TCP", 8080)]), lab.pod("client")
            web_service(lab, web)
            lab.policy("deny", {"podSelector": {"matchLabels": {"app": "web"}}})
            await lab.settled()
            # Two Services with one address can't both be in the map; the API never lets that happen.
            lab.service("twin", WEB_IP, [HTTP])
            lab.endpoints("twin", [HTTP], {client.ip: True})
            lab.store.remove("NetworkPolicy", "shop", "deny")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(lab.network.synced(lab.store.version), 0.5)
                raise AssertionError("rules that the kernel refused count as applied")
            assert any("rules are out of date" in message for message in logged)
            assert not await reaches(client, web, 8080)
            lab.store.remove("Service", "shop", "twin")
            await lab.settled()
            assert await reaches(client, web, 8080)

    in_namespaces(scenario)


def test_a_version_that_concerns_no_rules_is_reached_at_once() -> None:
    async def scenario() -> None:
        async with node() as lab:
            await lab.settled()
            lab.store.create({"kind": "ConfigMap", "metadata": {"name": "any", "namespace": "shop"}})
            await asyncio.wait_for(lab.network.synced(lab.store.version), 2)

    in_namespaces(scenario)
