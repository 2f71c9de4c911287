"""What a source's neighbours say of its network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from lateral.attacker import Foothold
from lateral.cluster import ExecResult
from lateral.model import Source, SourceKind
from lateral.reachability import link

SOURCE = Source("carts-db", "sock-shop", SourceKind.TWIN, {})
HEADER = b"IP address       HW type     Flags       HW address            Mask     Device\n"


class Pods:
    """Pods whose neighbours are as told."""

    def __init__(self, rows: str) -> None:
        self._rows = rows

    @contextmanager
    def workers(self, count: int) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(count) as pool:
            yield pool

    def exec(self, namespace: str, pod: str, argv: Sequence[str]) -> Any:
        assert (namespace, pod, argv) == ("sock-shop", "twin-carts-db", ["cat", "/proc/net/arp"])
        return ExecResult(HEADER + self._rows.encode(), b"", "")


@pytest.mark.parametrize(
    ("rows", "works"),
    [
        pytest.param("10.0.0.1 0x1 0x2 02:00:00:00:00:01 * eth0\n", True, id="answered"),
        pytest.param("10.0.0.1 0x1 0x0 00:00:00:00:00:00 * eth0\n", False, id="asked in vain"),
        pytest.param("169.254.1.1 0x1 0x6 02:00:00:00:00:01 * eth0\n", False, id="put there by the network plugin"),
        pytest.param("", False, id="none"),
    ],
)
def test_a_neighbour_must_have_answered(rows: str, works: bool) -> None:
    """An entry that nobody answered for shows nothing, also where a network plugin made it."""
    pod = {"metadata": {"name": "twin-carts-db", "namespace": "sock-shop", "uid": "1"}, "spec": {}}
    [trouble] = link.take(Pods(rows), [Foothold(SOURCE, pod)], 1).values()  # type: ignore[arg-type]
    assert trouble == ("" if works else "no neighbour has answered it")
