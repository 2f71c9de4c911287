"""A shop's entry point in memory, behind the API's port-forward: every step of the journey works in it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

CUSTOMER = "57a98d98e4b00679b4a830b2"
SOCK = {"itemId": "a0a4f044-b040-410d-8ead-4de0446aec7e", "unitPrice": 7.99, "quantity": 1}
SESSION = "logged_in=s1; Max-Age=3600; Path=/"


class SimulatedShop:
    """What it has been asked, and what it answers unless `answers` (method and path -> status, body) says otherwise."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.cookies: list[str] = []
        self.answers: dict[str, tuple[int, Any]] = {}
        self.ships = True
        self._orders: list[dict[str, Any]] = []

    @property
    def log(self) -> str:
        """What queue-master wrote."""
        return f"Received shipment task: {CUSTOMER}\n" * (len(self._orders) if self.ships else 0)

    def answer(self, request: bytes) -> bytes:
        head, _, _ = request.partition(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        asked = line.rpartition(" ")[0]
        if asked == "GET /":  # a probe's hello, and no step of a journey
            return b"HTTP/1.1 200 OK\r\n\r\n"
        self.asked.append(asked)
        self.cookies += [field.removeprefix("Cookie: ") for field in fields if field.startswith("Cookie: ")]
        status, body = self.answers.get(asked) or self._working(asked, fields)
        content = json.dumps(body).encode()
        cookies = ["md.sid=s%3As1.x; HttpOnly; Path=/", SESSION] if asked == "GET /login" and status == 200 else []
        heads = [
            f"HTTP/1.1 {status} As told",
            f"Content-Length: {len(content)}",
            *(f"Set-Cookie: {c}" for c in cookies),
        ]
        return "\r\n".join([*heads, "", ""]).encode() + content

    def _working(self, asked: str, fields: list[str]) -> tuple[int, Any]:
        if asked == "GET /login":
            return (200 if "Authorization: Basic dXNlcjpwYXNzd29yZA==" in fields else 401), ""
        if asked == "POST /orders":
            self._orders.append(
                {"id": f"o{len(self._orders)}", "customerId": CUSTOMER, "total": 12.98, "items": [SOCK]}
            )
            return 201, self._orders[-1]
        return {
            "GET /catalogue": (200, [{}] * 9),
            "DELETE /cart": (202, ""),
            "POST /cart": (201, ""),
            "GET /cart": (200, [SOCK]),
            "GET /orders": (201, self._orders),
        }[asked]


class SimulatedForward:
    """A port-forward's WebSocket to who answers; a server that speaks first does so as soon as it is waited for."""

    def __init__(self, answer: Callable[[bytes], bytes], port: int) -> None:
        announced = port.to_bytes(2, "little")
        self._answer = answer
        self._output: list[bytes | None] = [b"\x00" + announced, b"\x01" + announced]

    def send(self, message: bytes) -> None:
        self._output += [b"\x00" + self._answer(message[1:]), None]

    def receive(self, timeout: float) -> bytes | None:
        assert timeout > 0
        if not self._output:
            self._output = [b"\x00" + self._answer(b""), None]
        return self._output.pop(0)

    def ready(self, other: socket.socket, timeout: float) -> tuple[bool, bool]:
        raise AssertionError(f"unplanned wait for {other} of {timeout} s")

    def close(self) -> None:
        """Nothing is held."""
