"""Requests to a real HTTP server: what passes is tried again within bounds, what is refused is told in its words."""

from __future__ import annotations

import base64
import copy
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from lateral.connection import ApiError, Connection, TransportError
from lateral.errors import ClusterError, ProviderError

Planned = tuple[int, bytes] | None


class Server(ThreadingHTTPServer):
    """Answers with the planned statuses and bodies, one a request; None breaks the connection."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.planned: list[Planned] = []
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def handle_one(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, dict(self.headers), json.loads(body or b"null")))
        planned = self.server.planned.pop(0)
        if planned is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(planned[0])
        self.send_header("Content-Length", str(len(planned[1])))
        self.end_headers()
        self.wfile.write(planned[1])

    do_GET = do_POST = do_PATCH = do_DELETE = handle_one  # noqa: N815 -- the server's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the server's name
        """Tests' output stays quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture
def connection(server: Server) -> Iterator[Connection]:
    connected = Connection(kubeconfig(f"http://127.0.0.1:{server.server_port}"))
    yield connected
    connected.close()


@pytest.fixture
def closing() -> Iterator[list[Connection]]:
    """Connections to close after the test."""
    opened: list[Connection] = []
    yield opened
    for one in opened:
        one.close()


def kubeconfig(host: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": host}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def test_a_server_that_has_answered_once_is_waited_for_longer(server: Server, connection: Connection) -> None:
    """It restarts; one that never answers is more likely somebody's mistake, which is told within seconds."""
    server.planned = [None] * 20
    with pytest.raises(TransportError):
        connection.request("GET", "/version")
    at_first = len(server.requests)
    assert 3 < at_first < 10
    server.planned = [(200, b"{}"), *[None] * at_first, (200, b'{"back": true}')]
    assert connection.request("GET", "/version") == {}
    assert connection.request("GET", "/version") == {"back": True}


def test_a_request_carries_token_query_and_body(server: Server, connection: Connection) -> None:
    server.planned = [(201, b'{"kind": "Pod"}')]
    answer = connection.request("POST", "/api/v1/pods", {"fieldValidation": "Strict"}, {"kind": "Pod"})
    assert answer == {"kind": "Pod"}
    [(method, path, headers, body)] = server.requests
    assert (method, path, body) == ("POST", "/api/v1/pods?fieldValidation=Strict", {"kind": "Pod"})
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("trouble", [None, (429, b"{}"), (500, b"{}"), (503, b"busy"), (504, b"")])
def test_what_passes_is_tried_again(server: Server, connection: Connection, trouble: Planned) -> None:
    server.planned = [trouble, trouble, (200, b'{"fine": true}')]
    assert connection.request("GET", "/api/v1/pods") == {"fine": True}
    assert len(server.requests) == 3


def test_what_does_not_pass_is_given_up(
    server: Server, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lateral.waiting._LONGEST_RETRY", 1.0)
    server.planned = [(503, b'{"message": "etcd is down"}')] * 20
    with pytest.raises(ApiError, match="etcd is down"):
        connection.request("GET", "/api/v1/pods")
    server.planned = [None] * 20
    with pytest.raises(TransportError):
        connection.request("GET", "/api/v1/pods")


def test_a_kubelet_that_was_restarted_is_asked_again(server: Server, connection: Connection) -> None:
    """For a moment it knows none of its pods; the API server's word that there is none is final."""
    server.planned = [(404, b"pod does not exist"), (200, b"the log")]
    assert connection.text("/api/v1/namespaces/default/pods/rogue/log") == "the log"
    server.planned = [(404, b'{"message": "pods \\"rogue\\" not found"}')]
    with pytest.raises(ApiError, match="not found"):
        connection.text("/api/v1/namespaces/default/pods/rogue/log")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_refusal_is_told_at_once_in_the_servers_words(server: Server, connection: Connection, status: int) -> None:
    server.planned = [(status, b'{"kind": "Status", "message": "strict decoding error: unknown field"}')]
    with pytest.raises(ApiError, match=r"refused PATCH /api/v1/pods.*unknown field") as caught:
        connection.request("PATCH", "/api/v1/pods", body={})
    assert caught.value.status == status


def test_text_is_taken_as_it_is(server: Server, connection: Connection) -> None:
    server.planned = [None, (200, b"one\ntwo \xff\n"), (404, b'{"message": "pods p not found"}')]
    assert connection.text("/api/v1/namespaces/default/pods/p/log", {"container": "c d"}) == "one\ntwo \ufffd\n"
    assert [path for _, path, _, _ in server.requests] == ["/api/v1/namespaces/default/pods/p/log?container=c+d"] * 2
    with pytest.raises(ApiError, match="pods p not found"):
        connection.text("/api/v1/namespaces/default/pods/p/log")


def test_an_answer_that_isnt_json_is_told(server: Server, connection: Connection) -> None:
    server.planned = [(200, b"<html>proxy</html>")]
    with pytest.raises(ClusterError, match="isn't JSON"):
        connection.request("GET", "/api/v1/pods")


def test_a_stream_that_is_refused_says_why(server: Server, connection: Connection) -> None:
    server.planned = [(403, b'{"message": "pods/exec is forbidden"}')]
    with pytest.raises(ApiError, match="pods/exec is forbidden") as caught:
        connection.websocket("/api/v1/namespaces/default/pods/p/exec", [("command", "a b"), ("command", "c")])
    assert caught.value.status == 403
    [(_, path, headers, _)] = server.requests
    assert path.endswith("/exec?command=a+b&command=c")
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Sec-WebSocket-Protocol"] == "v5.channel.k8s.io,v4.channel.k8s.io"


def test_the_environments_proxy_is_not_for_this_machine(
    server: Server, closing: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.setenv("no_proxy", "example.org")
    server.planned = [(200, b"{}"), (403, b'{"message": "asked without a proxy"}')]
    connection = Connection(kubeconfig(f"http://127.0.0.1:{server.server_port}"))
    closing.append(connection)
    assert connection.request("GET", "/api/v1/pods") == {}
    with pytest.raises(ApiError, match="asked without a proxy"):
        connection.websocket("/api/v1/namespaces/default/pods/p/exec", [])


def test_a_proxy_that_the_kubeconfig_names_is_used(server: Server, closing: list[Connection]) -> None:
    server.planned = [(200, b"{}")]
    config = kubeconfig("http://127.0.0.1:9")
    config["clusters"][0]["cluster"]["proxy-url"] = f"http://127.0.0.1:{server.server_port}"
    connection = Connection(config)
    closing.append(connection)
    assert connection.request("GET", "/api/v1/pods") == {}
    [(_, path, _, _)] = server.requests
    assert path == "http://127.0.0.1:9/api/v1/pods"


def test_an_abandoned_server_is_waited_for_by_nobody(server: Server, connection: Connection) -> None:
    connection.abandon("the cluster ended")
    for ask in (
        lambda: connection.request("GET", "/api/v1/pods"),
        lambda: connection.websocket("/api/v1/namespaces/default/pods/p/exec", []),
    ):
        with pytest.raises(ProviderError, match="the cluster ended"):
            ask()
    assert server.requests == []


def test_the_authority_that_a_kubeconfig_holds_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed could not remove it again."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    authority, config = trustme.CA(), kubeconfig("https://127.0.0.1:1")
    data = base64.b64encode(authority.cert_pem.bytes()).decode()
    config["clusters"][0]["cluster"]["certificate-authority-data"] = data
    connected = Connection(config)
    assert list(tmp_path.iterdir()) == []
    assert config["clusters"][0]["cluster"]["certificate-authority-data"] == data
    connected.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def guarded(server: Server, authority: trustme.CA) -> dict[str, Any]:
    """The kubeconfig of a server that speaks to those alone who have a certificate of its authority; this one has."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    config = kubeconfig(f"https://127.0.0.1:{server.server_port}")
    config["clusters"][0]["cluster"]["certificate-authority-data"] = encoded(authority.cert_pem)
    client = authority.issue_cert("client.example.org")
    chain, key = client.cert_chain_pems[0], client.private_key_pem
    config["users"][0]["user"] = {"client-certificate-data": encoded(chain), "client-key-data": encoded(key)}
    return config


def encoded(pem: trustme.Blob) -> str:
    return base64.b64encode(pem.bytes()).decode()


@pytest.mark.parametrize("apart", ["", "client-certificate", "client-key"])
def test_the_clients_certificate_and_key_are_written_nowhere(
    apart: str,
    server: Server,
    guarded: dict[str, Any],
    closing: list[Connection],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They serve requests and streams all the same; one of the two may be in a file of the user's."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    user = guarded["users"][0]["user"]
    if apart:
        (tmp_path / "user.pem").write_bytes(base64.b64decode(user.pop(f"{apart}-data")))
        user[apart] = str(tmp_path / "user.pem")
    stated = copy.deepcopy(guarded)
    server.planned = [(200, b"{}"), (403, b'{"message": "known, and refused"}')]
    closing.append(Connection(guarded))
    assert closing[0].request("GET", "/api/v1/pods") == {}
    with pytest.raises(ApiError, match="known, and refused"):
        closing[0].websocket("/api/v1/namespaces/default/pods/p/exec", [])
    assert list(temporary.iterdir()) == []
    assert guarded == stated


def test_data_counts_where_there_is_a_file_too(
    server: Server, guarded: dict[str, Any], closing: list[Connection]
) -> None:
    guarded["users"][0]["user"] |= {"client-certificate": "/no/such/file", "client-key": "/no/such/file"}
    server.planned = [(200, b"{}")]
    closing.append(Connection(guarded))
    assert closing[0].request("GET", "/api/v1/pods") == {}


def test_a_key_that_cant_be_used_is_told(guarded: dict[str, Any]) -> None:
    """An encrypted one too, instead of a question for its password."""
    user = guarded["users"][0]["user"]
    plain = load_pem_private_key(base64.b64decode(user["client-key-data"]), None)
    secret = BestAvailableEncryption(b"unknown")
    for key in (
        b"no key",
        trustme.CA().issue_cert("other.example.org").private_key_pem.bytes(),
        plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret),
    ):
        user["client-key-data"] = base64.b64encode(key).decode()
        with pytest.raises(ClusterError, match="the kubeconfig's certificates or key can't be used"):
            Connection(guarded)


def test_a_kubeconfig_that_names_nothing_is_told() -> None:
    with pytest.raises(ClusterError, match="the kubeconfig can't be used"):
        Connection({"apiVersion": "v1", "kind": "Config", "current-context": "missing"})


def test_a_token_of_a_file_is_read_again(server: Server, closing: list[Connection], tmp_path: Path) -> None:
    """It is renewed while a run goes on."""
    token, config = tmp_path / "token", kubeconfig(f"http://127.0.0.1:{server.server_port}")
    token.write_text("first\n")
    config["users"][0]["user"] = {"tokenFile": str(token)}
    server.planned = [(200, b"{}"), (200, b"{}")]
    connection = Connection(config)
    closing.append(connection)
    connection.request("GET", "/version")
    token.write_text("second\n")
    connection.request("GET", "/version")
    assert [headers["Authorization"] for _, _, headers, _ in server.requests] == ["Bearer first", "Bearer second"]
    token.unlink()
    with pytest.raises(ClusterError, match=r"token can't be read: .*No such file"):
        connection.request("GET", "/version")


@pytest.mark.parametrize(
    ("said", "kept"),
    [('{"kind": "ExecCredential", "status": {"token": "plugged"}}', "Bearer plugged"), ("", "")],
)
def test_credentials_of_a_plugin(
    server: Server, closing: list[Connection], tmp_path: Path, said: str, kept: str
) -> None:
    """What it says is used; where it says nothing, nobody goes on as no one in particular."""
    version, config = "client.authentication.k8s.io/v1", kubeconfig(f"http://127.0.0.1:{server.server_port}")
    (tmp_path / "said").write_text(said and json.dumps({"apiVersion": version, **json.loads(said)}))
    plugin = {"apiVersion": version, "command": "cat", "args": [str(tmp_path / "said")], "interactiveMode": "Never"}
    config["users"][0]["user"] = {"exec": plugin}
    if not kept:
        with pytest.raises(ClusterError, match="the credential plugin cat gave no credentials"):
            Connection(config)
        return
    server.planned = [(200, b"{}")]
    connection = Connection(config)
    closing.append(connection)
    connection.request("GET", "/version")
    assert server.requests[0][2]["Authorization"] == kept
