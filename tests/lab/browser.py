"""A headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # which root can't have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1280,900",
)
TIMEOUT = 30.0


def found() -> str | None:
    """The browser's path, if this machine has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One tab. `requests` are the addresses it has fetched, `complaints` what went wrong in its scripts."""

    def __init__(self, connection: Any, session: str) -> None:
        self._connection = connection
        self._session = session
        self._numbers = itertools.count(100)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> Any:
        return _command(self._connection, next(self._numbers), method, parameters, self._session, self._note)

    def open(self, address: str) -> None:
        self.command("Page.navigate", url=address)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self.command("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true; a page that is being loaded has no answer yet."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            with contextlib.suppress(AssertionError):
                if self.evaluate(f"new Promise(done => setTimeout(() => done(Boolean({condition})), 30))"):
                    return
        raise AssertionError(f"{condition} was never true; the page says: {self.evaluate('document.body.innerText')}")

    def click(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, text: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(text)}")

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))

    def _note(self, event: dict[str, Any]) -> None:
        details = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(details["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(details["exceptionDetails"]))
            case "Log.entryAdded" if details["entry"]["source"] == "security":
                self.complaints.append(details["entry"]["text"])


@contextlib.contextmanager
def tab(program: str) -> Iterator[Tab]:
    """A browser of its own for the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        log = Path(profile, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, *FLAGS, f"--user-data-dir={profile}/profile", "about:blank"],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            connection = websocket.create_connection(_address(process, log), timeout=TIMEOUT, suppress_origin=True)
            with contextlib.closing(connection):
                target = _command(connection, 1, "Target.createTarget", {"url": "about:blank"})["targetId"]
                attached = _command(connection, 2, "Target.attachToTarget", {"targetId": target, "flatten": True})
                yield Tab(connection, attached["sessionId"])
        finally:
            # The session is its own, so the group is all of this browser's processes and nobody else's.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where the browser says that it listens."""
    deadline = time.monotonic() + TIMEOUT
    announcement = "DevTools listening on "
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith(announcement):
                return line.removeprefix(announcement).strip()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError(f"the browser could not be started: {log.read_text(errors='replace')[-2000:]}")


def _command(
    connection: Any,
    number: int,
    method: str,
    parameters: dict[str, Any],
    session: str = "",
    note: Callable[[dict[str, Any]], None] | None = None,
) -> Any:
    message = {"id": number, "method": method, "params": parameters}
    connection.send(json.dumps({**message, "sessionId": session} if session else message))
    while True:
        answer = json.loads(connection.recv())
        if answer.get("id") == number:
            assert "error" not in answer, f"{method}: {answer['error']}"
            return answer["result"]
        if note:
            note(answer)
