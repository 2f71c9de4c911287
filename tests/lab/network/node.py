"""A node of the tests' own: a network namespace in a forked process, with pods that answer with their names."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from lateral.lab import kernel
from lateral.lab.faults.effects import effect
from lateral.lab.network.addresses import Addresses
from lateral.lab.network.drops import Drops
from lateral.lab.network.network import Network
from lateral.lab.network.sandbox import Sandbox, Sandboxes
from lateral.lab.store import Object, Store

LIMIT = 60.0
"""Seconds for one scenario."""
PATIENCE = 1.0
"""Seconds without an answer that count as a drop."""

Port = tuple[str, int]
"""Protocol and number."""


def in_namespaces(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario in a forked process with a network of its own; whatever it made ends with that process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            _isolate()
            asyncio.run(asyncio.wait_for(scenario(), LIMIT))
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(writer)
    report = b""
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], LIMIT + 10)[0]:
            chunk = pipe.read(65536)
            if not chunk:
                break
            report += chunk
        else:
            os.kill(child, signal.SIGKILL)
            report += b"the scenario didn't end in time"
    _, status = os.waitpid(child, 0)
    if status or report:
        raise AssertionError(f"in the node's namespaces (status {status}):\n{report.decode()}")


def _isolate() -> None:
    if os.geteuid() == 0:
        kernel.unshare(kernel.CLONE_NEWNET)
        return
    ids = {"uid_map": f"0 {os.getuid()} 1", "setgroups": "deny", "gid_map": f"0 {os.getgid()} 1"}
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET)
    for name in ("setgroups", "uid_map", "gid_map"):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - Path would say the same at more length
            file.write(ids[name])


@dataclass
class TestPod:
    """A pod of the tests: its object's name and namespace, and the namespace that its listeners are in."""

    __test__ = False

    name: str
    namespace: str
    ip: str
    fd: int
    sandbox: Sandbox | None
    closers: list[Callable[[], None]] = field(default_factory=list)


class TestNode:
    """The lab's network over a store, and pods in it."""

    __test__ = False

    def __init__(self, fault: str | None = None) -> None:
        self.store = Store()
        self.sandboxes = Sandboxes()
        self.drops = Drops(self.store)
        effects = effect(fault)
        self.network = Network(self.store, agent=effects.agent(), denial=effects.denial, logged=self.drops.seen)
        self.addresses = Addresses("10.101.0.0/16")

    def namespace(self, name: str, **labels: str) -> None:
        labels = {"kubernetes.io/metadata.name": name, **labels}
        self.store.create({"kind": "Namespace", "metadata": {"name": name, "labels": labels}})

    def pod(
        self,
        name: str,
        labels: Mapping[str, str] | None = None,
        namespace: str = "shop",
        listens: Sequence[Port] = (),
        ports: Sequence[Mapping[str, Any]] = (),
        phase: str = "Running",
        host_network: bool = False,
        node: str = "lab-node",
    ) -> TestPod:
        """Create a pod that answers on `listens`; `ports` are its containers' as the API has them."""
        if host_network:
            made = TestPod(name, namespace, "10.100.0.1", self.sandboxes.host(), None)
        else:
            sandbox = self.sandboxes.create(self.addresses.allocate())
            made = TestPod(name, namespace, sandbox.ip, sandbox.fd, sandbox)
        for protocol, port in listens:
            listen(made, protocol, port)
        self.store.create(
            {
                "kind": "Pod",
                "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {})},
                "spec": {
                    "hostNetwork": host_network,
                    "nodeName": node,
                    "containers": [{"name": "main", "ports": [dict(port) for port in ports]}],
                },
                "status": {"podIP": made.ip, "phase": phase},
            }
        )
        return made

    def service(
        self, name: str, ip: str, ports: Sequence[Mapping[str, Any]], namespace: str = "shop", type_: str = "ClusterIP"
    ) -> None:
        self.store.create(
            {
                "kind": "Service",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"clusterIP": ip, "type": type_, "ports": [dict(port) for port in ports]},
            }
        )

    def endpoints(
        self, service: str, ports: Sequence[Mapping[str, Any]], ready: Mapping[str, bool], namespace: str = "shop"
    ) -> None:
        """Write the Service's one slice: addresses and whether each is ready."""
        slice_: Object = {
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{service}-1",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "ports": [dict(port) for port in ports],
            "endpoints": [{"addresses": [ip], "conditions": {"ready": is_ready}} for ip, is_ready in ready.items()],
        }
        if self.store.find("EndpointSlice", namespace, slice_["metadata"]["name"]) is None:
            self.store.create(slice_)
        else:
            self.store.replace(slice_)

    def policy(self, name: str, spec: Mapping[str, Any], namespace: str = "shop") -> None:
        """Create or replace a policy."""
        policy: Object = {
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": dict(spec),
        }
        if self.store.find("NetworkPolicy", namespace, name) is None:
            self.store.create(policy)
        else:
            self.store.replace(policy)

    async def settled(self) -> None:
        """Wait until the rules reflect the store."""
        await asyncio.wait_for(self.network.synced(self.store.version), 10)


