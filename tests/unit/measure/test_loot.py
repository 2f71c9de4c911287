"""Loot: an old and a new MongoDB are both spoken to, and card numbers never leave unredacted."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import bson
import pytest

from lateral.http import HttpError, get_json
from lateral.loot.cards import numbers, redact
from lateral.loot.mongo import Mongo, MongoError

ANSWERS: dict[str, Any] = {
    "listDatabases": {"databases": [{"name": "local"}, {"name": "users"}], "ok": 1},
    "listCollections": {"cursor": {"firstBatch": [{"name": "cards"}, {"name": "customers"}]}, "ok": 1.0},
    "find": {"cursor": {"firstBatch": [{"longNum": "5953580604169678"}, {"longNum": "5429804235432"}]}, "ok": 1},
    "dropDatabase": {"ok": 0, "errmsg": "not authorized"},
}


class Server:
    """A MongoDB of one wire version, as far as it answers; what it isn't asked for in its dialect is a failure."""

    def __init__(self, wire: int, answers: Mapping[str, Any] = ANSWERS) -> None:
        self._wire = wire
        self._answers = answers
        self._pending = b""
        self.databases: list[str] = []

    def send(self, data: bytes) -> None:
        length, request, _, operation = struct.unpack_from("<iiii", data)
        assert length == len(data)
        if operation == 2013:
            assert self._wire >= 6, "OP_MSG to a server that doesn't know it"
            command = bson.decode(data[21:])
            self.databases.append(command["$db"])
            body = struct.pack("<iB", 0, 0) + bson.encode(self._answer(command))
        else:
            name, _, rest = data[20:].partition(b"\x00")
            command = bson.decode(rest[8:])
            if "isMaster" not in command:
                assert self._wire < 6, "OP_QUERY to a server that may have dropped it"
                self.databases.append(name.decode().removesuffix(".$cmd"))
            body = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(self._answer(command))
        replied = 2013 if operation == 2013 else 1
        self._pending += struct.pack("<iiii", 16 + len(body), 99, request, replied) + body

    def _answer(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        name = next(iter(command))
        answer: Mapping[str, Any] = (
            {"maxWireVersion": self._wire, "ok": 1} if name == "isMaster" else self._answers[name]
        )
        return answer

    def exactly(self, count: int, timeout: float) -> bytes:
        assert timeout > 0
        if len(self._pending) < count:
            raise EOFError
        data, self._pending = self._pending[:count], self._pending[count:]
        return data


@pytest.mark.parametrize("wire", [4, 9])
def test_databases_collections_and_cards_are_read(wire: int) -> None:
    server = Server(wire)
    mongo = Mongo(server)
    assert mongo.databases() == ["local", "users"]
    assert mongo.collections("users") == ["cards", "customers"]
    assert numbers(mongo.find("users", "cards")) == ("************9678", "*********5432")
    assert server.databases == ["admin", "users", "users"]


def test_a_refusal_is_told_in_the_servers_words() -> None:
    with pytest.raises(MongoError, match="dropDatabase: not authorized"):
        Mongo(Server(9)).command("users", {"dropDatabase": 1})


class Canned:
    """A stream that answers with fixed bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def send(self, data: bytes) -> None:
        assert data

    def exactly(self, count: int, timeout: float) -> bytes:
        assert timeout > 0
        data, self._data = self._data[:count], self._data[count:]
        return data

    def receive(self, timeout: float) -> bytes:
        assert timeout > 0
        data, self._data = self._data, b""
        return data


def test_what_isnt_mongo_is_told() -> None:
    with pytest.raises(MongoError, match="isn't MongoDB's"):
        Mongo(Canned(b"HTTP/1.1 400 Bad Request\r\n\r\n"))


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "ended without an answer"),
        (b"\x00\x01\x02\x03", "not an HTTP answer"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "HTTP 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\noops", "isn't JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1]", "not an HTTP answer"),
    ],
)
def test_an_http_answer_must_be_whole_and_json(answer: bytes, complaint: str) -> None:
    with pytest.raises(HttpError, match=complaint):
        get_json(Canned(answer), "front-end", "/cards")


class Lingering(Canned):
    """A stream whose end isn't told of."""

    def receive(self, timeout: float) -> bytes:
        if data := super().receive(timeout):
            return data
        raise TimeoutError("nothing more")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n",
    ],
    ids=["length", "chunks"],
)
def test_an_http_answer_that_is_whole_isnt_waited_for_any_longer(answer: bytes) -> None:
    assert get_json(Lingering(answer), "front-end", "/cards") == [1]


def test_an_http_answer_that_stays_away_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        get_json(Lingering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1]"), "front-end", "/cards")


@pytest.mark.parametrize(("number", "shown"), [("5953580604169678", "************9678"), ("1234", "****"), ("", "")])
def test_numbers_are_redacted(number: str, shown: str) -> None:
    assert redact(number) == shown
