"""A proxy between a client and a cluster's API, over TLS of its own; what it does with a request its heirs decide."""

from __future__ import annotations

import asyncio
import base64
import copy
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import trustme

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and the connection that it came by."""

    method: str
    url: str
    head: bytes
    body: bytes
    upgraded: bool
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    async def say(self, answer: bytes) -> None:
        """Answer in the server's stead."""
        self.writer.write(answer)
        await self.writer.drain()


class Proxy:
    """Passes every request on."""

    def __init__(self, kubeconfig: Mapping[str, Any]) -> None:
        cluster = kubeconfig["clusters"][0]["cluster"]
        upstream = urlsplit(cluster["server"])
        self._host, self._port = upstream.hostname, upstream.port
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._upstream = ssl.create_default_context(cadata=authority)
        self._authority = trustme.CA()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("127.0.0.1").configure_cert(self._tls)
        self._kubeconfig = kubeconfig

    async def answer(self, asked: Asked) -> None:
        """Decide about a request."""
        await self.forward(asked)

    async def forward(self, asked: Asked, cut: int = 0) -> None:
        """Have the server answer; of a stream, no more than about `cut` bytes of what it says (0: all of it)."""
        if asked.upgraded:
            theirs, ours = await self._connect()
            try:
                ours.write(asked.head + asked.body)
                await _join(asked.reader, ours, theirs, asked.writer, cut)
            finally:
                ours.transport.abort()
        else:
            await asked.say(await self.fetch(asked))

    async def fetch(self, asked: Asked) -> bytes:
        """The server's whole answer to a request that isn't upgraded."""
        theirs, ours = await self._connect()
        try:
            ours.write(asked.head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + asked.body)
            return await theirs.read(-1)
        finally:
            ours.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port, ssl=self._upstream)

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
            method, url, _ = lines[0].split(" ")
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
            body = await reader.readexactly(int(fields.get("content-length", "0")))
            await self.answer(Asked(method, url, head, body, "upgrade" in fields, reader, writer))
        writer.transport.abort()


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
def proxied(proxy: Proxy) -> Iterator[dict[str, Any]]:
    """Run a proxy; yields the kubeconfig that leads through it."""
    ports: list[int] = []
    listening, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    def ready(port: int) -> None:
        ports.append(port)
        listening.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(proxy.serve(ready, ended)))
    thread.start()
    try:
        assert listening.wait(10)
        yield proxy.kubeconfig(ports[0])
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