@asynccontextmanager
async def node(fault: str | None = None) -> AsyncIterator[TestNode]:
    """A running node with the namespaces `shop` (team: a) and `other` (team: b)."""
    made = TestNode(fault)
    made.namespace("shop", team="a")
    made.namespace("other", team="b")
    running = [asyncio.create_task(made.network.run()), asyncio.create_task(made.drops.run())]
    try:
        yield made
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def listen(pod: TestPod, protocol: str, port: int) -> None:
    """Answer on a port, from a thread, with the pod's name and the address it was asked from."""
    made = socket_in(pod.fd, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("0.0.0.0", port))  # noqa: S104 - all of the pod's own namespace
    if protocol == "TCP":
        made.listen(64)
    serve = _serve_tcp if protocol == "TCP" else _serve_udp
    threading.Thread(target=serve, args=(made, pod.name), daemon=True).start()


def socket_in(fd: int, protocol: str) -> socket.socket:
    """A blocking socket of a network namespace."""
    made: list[socket.socket] = []

    def make() -> None:
        kernel.setns(fd, kernel.CLONE_NEWNET)
        kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
        made.append(socket.socket(socket.AF_INET, kind))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def _serve_tcp(listening: socket.socket, name: str) -> None:
    while True:
        connection, peer = listening.accept()
        threading.Thread(target=_converse, args=(connection, f"{name} {peer[0]}"), daemon=True).start()


def _converse(connection: socket.socket, answer: str) -> None:
    with connection:
        connection.sendall(answer.encode())
        while data := connection.recv(1024):
            connection.sendall(data)


def _serve_udp(listening: socket.socket, name: str) -> None:
    while True:
        _, peer = listening.recvfrom(1024)
        listening.sendto(f"{name} {peer[0]}".encode(), peer)


async def ask(
    source: TestPod, address: str, port: int, protocol: str = "TCP", client: socket.socket | None = None
) -> str:
    """Who answered and whom it saw ("web 10.101.0.1"), or "refused", "unreachable" or "dropped"."""
    loop = asyncio.get_running_loop()
    asking = client or socket_in(source.fd, protocol)
    asking.setblocking(False)
    try:
        async with asyncio.timeout(PATIENCE):
            await loop.sock_connect(asking, (address, port))
            if protocol == "UDP":
                await loop.sock_sendall(asking, b"?")
            return (await loop.sock_recv(asking, 1024)).decode()
    except TimeoutError:
        return "dropped"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "unreachable"
    finally:
        if client is None:
            asking.close()


async def reaches(source: TestPod, target: TestPod, port: int = 80, protocol: str = "TCP") -> bool:
    """Whether the target answers; any other outcome than an answer or silence is an error."""
    outcome = await ask(source, target.ip, port, protocol)
    if outcome not in ("dropped", f"{target.name} {source.ip}"):
        raise AssertionError(f"{source.name} to {target.name}:{port}/{protocol}: {outcome}")
    return outcome != "dropped"
