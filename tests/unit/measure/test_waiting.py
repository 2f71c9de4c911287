"""Waits are bounded, and say what they waited for."""

from __future__ import annotations

import time

import pytest

from lateral.errors import WaitError
from lateral.waiting import retrying, until


def test_the_first_result_is_returned() -> None:
    answers = iter([None, None, "ready"])
    assert until("it", lambda: next(answers), timeout=5, interval=0.001) == "ready"
    assert list(answers) == []


def test_a_wait_in_vain_says_what_how_long_and_the_last_state() -> None:
    started = time.monotonic()
    with pytest.raises(WaitError, match=r"waited 0\.2 s for the shop in vain; last seen: 3/14"):
        until("the shop", lambda: None, timeout=0.2, interval=0.01, state=lambda: "3/14")
    assert 0.2 <= time.monotonic() - started < 2


def test_an_error_of_the_check_ends_the_wait() -> None:
    with pytest.raises(ZeroDivisionError):
        until("it", lambda: 1 // 0, timeout=5)


def test_only_transient_errors_are_tried_again_and_only_so_often() -> None:
    calls: list[str] = []

    def call(error: Exception) -> None:
        calls.append(type(error).__name__)
        raise error

    with pytest.raises(ConnectionError):
        retrying(lambda: call(ConnectionError()), lambda error: isinstance(error, OSError), attempts=3)
    with pytest.raises(KeyError):
        retrying(lambda: call(KeyError()), lambda error: isinstance(error, OSError), attempts=3)
    assert calls == ["ConnectionError"] * 3 + ["KeyError"]
