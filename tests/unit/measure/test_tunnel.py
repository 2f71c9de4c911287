"""Tunnels, run for real: bytes cross unchanged, either end's close is seen, and a closed path says how it is closed."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from pathlib import Path

import pytest

from lateral.http import get_json
from lateral.model import Outcome
from lateral.probe import Tunnel, TunnelError

from .local import local


@pytest.fixture(params=["perl", "bash"])
def env(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    if request.param == "perl":
        return dict(os.environ)
    for tool in ("sh", "bash", "timeout", "cat"):
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / tool).symlink_to(found)
    return {**os.environ, "PATH": str(tmp_path)}


def accept(server: socket.socket, env: dict[str, str]) -> socket.socket:
    """The tunnel's connection; bash, whose own connect knows no timeout, tries the address first."""
    server.settimeout(10)
    if not shutil.which("perl", path=env["PATH"]):
        server.accept()[0].close()
    client, _ = server.accept()
    client.settimeout(10)
    return client


def open_tunnel(env: dict[str, str], port: int) -> Tunnel:
    return Tunnel(local(env)[0], "default", "here", "127.0.0.1", port)


def test_every_byte_crosses_both_ways(env: dict[str, str]) -> None:
    everything = bytes(range(256)) * 1024

    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo() -> None:
            client = accept(server, env)
            with client:
                left = len(everything)
                while left:
                    data = client.recv(65536)
                    client.sendall(data)
                    left -= len(data)

        echoing = threading.Thread(target=echo)
        echoing.start()
        with open_tunnel(env, server.getsockname()[1]) as tunnel:
            for start in range(0, len(everything), 16384):
                tunnel.send(everything[start : start + 16384])
                assert tunnel.exactly(16384, 10) == everything[start : start + 16384]
            assert tunnel.receive(10) == b"", "the server's close was not passed on"
        echoing.join()


def test_the_runners_close_ends_the_connection(env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        tunnel = open_tunnel(env, server.getsockname()[1])
        client = accept(server, env)
        with client:
            tunnel.close()
            assert client.recv(1) == b""


def test_an_early_end_is_told(env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        tunnel = open_tunnel(env, server.getsockname()[1])
        client = accept(server, env)
        client.sendall(b"abc")
        client.close()
        with tunnel, pytest.raises(EOFError, match="3 of 5"):
            tunnel.exactly(5, 10)


def test_a_refusal_keeps_its_name(env: dict[str, str], refusing: int) -> None:
    with pytest.raises(TunnelError) as caught:
        open_tunnel(env, refusing)
    assert (caught.value.reason, caught.value.outcome) == ("ECONNREFUSED", Outcome.REFUSED)


def test_silence_is_a_timeout(env: dict[str, str], silent: int) -> None:
    with pytest.raises(TunnelError) as caught:
        open_tunnel(env, silent)
    assert (caught.value.reason, caught.value.outcome) == ("timeout", Outcome.DROPPED)


def test_a_pod_without_a_shell_is_told(tmp_path: Path) -> None:
    with pytest.raises(TunnelError, match="executable file not found") as caught:
        open_tunnel({**os.environ, "PATH": str(tmp_path)}, 80)
    assert caught.value.outcome is Outcome.INCONCLUSIVE


def test_http_speaks_through_it(env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client = accept(server, env)
            with client:
                assert b"GET /cards HTTP/1.1\r\n" in client.recv(4096)
                client.sendall(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1, 2\r\n1\r\n]\r\n0\r\n\r\n"
                )

        serving = threading.Thread(target=serve)
        serving.start()
        with open_tunnel(env, server.getsockname()[1]) as tunnel:
            assert get_json(tunnel, "front-end", "/cards") == [1, 2]
        serving.join()
