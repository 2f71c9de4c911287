"""A proxy between the suite's client and a cluster's API that makes trouble as it is told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tests.lab.proxy import Asked, Proxy, proxied


class Trouble(Enum):
    """What can become of a request."""

    TOO_MANY = "429, come back in a second"
    FAILED = "500"
    AWAY = "reset before the server has seen the request"
    LOST = "reset after the server has done what was asked"
    CUT = "half of the answer, then a reset"
    LATE = "an answer that comes late"


@dataclass(frozen=True, slots=True)
class Rule:
    """Trouble for the requests that match, each with a chance; `upgraded` concerns streams, not plain answers."""

    trouble: Trouble
    chance: float
    matches: Callable[[str, str], bool] = lambda _method, _path: True


class Troublemaker(Proxy):
    """The proxy's plan, and what became of it."""

    def __init__(self, kubeconfig: Mapping[str, Any], rules: list[Rule], seed: int) -> None:
        super().__init__(kubeconfig)
        self.made: Counter[Trouble] = Counter()
        self._rules = rules
        self._chance = random.Random(seed)  # noqa: S311 - nothing secret is chosen

    async def answer(self, asked: Asked) -> None:
        trouble = self._pick(asked.method, asked.path)
        if trouble is Trouble.TOO_MANY:
            await asked.say(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
            return
        if trouble is Trouble.FAILED:
            await asked.say(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
            return
        if trouble is Trouble.AWAY:
            return
        if trouble is Trouble.LATE:
            await asyncio.sleep(0.5)
        if asked.upgraded:
            most = self._chance.randint(100, 400) if trouble in (Trouble.CUT, Trouble.LOST) else 0
            await self.forward(asked, most)
            return
        answer = await self.fetch(asked)
        if trouble is not Trouble.LOST:
            await asked.say(answer[: len(answer) // 2] if trouble is Trouble.CUT else answer)

    def _pick(self, method: str, path: str) -> Trouble | None:
        for rule in self._rules:
            if rule.matches(method, path) and self._chance.random() < rule.chance:
                self.made[rule.trouble] += 1
                return rule.trouble
        return None


@contextmanager
def troubled(kubeconfig: Mapping[str, Any], rules: list[Rule], seed: int = 1) -> Iterator[dict[str, Any]]:
    """A kubeconfig that leads through a troublemaker. Trouble that never happened is an error."""
    maker = Troublemaker(kubeconfig, rules, seed)
    with proxied(maker) as found:
        yield found
    missing = {rule.trouble for rule in rules} - maker.made.keys()
    assert not missing, f"never happened: {missing}"
