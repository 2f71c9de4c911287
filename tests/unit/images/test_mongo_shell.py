"""The small `mongo` shell: run as the image's program, against the stand-in servers; what it prints and how it ends."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.terminal import Terminal

from lateral.lab import images

if TYPE_CHECKING:
    from .loopback import Loopback

SECONDS = 20.0
CARD = (
    '{ "_id" : ObjectId("57a98d98e4b00679b4a830ae"), "longNum" : "5953580604169678", "expires" : "08/19",'
    ' "ccv" : "678" }'
)
LOGGED = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000 ", re.MULTILINE)


class Shell:
    """The program as the image brings it; `server` is user-db's address."""

    def __init__(self, program: Path, server: str) -> None:
        self.program = program
        self.server = server

    def run(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments], input=typed, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def prints(self, *statements: str, database: str = "users") -> str:
        """What statements from a pipe print, without the banner and the farewell, and without times."""
        ran = self.run("--quiet", f"{self.server}/{database}", typed="\n".join(statements) + "\n")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.endswith("bye\n")
        return LOGGED.sub("", ran.stdout.removesuffix("bye\n"))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    scripts = images.resolve("mongo:3.2").programs
    (path,) = (path for path in scripts if path.endswith("/mongo"))
    file = tmp_path / "mongo"
    file.write_text(scripts[path])
    file.chmod(0o555)
    return file


@pytest.fixture
def shell(program: Path, loopback: Loopback) -> Shell:
    loopback.start("user-db")
    return Shell(program, "{}:{}".format(*loopback.address("user-db")))


def test_the_image_finds_it_first() -> None:
    """Whatever `mongo` the machine has, the image's is found."""
    for name in ("mongo:3.2", "registry.example.org/library/mongo:4.4", "weaveworksdemos/user-db:0.3.0"):
        image = images.resolve(name)
        folder = image.env["PATH"].split(":")[0]
        assert list(image.programs) == [f"{folder}/mongo"]
    assert not images.resolve("redis:7-alpine").programs


def test_the_tutorials_session(shell: Shell) -> None:
    """Banner, databases, collections and the four cards, letter for letter."""
    typed = "show dbs\nuse users\nshow collections\ndb.cards.find()\n"
    ran = shell.run("--host", shell.server, typed=typed)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == (
        "MongoDB shell version: 3.2.21\n"
        f"connecting to: {shell.server}/test\n"
        "local  0.000GB\n"
        "users  0.000GB\n"
        "switched to db users\n"
        "addresses\n"
        "cards\n"
        "customers\n"
        f"{CARD}\n"
        '{ "_id" : ObjectId("57a98d98e4b00679b4a830b1"), "longNum" : "5544154011345918", "expires" : "08/19",'
        ' "ccv" : "958" }\n'
        '{ "_id" : ObjectId("57a98d98e4b00679b4a830b4"), "longNum" : "0908415193175205", "expires" : "08/19",'
        ' "ccv" : "280" }\n'
        '{ "_id" : ObjectId("57a98ddce4b00679b4a830d2"), "longNum" : "5429804235432", "expires" : "04/16",'
        ' "ccv" : "432" }\n'
        "bye\n"
    )


