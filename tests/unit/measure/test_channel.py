"""Kubernetes' streams: channels are told apart, the end has its reason, and nothing odd passes for output."""

from __future__ import annotations

import json
import socket
import time

import pytest

from lateral.channel import Channel, Forward
from lateral.errors import ClusterError

SUCCESS = json.dumps({"status": "Success"}).encode()


class Scripted:
    """A WebSocket that delivers the given messages, then closes; None in between is silence until the timeout."""

    def __init__(self, *messages: bytes | None, closes: bool = True) -> None:
        self._messages = list(messages)
        self._closes = closes
        self.sent: list[bytes] = []
        self.closed = False

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def ready(self, other: socket.socket, timeout: float) -> tuple[bool, bool]:
        raise AssertionError(f"unplanned wait for {other} of {timeout} s")

    def receive(self, timeout: float) -> bytes | None:
        assert timeout > 0
        if not self._messages:
            if self._closes:
                return None
            raise TimeoutError
        message = self._messages.pop(0)
        if message is None:
            raise TimeoutError
        return message

    def close(self) -> None:
        self.closed = True


def read(channel: Channel) -> bytes:
    output = b""
    while chunk := channel.receive(1):
        output += chunk
    return output


def test_streams_are_told_apart() -> None:
    messages = (b"\x01one ", b"\x02oops", b"\x01", b"\x01two\x00\xff", b"\xff\x01", b"\x03" + SUCCESS)
    channel = Channel(Scripted(*messages))
    assert read(channel) == b"one two\x00\xff"
    assert channel.stderr == b"oops"
    assert channel.failure == ""


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ((b"\x01some",), "the connection ended before the command's status arrived"),
        ((b'\x03{"status": "Failure", "message": "exit code 7"}',), "exit code 7"),
        ((b'\x03{"status": "Failure", ', b'\x03"message": "in two parts"}'), "in two parts"),
        ((b'\x03{"status": "Failure", "reason": "InternalError"}',), "InternalError"),
        ((b"\x03<html>",), "the command's status can't be read"),
    ],
)
def test_a_failure_has_its_reason(messages: tuple[bytes, ...], expected: str) -> None:
    channel = Channel(Scripted(*messages))
    read(channel)
    assert expected in channel.failure


def test_an_unknown_channel_is_an_error() -> None:
    with pytest.raises(ClusterError, match="channel 9"):
        read(Channel(Scripted(b"\x09what")))


def test_standard_input_is_framed_in_pieces() -> None:
    socket = Scripted()
    Channel(socket).send(b"x" * 100_000)
    assert all(message[0] == 0 for message in socket.sent)
    assert b"".join(message[1:] for message in socket.sent) == b"x" * 100_000
    assert max(map(len, socket.sent)) <= 32 * 1024 + 1


def test_silence_ends_in_a_timeout_also_when_only_errors_are_written() -> None:
    with pytest.raises(TimeoutError):
        Channel(Scripted(b"\x02still here", closes=False)).receive(0.05)

    class Chatty(Scripted):
        def receive(self, timeout: float) -> bytes | None:
            assert timeout > 0
            return b"\x02."

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        Channel(Chatty()).receive(0.05)
    assert time.monotonic() - started < 1


def test_leaving_the_block_closes_the_socket() -> None:
    socket = Scripted()
    with Channel(socket):
        assert not socket.closed
    assert socket.closed


def test_a_forward_carries_data_behind_the_announced_ports() -> None:
    socket = Scripted(b"\x00\x50\x00", b"\x01\x50\x00", b"\x00one", b"\x00", b"\x00two")
    forward = Forward(socket, 80)
    forward.send(b"hello")
    assert socket.sent == [b"\x00hello"]
    assert [forward.receive(1), forward.receive(1), forward.receive(1)] == [b"one", b"two", b""]


def test_a_forward_that_fails_says_why() -> None:
    forward = Forward(Scripted(b"\x00\x50\x00", b"\x01\x50\x00", b"\x01connection refused"), 80)
    with pytest.raises(ClusterError, match="port-forward to port 80: connection refused"):
        forward.receive(1)
