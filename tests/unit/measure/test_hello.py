"""What counts as an application's answer, protocol by protocol."""

from __future__ import annotations

import struct

import dnslib
import pytest

from lateral.model import Protocol, Speaks
from lateral.probe.hello import hello, judge

NAME = "kubernetes.default.svc.cluster.local"


def dns_answer(*, records: int = 1, code: int = 0) -> bytes:
    query = dnslib.DNSRecord.parse(hello(Speaks.DNS, Protocol.UDP, NAME).say)
    answer = query.reply()
    answer.header.rcode = code
    for _ in range(records):
        answer.add_answer(dnslib.RR(NAME, rdata=dnslib.A("10.0.0.1")))
    return bytes(answer.pack())


def mongo_reply(answers: int = 0x4C41, operation: int = 1) -> bytes:
    return struct.pack("<iiii", 36, 7, answers, operation) + bytes(20)


@pytest.mark.parametrize(
    ("speaks", "data"),
    [
        (Speaks.HTTP, b"HTTP/1.1 404 Not Found\r\n"),
        (Speaks.HTTP, b"HTTP/1.1 500"),
        (Speaks.MONGO, mongo_reply()),
        (Speaks.REDIS, b"+PONG\r\n"),
        (Speaks.REDIS, b"-NOAUTH Authentication required.\r\n"),
        (Speaks.AMQP, b"\x01\x00\x00\x00\x00\x01\xf4"),
        (Speaks.AMQP, b"AMQP\x00\x00\x09\x01"),
        (Speaks.MYSQL, b"\x4a\x00\x00\x00\x0a5.7.0"),
        (Speaks.MYSQL, b"\x45\x00\x00\x00\xffToo many connections"),
        (Speaks.POSTGRES, b"S"),
        (Speaks.POSTGRES, b"N"),
        (Speaks.POSTGRES, b"E\x00\x00\x00\x20SFATAL"),
        (Speaks.KAFKA, b"\x00\x00\x00\x0a\x00\x00\x4c\x41\x00\x00"),
        (Speaks.TLS, b"\x16\x03\x03\x00\x7a\x02"),
        (Speaks.TLS, b"\x15\x03\x01\x00\x02\x02\x28"),
    ],
)
def test_an_answer_in_the_protocol_is_a_reply(speaks: Speaks, data: bytes) -> None:
    assert judge(speaks, Protocol.TCP, data).found


@pytest.mark.parametrize(
    ("speaks", "data"),
    [
        *((speaks, b"") for speaks in Speaks if speaks is not Speaks.TCP),
        (Speaks.HTTP, b"\x15\x03\x01\x00\x02\x02\x16"),
        (Speaks.HTTP, b"HTTP/"),
        *((Speaks.HTTP, b"HTTP/1.1 " + code) for code in (b"502", b"503", b"504")),
        (Speaks.MONGO, b"HTTP/1.0 200 OK\r\n\r\n"),
        (Speaks.MONGO, mongo_reply(answers=1)),
        (Speaks.REDIS, b"HTTP/1.1 400 Bad Request"),
        (Speaks.AMQP, b"HTTP/1.1 400 Bad Request"),
        (Speaks.MYSQL, b"HTTP/1.1 400 Bad Request"),
        (Speaks.POSTGRES, b"SSH-2.0-OpenSSH_9.2"),
        (Speaks.POSTGRES, b"ERR unknown command"),
        (Speaks.KAFKA, b"\x00\x00\x00\x0a\x00\x00\x4c\x42\x00\x00"),
        (Speaks.KAFKA, b"HTTP/1.1 400 Bad Request"),
        (Speaks.TLS, b"HTTP/1.0 400 Bad Request"),
        (Speaks.TLS, b"\x16\x02\x00\x00\x7a\x02"),
        (Speaks.DNS, b"\x00\x0cHTTP/1.1 400"),
    ],
)
def test_anything_else_is_none(speaks: Speaks, data: bytes) -> None:
    reply = judge(speaks, Protocol.TCP, data)
    assert not reply.answered
    assert not reply.found


@pytest.mark.parametrize("protocol", [Protocol.UDP, Protocol.TCP])
def test_dns_must_answer_with_the_record(protocol: Protocol) -> None:
    def framed(data: bytes) -> bytes:
        return data if protocol is Protocol.UDP else struct.pack(">H", len(data)) + data

    assert judge(Speaks.DNS, protocol, framed(dns_answer())).found
    for without in (dns_answer(records=0), dns_answer(records=0, code=3), dns_answer(code=2)):
        reply = judge(Speaks.DNS, protocol, framed(without))
        assert reply.answered
        assert not reply.found


def test_the_dns_query_asks_for_the_absolute_name() -> None:
    query = dnslib.DNSRecord.parse(hello(Speaks.DNS, Protocol.TCP, NAME).say[2:])
    assert str(query.q.qname) == NAME + "."
    assert query.q.qtype == dnslib.QTYPE.A
