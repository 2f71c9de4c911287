"""Names, asked by pods through the DNS Service of a server in a pod."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dnslib import RCODE, DNSRecord
from tests.lab.network.node import TestNode, TestPod, in_namespaces, node, socket_in

from lateral.lab.network.zone import Zone

DNS_IP = "10.102.0.10"
PORTS = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
SERVER = """
import sys
from lateral.lab import kernel
from lateral.lab.images import coredns

kernel.setns(int(sys.argv[1]), kernel.CLONE_NEWNET)
sys.exit(coredns.main(sys.argv[2:]))
"""
WEB = "web.shop.svc.cluster.local"


@asynccontextmanager
async def dns(lab: TestNode, folder: Path) -> AsyncIterator[TestPod]:
    """The server in a pod of its own, behind its Service; it has to end well by SIGTERM."""
    pod = lab.pod("coredns", {"k8s-app": "kube-dns"}, namespace="other")
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVER, str(pod.fd), "--zone", str(folder / "zone.json")), pass_fds=(pod.fd,)
    )
    try:
        lab.service("kube-dns", DNS_IP, PORTS, namespace="other")
        lab.endpoints("kube-dns", PORTS, {pod.ip: True}, namespace="other")
        lab.service("web", "10.102.0.20", [{"port": 80}])
        await lab.settled()
        yield pod
    finally:
        server.terminate()
        async with asyncio.timeout(10):
            status = await server.wait()
    assert status == 0


async def health(pod: TestPod, client: TestPod, port: int, path: str) -> str:
    """The status line that a probe gets, "" while nobody listens."""
    try:
        with socket_in(client.fd, "TCP") as made:
            made.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(made, (pod.ip, port))
            await loop.sock_sendall(made, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return (await loop.sock_recv(made, 1000)).decode().splitlines()[0]
    except ConnectionError:
        return ""


async def ready(pod: TestPod, client: TestPod) -> None:
    async with asyncio.timeout(10):
        while "200" not in await health(pod, client, 8181, "/ready"):
            await asyncio.sleep(0.01)


async def ask_udp(client: TestPod, name: str) -> DNSRecord:
    loop = asyncio.get_running_loop()
    with socket_in(client.fd, "UDP") as made:
        made.setblocking(False)
        await loop.sock_connect(made, (DNS_IP, 53))
        await loop.sock_sendall(made, DNSRecord.question(name).pack())
        async with asyncio.timeout(5):
            return DNSRecord.parse(await loop.sock_recv(made, 4096))


async def ask_tcp(made: socket.socket, name: str) -> DNSRecord:
    reader, writer = await asyncio.open_connection(sock=made)
    packed = DNSRecord.question(name).pack()
    writer.write(len(packed).to_bytes(2, "big") + packed)
    answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    writer.close()
    return DNSRecord.parse(answer)


def test_pods_resolve_services_by_udp_and_by_many_tcp_connections(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with node() as lab:
            zone = asyncio.create_task(Zone(lab.store, tmp_path).run())
            client = lab.pod("client")
            async with dns(lab, tmp_path) as pod:
                await ready(pod, client)
                assert "200" in await health(pod, client, 8080, "/health")
                assert [str(rr.rdata) for rr in (await ask_udp(client, WEB)).rr] == ["10.102.0.20"]
                assert (await ask_udp(client, "example.com")).header.rcode == RCODE.NXDOMAIN
                connections = [socket_in(client.fd, "TCP") for _ in range(200)]
                for made in connections:
                    made.setblocking(False)
                loop = asyncio.get_running_loop()
                async with asyncio.timeout(20):
                    await asyncio.gather(*(loop.sock_connect(made, (DNS_IP, 53)) for made in connections))
                    answers = await asyncio.gather(*(ask_tcp(made, WEB) for made in connections))
                assert {str(answer.rr[0].rdata) for answer in answers} == {"10.102.0.20"}
            zone.cancel()

    in_namespaces(scenario)


def test_the_server_is_not_ready_before_it_has_records(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with node() as lab:
            client = lab.pod("client")
            async with dns(lab, tmp_path) as pod:
                async with asyncio.timeout(10):
                    while not (line := await health(pod, client, 8181, "/ready")):
                        await asyncio.sleep(0.01)
                assert "503" in line
                zone = asyncio.create_task(Zone(lab.store, tmp_path).run())
                await ready(pod, client)
                zone.cancel()

    in_namespaces(scenario)
