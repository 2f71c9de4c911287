"""The API under test, served on loopback by a thread of its own, over a real store and a stand-in for the node."""

from __future__ import annotations

import asyncio
import datetime
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web
from kubernetes import client

from lateral.lab.api import make_app
from lateral.lab.status import bad_request
from lateral.lab.store import Object, Store

if TYPE_CHECKING:
    from aiohttp.typedefs import Middleware

TOKEN = "a-token"  # noqa: S105 - of a server that lives for one test
T = TypeVar("T")


class LocalProcess:
    """A program of this machine, in the shape that the API expects of a container's."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.killed = threading.Event()
        self.size: tuple[int, int] | None = None

    async def read_stdout(self) -> bytes:
        assert self.process.stdout is not None
        return await self.process.stdout.read(65536)

    async def read_stderr(self) -> bytes:
        assert self.process.stderr is not None
        return await self.process.stderr.read(65536)

    async def write_stdin(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    async def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def wait(self) -> int:
        while (code := self.process.returncode) is None:  # its own wait() would also wait for the pipes
            await asyncio.sleep(0.01)
        return code if code >= 0 else 128 - code

    def kill(self, signal: int) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal)
        self.killed.set()

    def resize(self, columns: int, rows: int) -> None:
        self.size = (columns, rows)


class Lines:
    """A container's output; `write` and `end` may be called from any thread."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, bytes]] = []
        self._ended = False

    def write(self, text: str, age: int = 0) -> None:
        written = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
        self._lines.append((written.strftime("%Y-%m-%dT%H:%M:%S.000000000Z"), text.encode()))

    def end(self) -> None:
        self._ended = True

    def snapshot(self) -> list[tuple[str, bytes]]:
        return list(self._lines)

    async def follow(self, start: int) -> AsyncIterator[tuple[str, bytes]]:
        while not self._ended or start < len(self._lines):
            if start < len(self._lines):
                yield self._lines[start]
                start += 1
            else:
                await asyncio.sleep(0.01)


class LocalKubelet:
    """Runs programs on this machine, and dials its loopback; only containers named `main` run."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.started: list[LocalProcess] = []

    def require_running(self, pod: Object, container: str | None) -> None:  # noqa: ARG002
        if container != "main":
            raise bad_request(f"container {container} is not running")

    async def exec(self, pod: Object, container: str | None, argv: Sequence[str], *, tty: bool) -> LocalProcess:  # noqa: ARG002
        if container != "main":
            raise bad_request(f"container {container} is not running")
        pipe = asyncio.subprocess.PIPE
        process = LocalProcess(await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe))
        self.started.append(process)
        return process

    async def attach(self, pod: Object, container: str | None, *, stdin: bool) -> LocalProcess:  # noqa: ARG002
        return await self.exec(pod, container, ["sh", "-c", "echo attached"], tty=False)

    def logs(self, pod: Object, container: str | None) -> Lines:  # noqa: ARG002
        if container != "main":
            raise bad_request(f'container "{container}" in pod is waiting to start: ContainerCreating')
        return self.lines

    def dial(self, pod: Object, port: int) -> socket.socket:  # noqa: ARG002
        dialled = socket.socket()
        dialled.setblocking(False)
        dialled.connect_ex(("127.0.0.1", port))
        return dialled


class Served:
    """The running server: its store (to be touched by `within` only), its node, and ways to ask it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, store: Store, kubelet: LocalKubelet, url: str) -> None:
        self._loop = loop
        self.store = store
        self.kubelet = kubelet
        self.url = url
        self.cleanup = ExitStack()
        """What clients leave open is closed before the server."""

    def within(self, act: Callable[[], T]) -> T:
        """Do something in the server's own thread."""

        async def do() -> T:
            return act()

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(10)

    def client(self) -> Any:
        configuration = client.Configuration(host=self.url)
        configuration.api_key = {"authorization": f"Bearer {TOKEN}"}
        configuration.retries = False
        api = client.ApiClient(configuration)
        self.cleanup.callback(api.rest_client.pool_manager.clear)
        return api

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        token: str | None = TOKEN,
        accept: str = "application/json",
    ) -> Answer:
        """One plain HTTP request; a body of text or bytes is sent as it is."""
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        data = None if body is None else text if isinstance(text, bytes) else text.encode()
        request = urllib.request.Request(self.url + path, data, method=method)  # noqa: S310 - our own server
        request.add_header("Content-Type", content_type)
        request.add_header("Accept", accept)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - our own server
                return Answer(response.status, response.read(), response.headers.get_all("Warning") or [])
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), [])


class Answer:
    """An HTTP answer."""

    def __init__(self, code: int, body: bytes, warnings: list[str]) -> None:
        self.code = code
        self.text = body.decode()
        self.warnings = warnings

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def message(self) -> str:
        """Of a Status; insists that it is a failure's, with this answer's code."""
        status = self.json
        assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", self.code)
        return str(status["message"])


@contextmanager
def serve(middlewares: Callable[[], Sequence[Middleware]] = tuple) -> Iterator[Served]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    store, kubelet = Store(), LocalKubelet()

    async def start() -> tuple[web.AppRunner, str]:
        for name in ("default", "shop"):
            store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        app = make_app(store, kubelet, token=TOKEN, middlewares=middlewares())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
        await runner.setup()
        listening = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, listening).start()
        return runner, f"http://127.0.0.1:{listening.getsockname()[1]}"

    runner, url = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    served = Served(loop, store, kubelet, url)
    try:
        with served.cleanup:
            yield served
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(15)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
