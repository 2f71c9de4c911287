"""A blocking HTTP client that keeps cookies, for tests."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lateral.lab.images.standin import Address


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> Any:
        return json.loads(self.text)


class Browser:
    def __init__(self, address: Address) -> None:
        self._address = address
        self.cookies: dict[str, str] = {}

    def ask(
        self, method: str, path: str, body: object = None, *, login: str | None = None, seconds: float = 10
    ) -> Page:
        """`login` is user:password, sent as Basic."""
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if login:
            headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        connection = http.client.HTTPConnection(*self._address, timeout=seconds)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            for header in response.headers.get_all("Set-Cookie", []):
                self.cookies |= {name: morsel.coded_value for name, morsel in SimpleCookie(header).items()}
            return Page(response.status, response.read().decode(), dict(response.headers))
        finally:
            connection.close()

    def get(self, path: str, *, login: str | None = None) -> Page:
        return self.ask("GET", path, login=login)