@pytest.mark.parametrize(
    ("statement", "printed"),
    [
        ("show databases;", "local  0.000GB\nusers  0.000GB"),
        ("show tables", "addresses\ncards\ncustomers"),
        ("db", "users"),
        ("db.getName()", "users"),
        ("db.cards", "users.cards"),
        ("db.version()", "3.2.21"),
        ("db.getCollectionNames()", '[ "addresses", "cards", "customers" ]'),
        ("db.cards.count()", "4"),
        ("db.cards.find({expires: '08/19'}).count()", "3"),
        ("db.cards.find().limit(1)", CARD),
        ("db.cards.find().limit(2).size()", "2"),
        ("db.cards.find({ccv: /^6/})", CARD),
        ('db["cards"].find({_id: ObjectId("57a98d98e4b00679b4a830ae")});', CARD),
        ('db.getCollection("cards").find({"ccv": {$in: ["678"]}}, {ccv: 1, _id: 0})', '{ "ccv" : "678" }'),
        ("db.getSiblingDB('users').cards.findOne({ccv: '432'}).longNum", "5429804235432"),
        ("db.cards.find({}, {ccv: 1, _id: 0}).sort({ccv: -1}).skip(1).limit(1)", '{ "ccv" : "678" }'),
        (
            "db.cards.find({ccv: '678'}, {_id: 0}).pretty()",
            '{\n\t"longNum" : "5953580604169678",\n\t"expires" : "08/19",\n\t"ccv" : "678"\n}',
        ),
        ("db.cards.find({ccv: '678'}, {ccv: 1, _id: 0}).toArray()", '[ { "ccv" : "678" } ]'),
        ("db.cards.find({}, {ccv: 1, _id: 0}).limit(1).forEach(printjson)", '{ "ccv" : "678" }'),
        ("db.cards.find().toArray().length", "4"),
        ("db.cards.findOne({ccv: 'none'})", "null"),
        ("db.nothing.find()", ""),
        ("db.runCommand({ping: 1})", '{ "ok" : 1 }'),
        ("db.adminCommand('ping').ok", "1"),
        ("print(1, 'and', [true, null, -0.5, {}])", "1 and [ true, null, -0.5, { } ]"),
        ("it", "no cursor"),
        ("undefined", ""),
        ("", ""),
        ("// a comment", ""),
    ],
)
def test_a_statement_prints_what_the_original_prints(shell: Shell, statement: str, printed: str) -> None:
    assert shell.prints(statement) == (f"{printed}\n" if printed else "")


def test_values_are_written_as_the_original_writes_them(shell: Shell) -> None:
    written = shell.prints(
        "printjson({n: NumberLong(5), far: NumberLong('9007199254740993'), none: {}})",
        "tojson(ISODate('2016-08-09T22:08:48.475Z'))",
        "printjson([1.5, 'say \"é\"\\n', /a/i])",
    )
    assert written == (
        '{\n\t"n" : NumberLong(5),\n\t"far" : NumberLong("9007199254740993"),\n\t"none" : {\n\t\t\n\t}\n}\n'
        'ISODate("2016-08-09T22:08:48.475Z")\n'
        '[ 1.5, "say \\"é\\"\\n", /a/i ]\n'
    )


def test_long_documents_take_a_line_for_each_field(shell: Shell) -> None:
    """As findOne prints them: tabs, and lists too."""
    lines = shell.prints("db.customers.findOne({username: 'user'})").splitlines()
    assert lines[:2] == ["{", '\t"_id" : ObjectId("57a98d98e4b00679b4a830b2"),']
    assert lines[-4:] == ['\t"cards" : [', '\t\tObjectId("57a98d98e4b00679b4a830b1")', "\t]", "}"]
    assert '\t\tObjectId("57a98d98e4b00679b4a830b1")' in lines


def test_a_statement_goes_on_while_a_bracket_is_open(shell: Shell) -> None:
    assert shell.prints("db.cards.find({", "  ccv: '678'", "})") == f"{CARD}\n"


def test_more_than_twenty_documents_wait_for_it(program: Path, loopback: Loopback) -> None:
    """Twenty at a time; the last batch doesn't ask for more."""
    loopback.start("carts-db")
    host, port = loopback.address("carts-db")
    from pymongo import MongoClient

    with MongoClient[dict[str, int]](host, port) as client:
        client.data.many.insert_many([{"_id": number} for number in range(130)])
    typed = ["db.many.find()", *["it"] * 7]
    lines = Shell(program, f"{host}:{port}").prints(*typed, database="data").splitlines()
    assert lines[:2] == ['{ "_id" : 0 }', '{ "_id" : 1 }']
    assert lines[20] == 'Type "it" for more'
    assert (lines[-2], lines[-1]) == ('{ "_id" : 129 }', "no cursor")
    assert len([line for line in lines if line.startswith("{")]) == 130


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("cards", "E QUERY    [thread1] ReferenceError: cards is not defined :\n@(shell):1:1\n\n"),
        ("show cards", "E QUERY    [thread1] Error: don't know how to show [cards] :\n@(shellhelp2):1:1\n\n"),
        ("use /", "E QUERY    [thread1] Error: [/] is not a valid database name :\n@(shellhelp2):1:1\n\n"),
        ("var x = 1", "this small shell knows only what help lists @(shell):1:5\n"),
        ("db.cards.find(})", "unexpected '})': this small shell knows only what help lists @(shell):1:15\n"),
        ("db.cards.drop()", "this small shell does not know db.cards.drop(): help lists what it knows\n"),
        ("db.cards.find().explain()", "this small shell does not know db.cards.find().explain(): help"),
        ("db.cards.find(1, 2, 3, 4)", "Error: db.cards.find: these arguments mean nothing here"),
        ("ObjectId('x')", "Error: ObjectId: these arguments mean nothing here"),
        ("db.cards.find", "this small shell shows no functions: call it with ()\n"),
        ("db.cards.findOne({ccv: 'none'}).ccv", "TypeError: null has no properties :\n"),
        ("db.cards.find({a: {$near: 1}})", 'Error: error: {\n\t"ok" : 0,\n\t"errmsg" : "unknown operator: $near",\n'),
    ],
)
def test_what_it_can_not_do_it_says(shell: Shell, statement: str, complaint: str) -> None:
    """And goes on with the next statement."""
    printed = shell.prints(statement, "db")
    assert complaint in printed
    assert printed.endswith("users\n")


