"""Logs are bounded by dropping the oldest lines; readers keep their place."""

from __future__ import annotations

import asyncio

from lateral.lab.kubelet.logs import LINE, LogBuffer, LogView


def test_the_oldest_lines_make_room() -> None:
    buffer = LogBuffer(room=12)
    buffer.write(b"one\ntwo\nthree\nfour\n")
    assert [line for _, line in buffer.kept()] == [b"three", b"four"]


def test_a_line_without_end_is_cut() -> None:
    buffer = LogBuffer()
    buffer.write(b"x" * (2 * LINE + 1))
    assert [len(line) for _, line in buffer.kept()] == [LINE, LINE]


def test_a_reader_keeps_its_place_when_lines_are_dropped() -> None:
    async def scenario() -> list[bytes]:
        buffer = LogBuffer(room=12)
        buffer.write(b"one\ntwo\n")
        view = LogView(buffer)
        seen = len(view.snapshot())
        buffer.write(b"three\nfour\n")
        buffer.close()
        return [line async for _, line in view.follow(seen)]

    assert asyncio.run(scenario()) == [b"three", b"four"]
