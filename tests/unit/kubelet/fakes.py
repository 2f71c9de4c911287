"""A kubelet over a real store, with stand-ins for processes and networks that refuse what nobody planned."""

from __future__ import annotations

import asyncio
import contextlib
import signal as signals
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lateral.lab.conditions import condition
from lateral.lab.events import Recorder
from lateral.lab.kubelet import Kubelet
from lateral.lab.network.addresses import Addresses
from lateral.lab.spawner import ContainerSpec, SpawnError
from lateral.lab.store import Object, Store

NODE = "lab-node"
IMAGE = "mongo:4.4"
PATIENCE = 3.0
HOST = 1


class FakeProcess:
    """Runs until it is told to end; ignores the signals in `deaf`."""

    def __init__(self, *, deaf: Sequence[int] = ()) -> None:
        self.deaf = deaf
        self.signals: list[int] = []
        self.closed = False
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._output: asyncio.Queue[bytes] = asyncio.Queue()

    def say(self, text: bytes) -> None:
        self._output.put_nowait(text)

    def end(self, status: int) -> None:
        if not self._ended.done():
            self._ended.set_result(status)
            self._output.put_nowait(b"")

    async def read_stdout(self) -> bytes:
        return await self._output.get()

    async def read_stderr(self) -> bytes:
        return b""

    async def write_stdin(self, data: bytes) -> None:
        raise AssertionError(f"nobody planned for input: {data!r}")

    async def close_stdin(self) -> None:
        pass

    def resize(self, columns: int, rows: int) -> None:
        raise AssertionError(f"nobody planned for a terminal of {columns} columns and {rows} rows")

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def kill(self, signal: int) -> None:
        if self._ended.done():
            return
        self.signals.append(signal)
        if signal not in self.deaf:
            self.end(128 + signal)

    def close(self) -> None:
        self.closed = True