def test_help_and_versions(shell: Shell) -> None:
    assert "show collections" in shell.prints("help")
    assert shell.run("--version").stdout == "MongoDB shell version: 3.2.21\n"
    assert "--host" in shell.run("--help").stdout


@pytest.mark.parametrize(
    ("statements", "status", "printed"),
    [
        ("db.cards.count()", 0, "4\n"),
        ("show collections", 0, "addresses\ncards\ncustomers\n"),
        ("print('one'); print('two')", 0, "one\ntwo\n"),
        ("quit(7)", 7, ""),
    ],
)
def test_eval_runs_its_statements_and_leaves(shell: Shell, statements: str, status: int, printed: str) -> None:
    ran = shell.run(f"{shell.server}/users", "--quiet", "--eval", statements)
    assert (ran.returncode, ran.stdout, ran.stderr) == (status, printed, "")


@pytest.mark.parametrize("statements", ["cards", "db.cards.find({", "db.cards.find({a: {$near: 1}})"])
def test_eval_that_fails_has_its_own_status(shell: Shell, statements: str) -> None:
    assert shell.run(f"{shell.server}/users", "--quiet", "--eval", statements).returncode == 252


@pytest.mark.parametrize("leaving", ["exit", "exit;", "quit()", ""])
def test_the_ways_to_leave(shell: Shell, leaving: str) -> None:
    """Each ends it with 0; what follows isn't run. quit() alone says no farewell, as in the original."""
    ran = shell.run(shell.server, "--quiet", typed=f"{leaving}\nprint('still here')\n" if leaving else "")
    assert (ran.returncode, ran.stdout) == (0, "" if leaving == "quit()" else "bye\n")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (["--host", "{host}", "--port", "{port}"], "{host}:{port}/test"),
        (["--host={host}:{port}", "users"], "{host}:{port}/users"),
        (["--port", "{port}"], "127.0.0.1:{port}/test"),
        (["{host}:{port}"], "{host}:{port}/test"),
        (["{host}:{port}/users"], "{host}:{port}/users"),
        (["mongodb://{host}:{port}/users"], "{host}:{port}/users"),
    ],
)
def test_the_banner_names_the_server(shell: Shell, address: list[str], shown: str) -> None:
    host, port = shell.server.split(":")
    ran = shell.run(*[word.format(host=host, port=port) for word in address], "--eval", "db")
    database = shown.partition("/")[2]
    assert ran.stdout == (
        f"MongoDB shell version: 3.2.21\nconnecting to: {shown.format(host=host, port=port)}\n{database}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["--nonsense"], 2, "Error parsing command line: unrecognised option '--nonsense'\ntry 'mongo --help'"),
        (["--host"], 2, "the required argument for option '--host' is missing"),
        (["--host", "a", "b/c"], 255, "url can't have host or port if you specify them individually"),
        (["--host", "a:b"], 1, "bad port in a:b"),
        (["users", "script.js"], 2, "this small shell runs no script files: script.js"),
    ],
)
def test_options_that_can_not_be_used(program: Path, arguments: list[str], status: int, complaint: str) -> None:
    ran = Shell(program, "").run(*arguments)
    assert (ran.returncode, ran.stdout) == (status, "")
    assert complaint in ran.stderr


