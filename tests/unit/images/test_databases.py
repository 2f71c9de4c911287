"""MySQL, Redis and AMQP stand-ins, by clients of their protocols."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import redis
from bson import encode

from lateral.lab.images.amqp_client import open_channel
from lateral.lab.images.amqp_wire import AmqpError
from lateral.lab.images.mysql_client import MysqlClient, MysqlUnavailableError, Row

from .browser import Browser

if TYPE_CHECKING:
    from .loopback import Loopback

_HELLO = {
    "catalogue-db": b"",
    "user-db": struct.pack("<iiii", 54, 1, 0, 2004)
    + struct.pack("<i", 0)
    + b"admin.$cmd\0"
    + struct.pack("<ii", 0, -1)
    + encode({"ping": 1}),
    "rabbitmq": b"AMQP\0\0\x09\x01",
    "session-db": b"PING\r\n",
}
_CATALOGUE = ("catalogue_user", "default_password")


def _ask(loopback: Loopback, sql: str, *, login: tuple[str, str] = _CATALOGUE) -> list[Row]:
    async def ask() -> list[Row]:
        client = MysqlClient(loopback.address("catalogue-db"), *login, "socksdb", seconds=5)
        try:
            return await client.query(sql)
        finally:
            client.close()

    return asyncio.run(ask())


@pytest.mark.parametrize(("user", "password"), [("catalogue_user", "default_password"), ("root", "fake_password")])
def test_catalogue_db_holds_nine_socks_and_eleven_tags(loopback: Loopback, user: str, password: str) -> None:
    """Both users read the seed data, joins and conditions included."""
    loopback.start("catalogue-db")
    socks = _ask(loopback, "SELECT name, price FROM sock ORDER BY price", login=(user, password))
    assert [(name, float(price or 0)) for name, price in socks] == [
        ("Nerd leg", 7.99),
        ("YouTube.sock", 10.99),
        ("Classic", 12),
        ("Figueroa", 14),
        ("SuperSport XL", 15),
        ("Cat socks", 15),
        ("Crossed", 17.32),
        ("Colourful", 18),
        ("Holy", 99.99),
    ]
    assert _ask(loopback, "SELECT COUNT(*) FROM tag") == [("11",)]
    joined = (
        "SELECT tag.name FROM sock_tag JOIN tag ON sock_tag.tag_id = tag.tag_id"
        " WHERE sock_tag.sock_id = 'a0a4f044-b040-410d-8ead-4de0446aec7e'"
    )
    assert {name for (name,) in _ask(loopback, joined)} == {"blue", "skin"}
    pictures = "SELECT image_url_1, image_url_2 FROM sock WHERE name = 'Nerd leg'"
    assert _ask(loopback, pictures) == [
        ("/catalogue/images/bit_of_leg_1.jpeg", "/catalogue/images/bit_of_leg_2.jpeg"),
    ]
    assert ("socksdb",) in _ask(loopback, "SHOW DATABASES")
    assert {name for (name,) in _ask(loopback, "SHOW TABLES")} == {"sock", "tag", "sock_tag"}


@pytest.mark.parametrize(
    ("user", "password"), [("root", "wrong"), ("root", "default_password"), ("nobody", ""), ("nobody", "fake_password")]
)
def test_catalogue_db_refuses_a_wrong_password(loopback: Loopback, user: str, password: str) -> None:
    """A login is what it takes."""
    loopback.start("catalogue-db")
    with pytest.raises(MysqlUnavailableError, match="login refused"):
        _ask(loopback, "SELECT name FROM sock", login=(user, password))


def test_catalogue_db_answers_nothing_after_a_refused_login(loopback: Loopback) -> None:
    """A client that goes on after the refusal gets no rows."""
    loopback.start("catalogue-db")
    with socket.create_connection(loopback.address("catalogue-db"), timeout=5) as stranger:
        stranger.recv(4096)
        login = b"\x09\x82\x08\x00" + b"\0\0\0\x01" + b"\x21" + b"\0" * 23 + b"root\0" + b"\x14" + b"x" * 20
        login += b"socksdb\0mysql_native_password\0"
        stranger.sendall(len(login).to_bytes(3, "little") + b"\x01" + login)
        assert b"Access denied" in stranger.recv(4096)
        query = b"\x03SELECT name FROM sock"
        stranger.sendall(len(query).to_bytes(3, "little") + b"\x00" + query)
        assert b"Nerd leg" not in stranger.recv(4096)


@pytest.mark.parametrize("sql", ["SELECT name FROM other.sock", "DELETE FROM sock", "SELECT nonsense FROM sock", "!"])
def test_catalogue_db_refuses_what_it_does_not_have(loopback: Loopback, sql: str) -> None:
    """An error, and the server goes on."""
    loopback.start("catalogue-db")
    with pytest.raises(MysqlUnavailableError):
        _ask(loopback, sql)
    assert _ask(loopback, "SELECT COUNT(*) FROM sock") == [("9",)]


def test_session_db_is_a_redis(loopback: Loopback) -> None:
    """redis-py stores, lists, expires and deletes; what there isn't is an error."""
    loopback.start("session-db")
    host, port = loopback.address("session-db")
    with redis.Redis(host, port, protocol=2) as client:
        assert client.ping()
        assert client.set("sess:one", "{}", ex=60)
        assert client.get("sess:one") == b"{}"
        assert 0 < int(client.ttl("sess:one")) <= 60
        assert list(client.scan_iter("sess:*")) == [b"sess:one"]
        client.hset("hash", mapping={"a": 1, "b": 2})
        assert client.hgetall("hash") == {b"a": b"1", b"b": b"2"}
        assert client.info()["redis_version"].startswith("7.")
        with pytest.raises(redis.ResponseError):
            client.execute_command("NOSUCHCOMMAND")
        with pytest.raises(redis.ResponseError):
            client.get("hash")
        assert client.delete("sess:one") == 1
        assert client.dbsize() == 1


