"""Connections from before the policies: what became of each is told as it was, and what can't be told isn't."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lateral.cluster import Cluster
from lateral.established import connections
from lateral.foothold import Foothold
from lateral.model import Established, Expectation, Flow, Protocol, Source, SourceKind, Speaks, Target, Via
from lateral.probe import Dial

from .local import FACTS, LocalApi, LocalSocket

ROGUE = Source("rogue", "default", SourceKind.ROGUE)
HERE = Foothold(ROGUE, {"metadata": {"name": "here", "namespace": "default"}})
if TYPE_CHECKING:
    import pytest

PONG = b"+PONG\r\n"

Serve = Callable[[socket.socket], None]


class BreakingApi(LocalApi):
    """Execs whose streams end without a word once they are told to break."""

    def __init__(self) -> None:
        super().__init__(dict(os.environ))
        self.broken = False

    def websocket(self, path: str, query: object) -> LocalSocket:
        return Breaking(super().websocket(path, query), self)  # type: ignore[arg-type,return-value]


class Breaking:
    """A stream that is lost where its API is broken."""

    def __init__(self, inner: LocalSocket, api: BreakingApi) -> None:
        self._inner = inner
        self._api = api

    def send(self, message: bytes) -> None:
        if not self._api.broken:
            self._inner.send(message)

    def receive(self, timeout: float) -> bytes | None:
        return None if self._api.broken else self._inner.receive(timeout)

    def close(self) -> None:
        self._inner.close()


class Addresses:
    """Where a target is: on loopback, at one port."""

    def __init__(self, port: int) -> None:
        self._port = port

    def dials(self, flow: Flow) -> list[Dial]:
        assert flow.target.port == self._port
        return [Dial("127.0.0.1", self._port, Protocol.TCP, flow.target.speaks, Via.SERVICE)]


@contextmanager
def served(serve: Serve) -> Iterator[int]:
    """A server on loopback that is asked once."""

    def run() -> None:
        client, _ = server.accept()
        with client:
            client.settimeout(10)
            serve(client)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join()


def used(port: int, api: LocalApi, between: Callable[[], None] = lambda: None) -> Established:
    """What is told of the rogue's one connection to a Redis on that port."""
    target = Target("db", "shop", port, Protocol.TCP, Speaks.REDIS, port, {}, "db")
    flow = Flow(ROGUE, target, Expectation.DENY, "nobody may")
    with connections(Cluster(api, FACTS), (flow,), Addresses(port), HERE) as held:  # type: ignore[arg-type]
        between()
        [one] = held.used()
    return one


def pong(client: socket.socket) -> None:
    """Answer one ping."""
    if client.recv(64):
        client.sendall(PONG)


def test_one_that_goes_on_working() -> None:
    def twice(client: socket.socket) -> None:
        pong(client)
        pong(client)

    with served(twice) as port:
        one = used(port, LocalApi())
    assert (one.opened, one.survived) == (True, True)


def test_one_that_was_closed_meanwhile() -> None:
    """The far end's close is passed on by the pod: that connection is gone."""
    with served(pong) as port:
        one = used(port, LocalApi())
    assert (one.opened, one.survived) == (True, False)
    assert "the connection ended after 0 of 7 bytes" in one.detail


def test_one_that_goes_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no longer answered is cut: packets are dropped without a word."""
    monkeypatch.setattr("lateral.established._PATIENCE", 0.3)
    done = threading.Event()

    def once(client: socket.socket) -> None:
        pong(client)
        done.wait(10)

    with served(once) as port:
        one = used(port, LocalApi())
        done.set()
    assert (one.opened, one.survived) == (True, False)
    assert "no answer any more" in one.detail


def test_a_stream_that_breaks_tells_nothing() -> None:
    """The exec's stream was lost, and nobody knows of the connection: that is no policy's doing."""
    api = BreakingApi()

    def breaks() -> None:
        api.broken = True

    with served(pong) as port:
        one = used(port, api, breaks)
    assert (one.opened, one.survived) == (True, None)
    assert "stream broke" in one.detail


def test_another_answer_tells_nothing() -> None:
    """Data that isn't the answer shows no cut."""

    def odd(client: socket.socket) -> None:
        pong(client)
        client.recv(64)
        client.sendall(b"-LOADING")

    with served(odd) as port:
        one = used(port, LocalApi())
    assert (one.opened, one.survived) == (True, None)


def test_one_that_never_came_about(refusing: int) -> None:
    one = used(refusing, LocalApi())
    assert (one.opened, one.survived) == (False, None)
    assert "ECONNREFUSED" in one.detail