def _refusal(server: str) -> str:
    return (
        f"E QUERY    [thread1] Error: couldn't connect to server {server}, connection attempt failed :\n"
        "connect@src/mongo/shell/mongo.js:231:14\n@(connect):1:6\n\n"
    )


def test_a_closed_port_is_told(program: Path, loopback: Loopback) -> None:
    """In the original's words, with its exit status."""
    server = "{}:{}".format(*loopback.address("user-db"))
    loopback.cut("user-db")
    ran = Shell(program, server).run("--host", server)
    banner = f"MongoDB shell version: 3.2.21\nconnecting to: {server}/test\n"
    failed = f"W NETWORK  [thread1] Failed to connect to {server}, reason: errno:111 Connection refused\n"
    assert (ran.returncode, ran.stderr) == (1, "exception: connect failed\n")
    assert LOGGED.sub("", ran.stdout) == banner + failed + _refusal(server)


def test_silence_is_given_up_after_five_seconds(program: Path) -> None:
    """A port that doesn't answer at all, as under a policy that drops: its queue of connections is full."""
    with socket.socket() as silent, socket.socket() as first:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        first.connect(silent.getsockname())
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        ran = Shell(program, server).run("--quiet", "--host", server)
        took = time.monotonic() - began
    given_up = f"W NETWORK  [thread1] Failed to connect to {server} after 5000 milliseconds, giving up.\n"
    assert (ran.returncode, ran.stderr) == (1, "exception: connect failed\n")
    assert LOGGED.sub("", ran.stdout) == given_up + _refusal(server)
    assert 4.9 < took < 10


def test_a_name_that_does_not_exist_is_told(program: Path) -> None:
    ran = Shell(program, "").run("--quiet", "--host", "no-such-host.invalid")
    assert (ran.returncode, ran.stderr) == (1, "exception: connect failed\n")
    assert 'I NETWORK  [thread1] getaddrinfo("no-such-host.invalid") failed: ' in ran.stdout
    assert "Error: couldn't initialize connection to host no-such-host.invalid, address is invalid :" in ran.stdout


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_is_no_mongodb_is_told(program: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = f"127.0.0.1:{other.getsockname()[1]}"
        with subprocess.Popen([program, server], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            other.settimeout(SECONDS)
            accepted, _ = other.accept()
            with accepted:
                accepted.recv(4096)
                accepted.sendall(answer)
            printed, complained = running.communicate(timeout=SECONDS)
    assert (running.returncode, complained) == (1, "exception: connect failed\n")
    assert f"Error: network error while attempting to run command 'isMaster' on host '{server}'  :" in printed


@pytest.fixture
def terminal(shell: Shell, tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal([shell.program, f"{shell.server}/users"], {"HOME": str(tmp_path)})
    try:
        yield opened
    finally:
        opened.close()


def test_a_person_gets_a_prompt_and_line_editing(terminal: Terminal) -> None:
    """A greeting the first time, `> ` and `... `, the cursor keys' history, and Ctrl-D to leave."""
    assert "Welcome to the MongoDB shell." in terminal.until("\n> ")
    terminal.type("db.cards.count()\r")
    assert "\n4\n" in terminal.until("\n> ")
    terminal.type("\x1b[A\r")
    assert "\n4\n" in terminal.until("\n> ")
    terminal.type("db.cards.find({\r")
    terminal.until("\n... ")
    terminal.type("ccv: '678'})\r")
    assert CARD in terminal.until("\n> ")
    terminal.type("\x04")
    terminal.until("bye")
    assert terminal.wait() == 0


def test_ctrl_c_leaves(terminal: Terminal) -> None:
    terminal.until("\n> ")
    # Python's readline may miss a signal that comes just before it waits; the return key makes it look.
    terminal.type("\x03\r")
    terminal.until("bye")
    assert terminal.wait() == 0


def test_a_lost_connection_is_dialled_again(shell: Shell, terminal: Terminal, loopback: Loopback) -> None:
    """The statement that met it fails, as in the original; a server that is gone is told with each."""
    terminal.until("\n> ")
    loopback.stop("user-db")
    terminal.type("show dbs\r")
    told = terminal.until("error doing query: failed")
    assert f"trying reconnect to {shell.server} (127.0.0.1) failed" in told
    assert f"reconnect {shell.server} (127.0.0.1) failed failed" in told
    terminal.until("\n> ")
