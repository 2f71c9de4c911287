"""Whether a target is alive, as its own protocol and the server that forwards tell it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest

from lateral.errors import ClusterError
from lateral.model import PodState, Protocol, Pulse, Speaks, Target
from lateral.reachability import pulse

if TYPE_CHECKING:
    from lateral.cluster import Cluster

READY = (PodState("shop", "db-1", "1", 0, True),)


class Stream:
    """A forwarded port that says what it is told to, and then ends as it is told to."""

    def __init__(self, said: list[bytes], end: Exception | None) -> None:
        self._said, self._end = list(said), end

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, data: bytes) -> None:
        assert data

    def receive(self, timeout: float) -> bytes:
        assert timeout > 0
        if self._said:
            return self._said.pop(0)
        if self._end:
            raise self._end
        return b""


class Forwarding:
    """A cluster that can do nothing but forward."""

    def __init__(self, said: list[bytes], end: Exception | None) -> None:
        self._stream = Stream(said, end)

    @contextmanager
    def workers(self, count: int) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(count) as pool:
            yield pool

    def port_forward(self, namespace: str, pod: str, port: int) -> Stream:
        assert (namespace, pod, port) == ("shop", "db-1", 7000)
        return self._stream


def taken(speaks: Speaks, said: list[bytes], end: Exception | None = None) -> Pulse:
    target = Target("db", "shop", 70, Protocol.TCP, speaks, 7000, {"app": "db"}, "db")
    cluster = cast("Cluster", Forwarding(said, end))
    return pulse.take(cluster, [target], {"db.shop": READY}, "kubernetes.default.svc.cluster.local")[target.id]


REFUSED = ClusterError("port-forward to port 7000: connection refused")
SILENT = TimeoutError("nothing from port 7000 within 3 s")


@pytest.mark.parametrize(
    ("speaks", "said", "end", "alive"),
    [
        (Speaks.HTTP, [b"HTTP/1.", b"1 404 Not Found"], None, True),
        (Speaks.HTTP, [b"SSH-2.0-OpenSSH_9.2"], None, False),
        (Speaks.HTTP, [], SILENT, False),
        (Speaks.HTTP, [], None, False),
        (Speaks.POSTGRES, [b"N"], None, True),
        # Nobody knows what it would say: that the connection stands has to do.
        (Speaks.TCP, [], SILENT, True),
        (Speaks.TCP, [b"SSH-2.0-OpenSSH_9.2"], None, True),
        (Speaks.TCP, [], REFUSED, False),
        (Speaks.TCP, [], None, False),
    ],
)
def test_who_is_alive(speaks: Speaks, said: list[bytes], end: Exception | None, alive: bool) -> None:
    found = taken(speaks, said, end)
    assert found.alive is alive
    assert alive or found.detail.startswith("port-forward to db-1:7000: ")
