"""A proxy between the suite's client and a cluster's API that makes trouble as it is told."""

from __future__ import annotations

import asyncio
import base64
import copy
import random
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import trustme

_CHUNK = 65536


class Trouble(Enum):
    """What can become of a request."""

    TOO_MANY = "429, come back in a second"
    FAILED = "500"
    AWAY = "reset before the server has seen the request"
    LOST = "reset after the server has done what was asked"
    CUT = "half of the answer, then a reset"
    LATE = "an answer that comes late"


@dataclass(frozen=True, slots=True)
class Rule:
    """Trouble for the requests that match, each with a chance; `upgraded` concerns streams, not plain answers."""

    trouble: Trouble
    chance: float
    matches: Callable[[str, str], bool] = lambda _method, _path: True


class Troublemaker:
    """The proxy's plan, and what became of it."""

    def __init__(self, kubeconfig: Mapping[str, Any], rules: list[Rule], seed: int) -> None:
        self.made: Counter[Trouble] = Counter()
        self._rules = rules
        self._chance = random.Random(seed)  # noqa: S311 - nothing secret is chosen
        cluster = kubeconfig["clusters"][0]["cluster"]
        upstream = urlsplit(cluster["server"])
        self._host, self._port = upstream.hostname, upstream.port
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._upstream = ssl.create_default_context(cadata=authority)
        self._authority = trustme.CA()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("127.0.0.1").configure_cert(self._tls)
        self._kubeconfig = kubeconfig

    async def serve(self, ready: Callable[[int], None], ended: asyncio.Event) -> None:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=self._tls)
        async with server:
            ready(server.sockets[0].getsockname()[1])
            await ended.wait()

    def kubeconfig(self, port: int) -> dict[str, Any]:
        """The cluster's, by way of the proxy."""
        found = copy.deepcopy(dict(self._kubeconfig))
        authority = base64.b64encode(self._authority.cert_pem.bytes()).decode()
        server = f"https://127.0.0.1:{port}"
        found["clusters"][0]["cluster"] = {"server": server, "certificate-authority-data": authority}
        return found

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            method, path, _ = lines[0].split(" ")
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
            body = await reader.readexactly(int(fields.get("content-length", "0")))
            await self._answer(method, urlsplit(path).path, head, body, "upgrade" in fields, reader, writer)
        writer.transport.abort()

    async def _answer(
        self,
        method: str,
        path: str,
        head: bytes,
        body: bytes,
        upgraded: bool,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        trouble = self._pick(method, path)
        if trouble is Trouble.TOO_MANY:
            await _say(writer, b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
            return
        if trouble is Trouble.FAILED:
            await _say(writer, b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
            return
        if trouble is Trouble.AWAY:
            return
        if trouble is Trouble.LATE:
            await asyncio.sleep(0.5)
        theirs, ours = await asyncio.open_connection(self._host, self._port, ssl=self._upstream)
        try:
            if upgraded:
                ours.write(head + body)
                most = self._chance.randint(100, 400) if trouble in (Trouble.CUT, Trouble.LOST) else 0
                await _join(reader, ours, theirs, writer, most)
                return
            ours.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body)
            answer = await theirs.read(-1)
            if trouble is Trouble.LOST:
                return
            writer.write(answer[: len(answer) // 2] if trouble is Trouble.CUT else answer)
            await writer.drain()
        finally:
            ours.transport.abort()

    def _pick(self, method: str, path: str) -> Trouble | None:
        for rule in self._rules:
            if rule.matches(method, path) and self._chance.random() < rule.chance:
                self.made[rule.trouble] += 1
                return rule.trouble
        return None


async def _say(writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)
    await writer.drain()


async def _join(
    reader: asyncio.StreamReader,
    ours: asyncio.StreamWriter,
    theirs: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    most: int,
) -> None:
    """Carry bytes both ways until either side ends, or the server has said `most` (0: as much as it likes)."""

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, limit: int) -> None:
        carried = 0
        while (data := await source.read(_CHUNK)) and (not limit or carried < limit):
            sink.write(data)
            await sink.drain()
            carried += len(data)

    tasks = [asyncio.create_task(carry(reader, ours, 0)), asyncio.create_task(carry(theirs, writer, most))]
    _, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def troubled(kubeconfig: Mapping[str, Any], rules: list[Rule], seed: int = 1) -> Iterator[dict[str, Any]]:
    """A kubeconfig that leads through a troublemaker. Trouble that never happened is an error."""
    maker = Troublemaker(kubeconfig, rules, seed)
    ports: list[int] = []
    listening, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    def ready(port: int) -> None:
        ports.append(port)
        listening.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(maker.serve(ready, ended)))
    thread.start()
    try:
        assert listening.wait(10)
        yield maker.kubeconfig(ports[0])
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
    missing = {rule.trouble for rule in rules} - maker.made.keys()
    assert not missing, f"never happened: {missing}"
