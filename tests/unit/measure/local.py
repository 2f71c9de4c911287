"""A cluster whose only pod is this machine: an exec runs the command here, behind a real cluster's framing."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lateral.cluster import Cluster
from lateral.connection import TransportError
from lateral.model import ClusterFacts

FACTS = ClusterFacts("here", "v1.32.0", "test")


class LocalSocket:
    """A command's streams as the numbered channels of a WebSocket."""

    def __init__(self, argv: list[str], env: Mapping[str, str], heard: list[bytes]) -> None:
        self._heard = heard
        self._ended = False
        self._status = {"status": "Success"}
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(env)
            )
        except FileNotFoundError:
            message = f'exec: "{argv[0]}": executable file not found in $PATH'
            self._status = {"status": "Failure", "message": message}

    def send(self, message: bytes) -> None:
        assert message[0] == 0
        self._heard.append(message[1:])
        if self._process is not None:
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(message[1:])
                self._process.stdin.flush()
            except BrokenPipeError:
                raise TransportError("the command reads no more") from None

    def ready(self, other: socket.socket, timeout: float) -> tuple[bool, bool]:
        raise AssertionError(f"unplanned wait for {other} of {timeout} s")

    def receive(self, timeout: float) -> bytes | None:
        if self._ended:
            return None
        if self._process is None:
            return self._end()
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            raise TimeoutError
        if data := os.read(self._process.stdout.fileno(), 65536):
            return b"\x01" + data
        if code := self._process.wait():
            self._status = {"status": "Failure", "message": f"command terminated with exit code {code}"}
        return self._end()

    def _end(self) -> bytes:
        self._ended = True
        return b"\x03" + json.dumps(self._status).encode()

    def close(self) -> None:
        """End as a kubelet does: the command's input ends, and it goes by itself."""
        if self._process is None:
            return
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        process.stderr.close()
        try:
            process.wait(5)
        finally:
            process.kill()
            process.wait()


class LocalApi:
    """Execs only; any other request is a mistake of the test. Records the commands, and which are expected."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self.commands: list[list[str]] = []
        self.heard: list[bytes] = []
        self._env = dict(os.environ if env is None else env)
        self.expected: list[str] = []

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        raise AssertionError(f"unplanned {method} {path} {query} {body} {content_type}")

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        raise AssertionError(f"unplanned text of {path} {query}")

    @property
    def origins(self) -> list[str]:
        """The ports that datagrams were to come from."""
        lines = (line.split() for line in b"".join(self.heard).decode().splitlines())
        return [line[6] for line in lines if len(line) == 9 and line[5] == "udp"]

    def websocket(self, path: str, query: Iterable[tuple[str, str]]) -> LocalSocket:
        assert path == "/api/v1/namespaces/default/pods/here/exec"
        argv = [value for name, value in query if name == "command"]
        self.commands.append(argv)
        return LocalSocket(argv, self._env, self.heard)

    def watch(self, path: str, query: Mapping[str, str]) -> Iterator[Any]:
        raise AssertionError(f"unplanned watch of {path} {query}")

    def abandon(self, why: str) -> None:
        raise AssertionError(f"unplanned end: {why}")

    def refusing(self, why: str) -> contextlib.AbstractContextManager[None]:
        raise AssertionError(f"unplanned end: {why}")

    def break_streams(self) -> None:
        """No test leaves one open."""

    def close(self) -> None:
        """Nothing is held."""


def local(env: Mapping[str, str] | None = None) -> tuple[Cluster, LocalApi]:
    api = LocalApi(env)
    return Cluster(api, FACTS), api
