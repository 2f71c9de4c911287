"""Runs a test's body inside a node of its own: its namespaces, its root, and a fork server to start containers with.

Run as a program it is that node: `python in_node.py FILE FUNCTION`.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from lateral.lab import forkserver, images, isolation, kernel, rootfs
from lateral.lab.spawner import ContainerSpec, Spawner

if TYPE_CHECKING:
    from lateral.lab.process import Process

TIMEOUT = 60.0
SESSION_KEY = b"secret-of-the-session"
_SESSION, _SEARCH = -3, 10

Body = Callable[["Node"], Awaitable[None]]


class Node:
    """What a test's body gets. `netns` is the node's own network namespace."""

    def __init__(self, channel: socket.socket, server: int) -> None:
        self.spawner = Spawner(channel)
        self.server = server
        self.netns = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def spec(
        self,
        *argv: str,
        files: dict[str, str] | None = None,
        binds: dict[str, str] | None = None,
        volumes: dict[str, str] | None = None,
    ) -> ContainerSpec:
        return ContainerSpec(
            name="test",
            argv=argv,
            env={"COLOUR": "green"},
            hostname="pod-1",
            netns=self.netns,
            files=files or {},
            binds=binds or {},
            volumes=volumes or {},
        )

    async def start(self, *argv: str) -> Process:
        return await self.spawner.start(self.spec(*argv))

    async def shell(self, script: str) -> str:
        """What `script` prints in a container of its own."""
        container = await self.start("bash", "-c", script)
        printed = await output(container)
        await container.wait()
        return printed


async def output(process: Process) -> str:
    """Everything on standard output, to its end."""
    chunks = []
    while chunk := await process.read_stdout():
        chunks.append(chunk)
    return b"".join(chunks).decode()


def in_node(body: Body) -> Callable[[], None]:
    """Make a test of a coroutine function that runs in a node, in a process of its own."""

    @functools.wraps(body)
    def test() -> None:
        code = sys.modules[body.__module__].__file__ or ""
        command = [sys.executable, "-P", __file__, code, body.__name__]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert done.returncode == 0, f"in the node:\n{done.stdout}{done.stderr}"

    # What functools keeps for itself, pytest takes for the test, and its parameter for a fixture.
    test.body = test.__dict__.pop("__wrapped__")  # type: ignore[attr-defined]
    return test


def stand_in(name: str, args: Sequence[str]) -> int:
    """The stand-ins of these tests, in place of the lab's images."""
    if name == "wait":
        sys.stdout.write(f"waiting as {os.getpid()} {' '.join(args)}\n")
        # In short turns: a signal that comes just before one is seen by the interpreter after it, and not sooner.
        ended = time.monotonic() + TIMEOUT
        while time.monotonic() < ended:
            time.sleep(0.05)
    if name == "crash":
        raise ValueError("nobody expected this")
    return int(args[0])


def main(code: str, function: str) -> int:
    spec = importlib.util.spec_from_file_location("body", code)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["body"] = module
    spec.loader.exec_module(module)
    images.run = stand_in
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # as a shell has it for what it starts in the background
    _keep_a_secret()
    trees = rootfs.shared_trees()
    isolation.leave_host(trees)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    kernel.prctl_set_pdeathsig(signal.SIGKILL)
    isolation.furnish(trees)
    channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = os.fork()
    if not server:
        channel.close()
        forkserver.ForkServer(theirs, trees).serve()
        os._exit(0)
    theirs.close()
    asyncio.run(_body(getattr(module, function).body, channel, server))
    return 0


def _keep_a_secret() -> None:
    """Put a key into a session of this process's own, as a login puts in those of its user."""
    kernel.new_session_keyring()
    found = _system_call("add_key", b"user", SESSION_KEY, b"secret", 6, _SESSION)
    assert found >= 0, os.strerror(ctypes.get_errno())


def find_key(name: bytes) -> int:
    """The number of a key that this process's session has; raises OSError."""
    found = _system_call("keyctl", _SEARCH, _SESSION, b"user", name, 0)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found


def _system_call(name: str, *arguments: int | bytes) -> int:
    numbers = {"x86_64": {"add_key": 248, "keyctl": 250}}.get(os.uname().machine, {"add_key": 217, "keyctl": 219})
    words = (ctypes.c_long(word) if isinstance(word, int) else ctypes.c_char_p(word) for word in arguments)
    return int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(numbers[name]), *words))


async def _body(body: Body, channel: socket.socket, server: int) -> None:
    await body(Node(channel, server))


if __name__ == "__main__":
    try:
        status = main(*sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
