"""A program on a pseudo-terminal, as a person has it in front of them."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence

import pytest

SECONDS = 30.0


class Terminal:
    """`command` as the leader of a session with a terminal of its own."""

    def __init__(self, command: Sequence[str | os.PathLike[str]], env: Mapping[str, str]) -> None:
        self._screen, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "INPUTRC": os.devnull, **env},
            start_new_session=True,
            # What a session's leader opens first becomes its terminal.
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
        )
        os.close(theirs)
        self._seen = b""

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def resize(self, columns: int, rows: int) -> None:
        """As a window does: who runs in it is signalled."""
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, awaited: str) -> str:
        """What comes on the screen up to `awaited`, with plain line ends; what follows is for the next call."""
        deadline = time.monotonic() + SECONDS
        while awaited not in (text := self._seen.decode(errors="replace").replace("\r\n", "\n")):
            ready, _, _ = select.select([self._screen], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                pytest.fail(f"{awaited!r} did not come within {SECONDS:.0f} s; the screen shows:\n{text}")
            try:
                self._seen += os.read(self._screen, 4096)
            except OSError:
                pytest.fail(f"{awaited!r} did not come before the end; the screen shows:\n{text}")
        found, _, rest = text.partition(awaited)
        self._seen = rest.encode()
        return found + awaited

    def wait(self) -> int:
        """The exit status; the screen is read to its end meanwhile."""
        deadline = time.monotonic() + SECONDS
        while select.select([self._screen], [], [], max(0.0, deadline - time.monotonic()))[0]:
            try:
                os.read(self._screen, 4096)
            except OSError:
                break
        return self.process.wait(SECONDS)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)
