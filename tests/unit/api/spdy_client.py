"""A small SPDY client over a WebSocket, as kubectl's port-forward is one: streams, their data, ends and resets."""

from __future__ import annotations

import struct
import zlib
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import websocket

from lateral.lab.api.spdy import DICTIONARY

from .served import TOKEN, Served

PROTOCOL = "SPDY/3.1+portforward.k8s.io"
SYN_STREAM, SYN_REPLY, RST_STREAM, PING = 1, 2, 3, 6


def control(type_: int, flags: int, body: bytes) -> bytes:
    return struct.pack("!HHI", 0x8003, type_, flags << 24 | len(body)) + body


class Client:
    """What came is kept: data and ends by stream, replies, resets and pongs."""

    def __init__(self, served: Served, path: str) -> None:
        self.socket: Any = websocket.create_connection(
            served.url.replace("http", "ws") + path,
            header=[f"Authorization: Bearer {TOKEN}"],
            subprotocols=[PROTOCOL],
            timeout=10,
        )
        served.cleanup.callback(self.socket.shutdown)
        self._compress = zlib.compressobj(zdict=DICTIONARY)
        self._decompress = zlib.decompressobj(zdict=DICTIONARY)
        self._buffer = b""
        self._next = 1
        self.data: defaultdict[int, bytes] = defaultdict(bytes)
        self.ended: set[int] = set()
        self.replied: set[int] = set()
        self.reset: set[int] = set()
        self.pongs: list[int] = []

    def open(self, headers: Mapping[str, str], *, fin: bool = False) -> int:
        """A new stream's number."""
        stream, self._next = self._next, self._next + 2
        pairs = b"".join(self._text(text) for pair in headers.items() for text in pair)
        block = self._compress.compress(struct.pack("!I", len(headers)) + pairs)
        block += self._compress.flush(zlib.Z_SYNC_FLUSH)
        self.send(control(SYN_STREAM, int(fin), struct.pack("!IIBB", stream, 0, 0, 0) + block))
        return stream

    def connect(self, port: int, request: int = 0) -> tuple[int, int]:
        """The error and the data stream of one connection, as kubectl opens them."""
        stated = {"port": str(port), "requestid": str(request)}
        return self.open({"streamtype": "error", **stated}, fin=True), self.open({"streamtype": "data", **stated})

    def write(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        self.send(struct.pack("!II", stream, int(fin) << 24 | len(data)) + data)

    def send(self, data: bytes) -> None:
        self.socket.send_binary(data)

    def read(self) -> None:
        """Take the next message."""
        self._buffer += self.socket.recv()
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from("!II", self._buffer)
            length = second & 0xFFFFFF
            if len(self._buffer) < 8 + length:
                return
            body, self._buffer = self._buffer[8 : 8 + length], self._buffer[8 + length :]
            if first >> 31:
                self._control(first & 0xFFFF, body)
            else:
                self.data[first] += body
                if second >> 24 & 1:
                    self.ended.add(first)

    def until_ended(self, *streams: int) -> None:
        while not self.ended.issuperset(streams):
            self.read()

    def _control(self, type_: int, body: bytes) -> None:
        (number,) = struct.unpack_from("!I", body)
        if type_ == SYN_REPLY:
            assert self._decompress.decompress(body[4:]) == bytes(4)
            self.replied.add(number)
        elif type_ == RST_STREAM:
            self.reset.add(number)
        elif type_ == PING:
            self.pongs.append(number)

    @staticmethod
    def _text(text: str) -> bytes:
        return struct.pack("!I", len(text)) + text.encode()
