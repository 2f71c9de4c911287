"""Port-forward as kubectl has it: SPDY in a WebSocket."""

from __future__ import annotations

import os
import socket
import struct
import threading
import zlib
from typing import TYPE_CHECKING

import pytest

from lateral.lab.api.spdy import DICTIONARY, Data, Opened, Ping, Reader, Reset
from lateral.lab.status import StatusError

from .spdy_client import PING, RST_STREAM, SYN_STREAM, Client, control

if TYPE_CHECKING:
    from .served import Served

PATH = "/api/v1/namespaces/shop/pods/web/portforward"


def test_the_dictionary_is_the_protocols() -> None:
    """Its Adler-32 sum is what compressed headers name it by."""
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_bytes_come_back_and_ends_are_told(with_pod: Served, echo: int) -> None:
    client = Client(with_pod, PATH)
    error, data = client.connect(echo)
    client.write(data, b"hello ")
    client.write(data, b"bye")
    client.until_ended(error, data)
    assert client.data == {error: b"", data: b"hello bye"}
    assert client.replied == {error, data}


def test_the_end_of_input_goes_on_to_the_pod(with_pod: Served, echo: int) -> None:
    client = Client(with_pod, PATH)
    error, data = client.connect(echo)
    client.write(data, b"all of it", fin=True)
    client.until_ended(error, data)
    assert client.data[data] == b"all of it"


def test_twenty_transfers_at_once_keep_apart(with_pod: Served, echo: int) -> None:
    client = Client(with_pod, PATH)
    sent = {client.connect(echo, number): os.urandom(300_000) for number in range(20)}

    def send() -> None:
        for at in range(0, 300_000, 30_000):
            for (_, data), content in sent.items():
                client.write(data, content[at : at + 30_000], fin=at == 270_000)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    client.until_ended(*(data for _, data in sent))
    sender.join(10)
    assert {error: client.data[error] for error, _ in sent if client.data[error]} == {}
    assert {streams: client.data[streams[1]] for streams in sent} == sent


def test_a_refused_connection_is_an_error_of_its_own(with_pod: Served, echo: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        closed = listening.getsockname()[1]
    client = Client(with_pod, PATH)
    error, data = client.connect(closed, 1)
    client.until_ended(error, data)
    assert f"error forwarding port {closed} to pod web" in client.data[error].decode()
    assert "Connection refused" in client.data[error].decode()
    _, still = client.connect(echo, 2)
    client.write(still, b"bye")
    client.until_ended(still)
    assert client.data[still] == b"bye"


def test_a_port_that_is_none_is_an_error(with_pod: Served) -> None:
    client = Client(with_pod, PATH)
    error, data = client.connect(0)
    client.until_ended(error, data)
    assert b'invalid port "0"' in client.data[error]


def test_a_reset_closes_the_connection_to_the_pod(with_pod: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        client = Client(with_pod, PATH)
        _, data = client.connect(listening.getsockname()[1])
        accepted, _ = listening.accept()
        with accepted:
            accepted.settimeout(10)
            client.send(control(RST_STREAM, 0, struct.pack("!II", data, 5)))
            assert accepted.recv(1) == b""


def test_everything_is_closed_when_the_client_goes(with_pod: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        client = Client(with_pod, PATH)
        client.connect(listening.getsockname()[1])
        accepted, _ = listening.accept()
        with accepted:
            accepted.settimeout(10)
            client.socket.sock.shutdown(socket.SHUT_RDWR)
            assert accepted.recv(1) == b""


def test_pings_are_answered_and_other_streams_reset(with_pod: Served) -> None:
    client = Client(with_pod, PATH)
    client.send(control(PING, 0, struct.pack("!I", 7)))
    other = client.open({"streamtype": "other"})
    while not (client.pongs and client.reset):
        client.read()
    assert (client.pongs, client.reset) == ([7], {other})


def test_frames_are_read_whatever_way_they_are_cut() -> None:
    compress = zlib.compressobj(zdict=DICTIONARY)
    block = compress.compress(struct.pack("!II4sI2s", 1, 4, b"name", 2, b"it")) + compress.flush(zlib.Z_SYNC_FLUSH)
    sent = control(SYN_STREAM, 1, struct.pack("!IIBB", 1, 0, 0, 0) + block)
    sent += control(4, 0, struct.pack("!I", 0))  # settings
    sent += struct.pack("!II", 1, 1 << 24 | 3) + b"abc"
    sent += control(RST_STREAM, 0, struct.pack("!II", 1, 5)) + control(PING, 0, struct.pack("!I", 1))
    wanted = [Opened(1, {"name": "it"}, True), Data(1, b"abc", True), Reset(1), Ping(1)]
    assert list(Reader().feed(sent)) == wanted
    reader = Reader()
    assert [frame for byte in sent for frame in reader.feed(bytes((byte,)))] == wanted


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        (struct.pack("!HHI", 0x8002, 1, 0), "version 2"),
        (struct.pack("!II", 1, 0xFFFFFF), "the limit is"),
        (control(SYN_STREAM, 0, b"\0\0"), "broken SPDY frame"),
        (control(SYN_STREAM, 0, bytes(10) + b"nonsense"), "broken SPDY frame"),
        (control(SYN_STREAM, 0, bytes(10) + zlib.compressobj(zdict=DICTIONARY).flush()), "broken SPDY frame"),
    ],
)
def test_what_is_no_spdy_is_refused(sent: bytes, named: str) -> None:
    with pytest.raises(StatusError, match=named):
        list(Reader().feed(sent))


def test_headers_do_not_grow_without_bound() -> None:
    compress = zlib.compressobj(zdict=DICTIONARY)
    block = compress.compress(struct.pack("!II", 1, 10_000_000) + bytes(10_000_000)) + compress.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(StatusError, match="headers of more than"):
        list(Reader().feed(control(SYN_STREAM, 0, struct.pack("!IIBB", 1, 0, 0, 0) + block)))


def test_nonsense_ends_the_connection_and_nothing_else(with_pod: Served, echo: int) -> None:
    client = Client(with_pod, PATH)
    client.send(b"GET / HTTP/1.1\r\n\r\n")
    assert not client.socket.recv()
    again = Client(with_pod, PATH)
    _, data = again.connect(echo)
    again.write(data, b"bye")
    again.until_ended(data)
    assert again.data[data] == b"bye"
