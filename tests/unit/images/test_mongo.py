"""The MongoDB stand-ins: what a driver of today, and a probe in the old wire, get from each generation."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from bson import ObjectId, decode_all, encode
from pymongo import MongoClient
from pymongo.errors import BulkWriteError, ConfigurationError, OperationFailure, ServerSelectionTimeoutError

if TYPE_CHECKING:
    from lateral.lab.images.standin import Address

    from .loopback import Loopback

Client = MongoClient[dict[str, Any]]


@pytest.fixture
def modern(loopback: Loopback) -> Iterator[Client]:
    """Today's driver on mongo:4.4."""
    loopback.start("carts-db")
    host, port = loopback.address("carts-db")
    with MongoClient[dict[str, Any]](host, port, serverSelectionTimeoutMS=5000) as client:
        yield client


def test_todays_driver_uses_4_4(modern: Client) -> None:
    """Insert, find with a condition and an order, count, update, delete, list."""
    socks = modern.data.socks
    socks.insert_many([{"_id": number, "name": f"sock {number}", "tags": ["red"]} for number in range(5)])
    assert [sock["_id"] for sock in socks.find({"tags": "red", "_id": {"$gte": 2}}).sort("_id", -1)] == [4, 3, 2]
    assert socks.find_one({"name": "sock 1"}, {"name": 1}) == {"_id": 1, "name": "sock 1"}
    assert socks.estimated_document_count() == 5
    assert socks.update_one({"_id": 1}, {"$set": {"name": "odd"}}).modified_count == 1
    assert socks.update_one({"_id": 9}, {"$set": {"name": "new"}}, upsert=True).upserted_id == 9
    assert socks.delete_many({"_id": {"$in": [0, 9]}}).deleted_count == 2
    assert {sock["name"] for sock in socks.find()} == {"odd", "sock 2", "sock 3", "sock 4"}
    assert modern.data.list_collection_names() == ["socks"]
    assert modern.list_database_names() == ["admin", "config", "data", "local"]
    assert modern.server_info()["version"].startswith("4.4")


def test_a_cursor_goes_on_past_its_first_batch(modern: Client) -> None:
    """All of 250 documents come, 100 at a time."""
    modern.data.many.insert_many([{"_id": number} for number in range(250)])
    assert len(list(modern.data.many.find(batch_size=100))) == 250


def test_what_is_wrong_is_refused(modern: Client) -> None:
    """An unknown command, an unknown operator and a second document of one key are errors with MongoDB's codes."""
    with pytest.raises(OperationFailure, match="no such command: 'shutDownTheWorld'") as unknown:
        modern.admin.command("shutDownTheWorld")
    assert unknown.value.code == 59
    modern.data.socks.insert_one({})
    with pytest.raises(OperationFailure, match=r"unknown operator: \$near"):
        modern.data.socks.find_one({"x": {"$near": 1}})
    modern.data.keys.insert_one({"_id": 1})
    with pytest.raises(BulkWriteError) as twice:
        modern.data.keys.insert_many([{"_id": 2}, {"_id": 1}])
    assert twice.value.details["writeErrors"][0]["code"] == 11000