class Typed(FakeProcess):
    """Keeps what is typed into it, and the size of its terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.typed = b""
        self.input_ended = False
        self.size: tuple[int, int] | None = None

    async def write_stdin(self, data: bytes) -> None:
        self.typed += data

    async def close_stdin(self) -> None:
        self.input_ended = True

    def resize(self, columns: int, rows: int) -> None:
        self.size = (columns, rows)


@dataclass
class FakeSpawner:
    """Starts only what is planned: containers by name, programs by their first word."""

    plan: Mapping[str, Callable[[], FakeProcess]]
    programs: Mapping[str, int] = field(default_factory=dict)
    started: list[ContainerSpec] = field(default_factory=list)
    processes: list[FakeProcess] = field(default_factory=list)
    refusing: bool = False

    async def start(self, spec: ContainerSpec) -> FakeProcess:
        if self.refusing:
            raise SpawnError("no room")
        name = spec.name.rpartition("/")[2]
        if name not in self.plan:
            raise AssertionError(f"nobody planned for container {spec.name}")
        self.started.append(spec)
        self.processes.append(self.plan[name]())
        return self.processes[-1]

    async def exec(self, container: Any, argv: Sequence[str], *, tty: bool = False) -> FakeProcess:
        if container not in self.processes or argv[0] not in self.programs or tty:
            raise AssertionError(f"nobody planned for {argv}")
        program = FakeProcess()
        program.say(b"said\n")
        program.end(self.programs[argv[0]])
        return program


@dataclass(frozen=True)
class FakeSandbox:
    fd: int
    ip: str


@dataclass
class FakeSandboxes:
    alive: dict[str, FakeSandbox] = field(default_factory=dict)
    failures: int = 0

    def create(self, pod_ip: str) -> FakeSandbox:
        if self.failures:
            self.failures -= 1
            raise OSError("no more namespaces")
        if pod_ip in self.alive:
            raise AssertionError(f"{pod_ip} is in use")
        self.alive[pod_ip] = FakeSandbox(100 + len(self.alive), pod_ip)
        return self.alive[pod_ip]

    def destroy(self, sandbox: FakeSandbox) -> None:
        if self.alive.pop(sandbox.ip, None) is not sandbox:
            raise AssertionError(f"{sandbox} is not there")

    def host(self) -> int:
        return HOST


@dataclass
class FakeNetwork:
    """In step at once, unless `held`."""

    held: asyncio.Event | None = None
    asked: list[int] = field(default_factory=list)

    async def synced(self, version: int) -> None:
        self.asked.append(version)
        if self.held is not None:
            await self.held.wait()


class Bench:
    """The kubelet under test and everything around it."""

    def __init__(
        self, folder: Path, plan: Mapping[str, Callable[[], FakeProcess]], programs: Mapping[str, int]
    ) -> None:
        self.store = Store()
        self.store.create({"kind": "Namespace", "metadata": {"name": "shop"}})
        self.spawner = FakeSpawner(plan, programs)
        self.sandboxes = FakeSandboxes()
        self.addresses = Addresses("10.101.0.0/16")
        self.network = FakeNetwork()
        self.folder = folder
        self.dialled: list[tuple[int, str, int]] = []
        self.kubelet = Kubelet(
            self.store,
            self.spawner,
            self.sandboxes,
            self.addresses,
            self.network,
            events=Recorder(self.store),
            node=NODE,
            ip="10.100.0.1",
            dial=self._dial,
            folder=folder,
        )

    def _dial(self, netns: int, address: str, port: int) -> socket.socket:
        self.dialled.append((netns, address, port))
        return socket.socket()

    def pod(self, name: str = "a") -> Object:
        return self.store.get("Pod", "shop", name)

    def status(self, name: str = "a") -> dict[str, Any]:
        found: dict[str, Any] = self.pod(name).get("status", {})
        return found

    def container(self, name: str = "a", index: int = 0) -> dict[str, Any]:
        statuses = self.status(name).get("containerStatuses") or []
        return dict(statuses[index]) if statuses else {"state": {}, "ready": None, "started": None, "restartCount": 0}

    def phase(self, name: str = "a") -> str | None:
        return self.status(name).get("phase")

    def condition(self, type_: str, name: str = "a") -> str | None:
        entry = condition(self.pod(name), type_)
        return None if entry is None else str(entry["status"])

    def messages(self, reason: str) -> list[str]:
        return [event["message"] for event in self.store.list("Event", "shop") if event["reason"] == reason]

    def gone(self, name: str = "a") -> bool:
        return self.store.find("Pod", "shop", name) is None

    async def until(self, holds: Callable[[], Any], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not holds():
                    await asyncio.sleep(0.002)
        except TimeoutError:
            states = [pod.get("status") for pod in self.store.list("Pod")]
            raise AssertionError(f"not within {PATIENCE} s: {what}; pods: {states}") from None

    async def running(self, name: str = "a") -> FakeProcess:
        """Wait until the pod's containers run; the process that was started last."""
        await self.until(lambda: self.phase(name) == "Running", f"{name} runs")
        return self.spawner.processes[-1]


@contextlib.asynccontextmanager
async def bench(
    folder: Path,
    plan: Mapping[str, Callable[[], FakeProcess]] | None = None,
    programs: Mapping[str, int] | None = None,
) -> AsyncIterator[Bench]:
    """`plan` makes the processes of containers by name: one called `main` that runs for ever, unless told otherwise."""
    made = Bench(folder, plan or {"main": FakeProcess}, programs or {})
    task = asyncio.create_task(made.kubelet.run())
    unexpected: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unexpected.append(str(context)))
    try:
        await asyncio.sleep(0)
        yield made
        assert not task.done(), "the kubelet ended by itself"
        for pod in made.store.list("Pod"):
            made.store.remove("Pod", "shop", pod["metadata"]["name"])
        await made.until(lambda: not made.sandboxes.alive, "every sandbox is destroyed")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not unexpected


def pod(name: str = "a", *, containers: list[dict[str, Any]] | None = None, **spec: Any) -> Object:
    """A bound pod with one container called main."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"name": "carts"}},
        "spec": {
            "nodeName": NODE,
            "containers": containers or [container()],
            "terminationGracePeriodSeconds": 30,
            **spec,
        },
        "status": {"phase": "Pending"},
    }


def container(name: str = "main", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": IMAGE, **more}


def stubborn() -> FakeProcess:
    """A process that only SIGKILL ends."""
    return FakeProcess(deaf=(signals.SIGTERM,))


def ending(status: int) -> Callable[[], FakeProcess]:
    """A process that ends at once."""

    def made() -> FakeProcess:
        process = FakeProcess()
        process.end(status)
        return process

    return made
