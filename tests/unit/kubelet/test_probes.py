"""Probes tell a live server from a dead one, and decide by thresholds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lateral.lab.kubelet import container as container_module
from lateral.lab.kubelet import probes
from lateral.lab.kubelet.probes import Timing, attempt_of, results

from .fakes import FakeProcess, FakeSpawner, bench, container, pod

LOCAL = "127.0.0.1"


class Server:
    """Answers every request with `reply`, and keeps what it was asked."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        self.requests: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.reply)
        writer.close()


@contextlib.asynccontextmanager
async def serving(reply: bytes) -> AsyncIterator[Server]:
    server = Server(reply)
    listening = await asyncio.start_server(server.serve, LOCAL, 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()


async def tried(probe: dict[str, Any], port: int, spawner: FakeSpawner | None = None) -> str | None:
    spec = container(ports=[{"name": "web", "containerPort": port}])
    process = FakeProcess()
    spawner = spawner or FakeSpawner({})
    spawner.processes.append(process)
    return await attempt_of(probe, spec, LOCAL, spawner, process)()


@pytest.mark.parametrize(("status", "success"), [(200, True), (302, True), (399, True), (404, False), (503, False)])
def test_http_statuses_below_400_succeed(status: int, success: bool) -> None:
    async def scenario() -> None:
        async with serving(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()) as server:
            probe = {
                "httpGet": {"path": "/health", "port": "web", "httpHeaders": [{"name": "host", "value": "carts.shop"}]}
            }
            message = await tried(probe, server.port)
            assert message == (None if success else f"HTTP probe failed with statuscode: {status}")
            assert server.requests[0].startswith("GET /health HTTP/1.1\r\nHost: carts.shop\r\n")

    asyncio.run(scenario())


def test_what_is_not_http_fails() -> None:
    async def scenario() -> None:
        async with serving(b"220 mail\r\n") as server:
            message = await tried({"httpGet": {"port": server.port}}, server.port)
            assert message is not None
            assert "malformed" in message

    asyncio.run(scenario())


def test_a_closed_port_fails_both_ways() -> None:
    async def scenario() -> None:
        async with serving(b"") as server:
            assert await tried({"tcpSocket": {"port": "web"}}, server.port) is None
        for probe in ({"tcpSocket": {"port": "web"}}, {"httpGet": {"port": "web"}}):
            message = await tried(probe, server.port)
            assert message is not None
            assert "connect" in message

    asyncio.run(scenario())


def test_an_unknown_port_name_fails() -> None:
    assert "nothing" in (asyncio.run(tried({"tcpSocket": {"port": "nothing"}}, 1)) or "")


def test_a_program_succeeds_by_its_exit_status() -> None:
    async def scenario() -> None:
        spawner = FakeSpawner({}, {"true": 0, "false": 1})
        assert await tried({"exec": {"command": ["true"]}}, 1, spawner) is None
        assert await tried({"exec": {"command": ["false"]}}, 1, spawner) == "said"

    asyncio.run(scenario())


def timing(**more: float) -> Timing:
    return Timing(**{"delay": 0, "period": 0.01, "timeout": 0.05, "successes": 1, "failures": 3, **more})  # type: ignore[arg-type]


def test_thresholds_count_results_in_a_row() -> None:
    async def scenario() -> None:
        answers = iter(["no", "no", None, "no", "no", "no", None])

        async def attempt() -> str | None:
            return next(answers)

        decided = []
        async with contextlib.aclosing(results(timing(), attempt, eager=False)) as series:
            async for result in series:
                decided.append((result.success, result.decisive))
                if len(decided) == 7:
                    break
        failed, succeeded = (False, False), (True, True)
        assert decided == [failed, failed, succeeded, failed, failed, (False, True), succeeded]

    asyncio.run(scenario())


def test_an_attempt_that_hangs_fails() -> None:
    async def scenario() -> None:
        async def attempt() -> str | None:
            await asyncio.Event().wait()
            return None

        async with contextlib.aclosing(results(timing(), attempt, eager=False)) as series:
            assert not (await anext(series)).success

    asyncio.run(scenario())


def test_an_eager_probe_retries_long_before_its_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "QUICK", 0.001)

    async def scenario() -> None:
        answers = iter(["no"] * 20)

        async def attempt() -> str | None:
            return next(answers, None)

        async with contextlib.aclosing(results(timing(period=600), attempt, eager=True)) as series:
            first = await asyncio.wait_for(anext(series), 2)
        assert first.success

    asyncio.run(scenario())


def test_readiness_follows_the_server_and_hides_it_when_it_fails(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(b"HTTP/1.1 500 X\r\n\r\n") as server, bench(tmp_path) as node:
            get = {"host": LOCAL, "port": server.port}
            probe = {"httpGet": get, "periodSeconds": 0.01, "failureThreshold": 2}
            node.store.create(pod(containers=[container(readinessProbe=probe)]))
            await node.running()
            await node.until(lambda: node.messages("Unhealthy"), "a failure's event")
            assert node.condition("Ready") == "False"
            server.reply = b"HTTP/1.1 200 X\r\n\r\n"
            await node.until(lambda: node.condition("Ready") == "True", "ready")
            server.reply = b"HTTP/1.1 500 X\r\n\r\n"
            await node.until(lambda: node.condition("Ready") == "False", "unready again")
            assert node.container()["restartCount"] == 0

    asyncio.run(scenario())


def test_a_failed_liveness_probe_restarts_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_module, "BACK_OFF", 0.01)

    async def scenario() -> None:
        async with bench(tmp_path, programs={"check": 1}) as node:
            probe = {"exec": {"command": ["check"]}, "periodSeconds": 0.01, "failureThreshold": 2}
            node.store.create(pod(containers=[container(livenessProbe=probe)]))
            await node.until(lambda: node.container()["restartCount"] >= 1, "a restart")
            assert "Container main failed liveness probe, will be restarted" in node.messages("Killing")

    asyncio.run(scenario())


def test_a_startup_probe_holds_back_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(b"HTTP/1.1 500 X\r\n\r\n") as server, bench(tmp_path, programs={"check": 1}) as node:
            startup = {"httpGet": {"host": LOCAL, "port": server.port}, "periodSeconds": 0.01, "failureThreshold": 1000}
            readiness = {"tcpSocket": {"host": LOCAL, "port": server.port}, "periodSeconds": 0.01}
            node.store.create(pod(containers=[container(startupProbe=startup, readinessProbe=readiness)]))
            await node.running()
            await node.until(lambda: len(server.requests) > 3, "some attempts")
            assert (node.container()["started"], node.container()["ready"]) == (False, False)
            server.reply = b"HTTP/1.1 200 X\r\n\r\n"
            await node.until(lambda: node.container()["started"] and node.container()["ready"], "started and ready")

    asyncio.run(scenario())