class _OldClient:
    """A driver's worth of the old wire: OP_QUERY out, OP_REPLY in."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, timeout=5)

    def close(self) -> None:
        self._socket.close()

    def query(self, collection: str, document: dict[str, Any], *, count: int = -1) -> tuple[list[dict[str, Any]], int]:
        """The documents, and the cursor for more."""
        name = collection.encode() + b"\0"
        return self._exchange(2004, struct.pack("<i", 0) + name + struct.pack("<ii", 0, count) + encode(document))

    def more(self, collection: str, cursor: int) -> tuple[list[dict[str, Any]], int]:
        return self._exchange(2005, struct.pack("<i", 0) + collection.encode() + b"\0" + struct.pack("<iq", 0, cursor))

    def send(self, opcode: int, body: bytes) -> bytes:
        """The raw answer, empty when the server hangs up."""
        self._socket.sendall(struct.pack("<iiii", 16 + len(body), 7, 0, opcode) + body)
        head = self._read(16)
        return head and head + self._read(struct.unpack_from("<i", head)[0] - 16)

    def _exchange(self, opcode: int, body: bytes) -> tuple[list[dict[str, Any]], int]:
        answer = self.send(opcode, body)
        assert struct.unpack_from("<ii", answer, 8) == (7, 1)
        (cursor,) = struct.unpack_from("<q", answer, 20)
        return decode_all(answer[36:]), cursor

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (part := self._socket.recv(size - len(data))):
            data += part
        return data


@pytest.fixture
def old(loopback: Loopback) -> Iterator[_OldClient]:
    """A client in the old wire on user-db."""
    loopback.start("user-db")
    client = _OldClient(loopback.address("user-db"))
    yield client
    client.close()


def test_todays_driver_refuses_user_db(loopback: Loopback, old: _OldClient) -> None:
    """As with the real image: it looks like a closed path, while the old wire gets its answer."""
    host, port = loopback.address("user-db")
    with (
        MongoClient[dict[str, Any]](host, port, serverSelectionTimeoutMS=1000) as client,
        pytest.raises((ConfigurationError, ServerSelectionTimeoutError)),
    ):
        client.users.cards.find_one()
    assert old.query("admin.$cmd", {"ping": 1})[0] == [{"ok": 1.0}]


def test_user_db_is_a_3_2(old: _OldClient) -> None:
    """isMaster, in either spelling, says wire version 4; there is no `hello`."""
    for spelling in ("isMaster", "ismaster"):
        ((reply,), _) = old.query("admin.$cmd", {spelling: 1})
        assert (reply["ismaster"], reply["maxWireVersion"], reply["ok"]) == (True, 4, 1.0)
    ((reply,), _) = old.query("admin.$cmd", {"hello": 1})
    assert (reply["ok"], reply["code"], reply["errmsg"]) == (0.0, 59, "no such command: 'hello'")


def test_user_db_gives_its_cards_to_anyone(old: _OldClient) -> None:
    """Databases, collections and the four cards with exactly their ids, by command and by a legacy find."""
    ((listed,), _) = old.query("admin.$cmd", {"listDatabases": 1})
    assert [database["name"] for database in listed["databases"]] == ["local", "users"]
    ((collections,), _) = old.query("users.$cmd", {"listCollections": 1})
    names = [collection["name"] for collection in collections["cursor"]["firstBatch"]]
    assert names == ["addresses", "cards", "customers"]
    ((found,), _) = old.query("users.$cmd", {"find": "cards"})
    legacy, _ = old.query("users.cards", {}, count=0)
    assert found["cursor"]["firstBatch"] == legacy
    assert {(str(card["_id"]), card["longNum"], card["expires"], card["ccv"]) for card in legacy} == {
        ("57a98d98e4b00679b4a830ae", "5953580604169678", "08/19", "678"),
        ("57a98d98e4b00679b4a830b1", "5544154011345918", "08/19", "958"),
        ("57a98d98e4b00679b4a830b4", "0908415193175205", "08/19", "280"),
        ("57a98ddce4b00679b4a830d2", "5429804235432", "04/16", "432"),
    }


def test_user_db_holds_the_shops_own_customers(old: _OldClient) -> None:
    """Who owns what, and hashes that the published passwords give; an address without a postcode is nobody's."""
    customers, _ = old.query("users.customers", {}, count=0)
    found = {one["username"]: (one["password"], *map(str, one["addresses"] + one["cards"])) for one in customers}
    assert found == {
        "Eve_Berger": (
            "fec51acb3365747fc61247da5e249674cf8463c2",
            "57a98d98e4b00679b4a830ad",
            "57a98d98e4b00679b4a830ae",
        ),
        "user": (
            "e2de7202bb2201842d041f6de201b10438369fb8",
            "57a98d98e4b00679b4a830b0",
            "57a98d98e4b00679b4a830b1",
        ),
        "user1": (
            "8f31df4dcc25694aeb0c212118ae37bbd6e47bcd",
            "57a98d98e4b00679b4a830b3",
            "57a98d98e4b00679b4a830b4",
        ),
    }
    addresses, _ = old.query("users.addresses", {}, count=0)
    assert [one.get("postcode") for one in addresses] == ["G67 3DL", "G67 3DL", "CF44 6TF", None]


def test_a_legacy_find_has_conditions_and_batches(old: _OldClient) -> None:
    """A wrapped query is filtered and ordered; two documents at a time need a cursor, which ends."""
    query = {"$query": {"username": {"$in": ["user", "user1"]}}, "$orderby": {"username": -1}}
    found, _ = old.query("users.customers", query, count=0)
    assert [customer["_id"] for customer in found] == [
        ObjectId("57a98d98e4b00679b4a830b5"),
        ObjectId("57a98d98e4b00679b4a830b2"),
    ]
    first, cursor = old.query("users.addresses", {}, count=3)
    rest, end = old.more("users.addresses", cursor)
    assert (len(first), len(rest), end) == (3, 1, 0)
    assert cursor


def test_user_db_hangs_up_on_op_msg(old: _OldClient) -> None:
    """OP_MSG is younger than MongoDB 3.2."""
    assert old.send(2013, struct.pack("<I", 0) + b"\0" + encode({"ping": 1, "$db": "admin"})) == b""


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", struct.pack("<iiii", 20, 1, 0, 2004) + b"\0\0\0\0"])
def test_nonsense_ends_only_its_own_connection(loopback: Loopback, junk: bytes) -> None:
    """What isn't Mongo's wire is hung up on; the server serves the next client."""
    loopback.start("user-db")
    with socket.create_connection(loopback.address("user-db"), timeout=5) as stranger:
        stranger.sendall(junk)
        assert stranger.recv(1) == b""
    client = _OldClient(loopback.address("user-db"))
    assert client.query("admin.$cmd", {"ping": 1})[0] == [{"ok": 1.0}]
    client.close()
