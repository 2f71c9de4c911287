"""Pods' network namespaces: what is in them, and what is left of them."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from dataclasses import replace
from pathlib import Path

from tests.lab.network.node import TestPod, in_namespaces, listen, socket_in

from lateral.lab import kernel
from lateral.lab.network.sandbox import Sandboxes, dial


def test_pods_and_the_node_reach_each_other_by_their_addresses() -> None:
    async def scenario() -> None:
        sandboxes = Sandboxes()
        first, second = (sandboxes.create(ip) for ip in ("10.101.0.1", "10.101.255.254"))
        listen(TestPod("second", "", second.ip, second.fd, second), "TCP", 80)
        listen(TestPod("node", "", "", sandboxes.host(), None), "TCP", 80)
        for fd, address, answer in (
            (first.fd, second.ip, b"second 10.101.0.1"),
            (sandboxes.host(), second.ip, b"second 10.100.0.1"),
            (second.fd, "10.100.0.1", b"node 10.101.255.254"),
            (second.fd, "127.0.0.1", b"second 127.0.0.1"),
        ):
            with dial(fd, address, 80) as made:
                assert select.select([made], [], [], 5)[0], (address, answer)
                assert made.recv(100) == answer

    in_namespaces(scenario)


def test_dialling_does_not_wait() -> None:
    async def scenario() -> None:
        sandboxes = Sandboxes()
        sandbox = sandboxes.create("10.101.0.1")
        # Nobody there, and the node has a route to nobody: the kernel asks around for seconds.
        with dial(sandbox.fd, "10.102.0.1", 80) as made:
            assert not made.getblocking()
            assert select.select([], [made], [], 0.1)[1] == []

    in_namespaces(scenario)


def test_the_caller_stays_in_its_own_namespace() -> None:
    async def scenario() -> None:
        sandboxes = Sandboxes()
        before = os.stat("/proc/thread-self/ns/net").st_ino  # noqa: PTH116 - a Path says no more
        sandbox = sandboxes.create("10.101.0.1")
        dial(sandbox.fd, "10.101.0.1", 80).close()
        assert os.stat("/proc/thread-self/ns/net").st_ino == before  # noqa: PTH116
        assert os.fstat(sandboxes.host()).st_ino == before
        assert os.fstat(sandbox.fd).st_ino != before

    in_namespaces(scenario)


def test_an_address_can_be_used_again_at_once() -> None:
    async def scenario() -> None:
        sandboxes = Sandboxes()
        held = sandboxes.create("10.101.0.1")
        left_behind = socket_in(held.fd, "TCP")  # keeps the old namespace, as a process that lingers would
        sandboxes.destroy(held)
        again = sandboxes.create("10.101.0.1")
        listen(TestPod("again", "", again.ip, again.fd, again), "TCP", 80)
        with dial(sandboxes.host(), "10.101.0.1", 80) as made:
            assert select.select([made], [], [], 5)[0]
            assert made.recv(100) == b"again 10.100.0.1"
        left_behind.close()

    in_namespaces(scenario)


def test_a_removed_pod_takes_its_interface_along() -> None:
    async def scenario() -> None:
        sandboxes = Sandboxes()
        sandbox = sandboxes.create("10.101.0.1")
        assert sandbox.interface in {name for _, name in socket.if_nameindex()}
        sandboxes.destroy(sandbox)
        await _vanished(sandbox.interface)

    in_namespaces(scenario)


def test_a_pod_whose_namespace_has_ended_by_itself_can_still_be_removed() -> None:
    async def scenario() -> None:
        sandboxes = Sandboxes()
        sandbox = sandboxes.create("10.101.0.1")
        os.close(sandbox.fd)
        await _vanished(sandbox.interface)
        sandboxes.destroy(replace(sandbox, fd=os.open("/dev/null", os.O_RDONLY)))

    in_namespaces(scenario)


def test_pods_have_no_ipv6_address_but_the_loopback() -> None:
    async def scenario() -> None:
        sandboxes = Sandboxes()
        sandbox = sandboxes.create("10.101.0.1")
        inside = await asyncio.to_thread(_ipv6_addresses, sandbox.fd)
        assert inside in ([], ["00000000000000000000000000000001"])

    in_namespaces(scenario)


async def _vanished(interface: str) -> None:
    async with asyncio.timeout(10):
        while interface in {name for _, name in socket.if_nameindex()}:
            await asyncio.sleep(0.01)


def _ipv6_addresses(fd: int) -> list[str]:
    kernel.setns(fd, kernel.CLONE_NEWNET)
    listed = Path("/proc/thread-self/net/if_inet6")
    return [line.split()[0] for line in listed.read_text().splitlines()] if listed.exists() else []