def test_session_db_answers_an_inline_command(loopback: Loopback) -> None:
    """What a probe without a client sends."""
    loopback.start("session-db")
    with socket.create_connection(loopback.address("session-db"), timeout=5) as probe:
        probe.sendall(b"PING\r\n")
        assert probe.recv(64) == b"+PONG\r\n"


def test_rabbitmq_delivers_what_was_published(loopback: Loopback) -> None:
    """In order, once each; a message whose consumer went away unacknowledged comes again."""
    loopback.start("rabbitmq")

    async def talk() -> list[bytes]:
        address = loopback.address("rabbitmq")
        async with open_channel(address, "guest", "guest", "shipping-task") as sender:
            await sender.publish(b"one")
            await sender.publish(b"two")
        received = []
        for wanted in (1, 2):
            async with open_channel(address, "guest", "guest", "shipping-task") as receiver:
                async for content in receiver.deliveries():
                    received.append(content)
                    if len(received) >= wanted + 1:
                        break
        return received

    assert asyncio.run(asyncio.wait_for(talk(), 5)) == [b"one", b"two", b"two"]


def test_rabbitmq_refuses_a_wrong_password(loopback: Loopback) -> None:
    """Guest's password is guest."""
    loopback.start("rabbitmq")

    async def talk() -> None:
        async with open_channel(loopback.address("rabbitmq"), "guest", "wrong", "shipping-task"):
            pass

    with pytest.raises(AmqpError, match="403 ACCESS_REFUSED"):
        asyncio.run(asyncio.wait_for(talk(), 5))


def test_rabbitmq_tells_a_stranger_its_protocol(loopback: Loopback) -> None:
    """Whoever doesn't open with AMQP 0-9-1 is told so, and hung up on."""
    loopback.start("rabbitmq")
    with socket.create_connection(loopback.address("rabbitmq"), timeout=5) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert stranger.recv(8) == b"AMQP\x00\x00\x09\x01"
        assert stranger.recv(1) == b""


def test_rabbitmq_management_wants_a_login(loopback: Loopback) -> None:
    """The overview is for guest/guest only."""
    loopback.start("rabbitmq")
    management = Browser(loopback.address("rabbitmq", 15672))
    assert management.get("/api/overview").status == 401
    assert management.get("/api/overview", login="guest:wrong").status == 401
    assert management.get("/api/overview", login="guest:guest").body["rabbitmq_version"] == "3.6.8"


def test_the_exporter_reports_the_broker(loopback: Loopback, eventually: Callable[[Callable[[], bool]], None]) -> None:
    """Its metrics follow the broker's consumers, and say when the broker is gone."""
    loopback.start("rabbitmq", "rabbitmq-exporter", "queue-master")
    exporter = Browser(loopback.address("rabbitmq-exporter"))
    eventually(lambda: "\nrabbitmq_consumers 1\n" in exporter.get("/metrics").text)
    loopback.stop("rabbitmq")
    assert "rabbitmq_up 0" in exporter.get("/metrics").text


def test_queue_master_reconnects(loopback: Loopback, eventually: Callable[[Callable[[], bool]], None]) -> None:
    """A broker that comes late is found."""
    loopback.start("queue-master")
    worker = Browser(loopback.address("queue-master"))
    assert worker.get("/health").body["health"][1]["status"] == "err"
    loopback.start("rabbitmq")
    eventually(lambda: bool(worker.get("/health").body["health"][1]["status"] == "OK"))


@pytest.mark.parametrize("name", ["catalogue-db", "user-db", "rabbitmq", "session-db"])
@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\0" * 64,
        b"\xff" * 64,
        b"GET / HTTP/1.1\r\n\r\n",
        b"AMQP\0\0\x09\x01" + b"\1\0\1\0\0\0\4abcd\xce",
        b"*1\r\n$-9\r\n",
    ],
    ids=["nothing", "zeros", "ones", "http", "amqp", "redis"],
)
def test_nonsense_ends_only_its_own_connection(
    loopback: Loopback, caplog: pytest.LogCaptureFixture, name: str, junk: bytes
) -> None:
    """Whatever a stranger sends, the server takes the next one, and nothing ends in a traceback."""
    loopback.start(name)
    with socket.create_connection(loopback.address(name), timeout=5) as stranger:
        stranger.sendall(junk)
        stranger.shutdown(socket.SHUT_WR)
        while stranger.recv(4096):
            pass
    with socket.create_connection(loopback.address(name), timeout=5) as client:
        client.sendall(_HELLO[name])
        assert client.recv(1)
    assert "Traceback" not in caplog.text
    assert not caplog.records
