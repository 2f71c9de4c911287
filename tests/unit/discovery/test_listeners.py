"""What listens in a pod, from the kernel's tables."""

from __future__ import annotations

import pytest

from lateral.discovery.listeners import parse
from lateral.model import Protocol

TABLES = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0 0 10 0
   2: 0500650A:24CB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 14 1 0 100 0 0 10 0
   3: 0500650A:D431 0700650A:0050 01 00000000:00000000 00:00000000 00000000     0        0 15 1 0 100 0 0 10 0
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000000000000:22B8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   1: 00000000000000000000000001000000:22B9 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   2: 0000000000000000FFFF00000100007F:22BA 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   3: 0000000000000000FFFF00000500650A:22BB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 7201: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 21 2 0 0
 7202: 0100007F:0036 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 22 2 0 0
 7203: 0500650A:9C40 0A00660A:0035 01 00000000:00000000 00:00000000 00000000     0        0 23 2 0 0
"""


def test_what_listens_on_any_address_but_loopback() -> None:
    """Of both families; a connection, established or on its way, is no listener, and neither is a socket that asks."""
    assert sorted(parse(TABLES)) == [
        (53, Protocol.UDP),
        (80, Protocol.TCP),
        (8888, Protocol.TCP),
        (8891, Protocol.TCP),
        (9419, Protocol.TCP),
    ]


@pytest.mark.parametrize("text", ["", "cat: /proc/net/tcp: Permission denied", "a: b c d", "0: x:y"])
def test_other_text_has_no_listeners(text: str) -> None:
    assert not list(parse(text))
