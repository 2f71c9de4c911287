"""The matrix: what each cell says, and that it fits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from lateral.model import Flow, Outcome, Phase
from lateral.reports.matrix import render
from lateral.topology import load
from lateral.verdict import judge

from .synthetic import CONTROL, DENIED, FLOWS, IGNORED, INTENDED, ROGUE, Seen, assess

BASELINE, ENFORCED, RESTORED = Phase


def matrix(width: int = 120, odd: Mapping[str, Seen] | None = None) -> list[str]:
    return render(judge(assess(odd=odd)), width)


def test_side_by_side() -> None:
    """Rows are targets, columns sources by letter; before the policies left, under them right; then the keys."""
    flows = [
        dataclasses.replace(flow, source=dataclasses.replace(flow.source, name=name))
        for flow in FLOWS
        for name in (flow.source.name, *(f"other{n}" for n in range(10)))
    ]
    lines = render(judge(assess(flows)), 120)
    assert "before the policies" in lines[0]
    assert "under the policies" in lines[0]
    assert lines[2].split() == ["user-db.sock-shop:27017", *"X" * 11, *"o" * 11, *"." * 11, *"o" * 11]


def test_stacked() -> None:
    """Where both don't fit side by side, one stands below the other, with the same letters."""
    assert [line.rstrip() for line in matrix(80)] == [
        "                         before the policies",
        "                         a b",
        "user-db.sock-shop:27017  X o",
        "listener.outside:8080    o",
        "",
        "                         under the policies",
        "                         a b",
        "user-db.sock-shop:27017  . o",
        "listener.outside:8080    o",
        "",
        "a rogue.default    b user.sock-shop",
        "X open, and not intended   o open, as intended   . closed   ! intended, but broken   ? nothing proven",
    ]


@pytest.mark.parametrize(
    ("flow", "seen", "before", "under"),
    [
        (DENIED, {}, "X", "."),
        (DENIED, {ENFORCED: Outcome.OPEN}, "X", "X"),
        (DENIED, {BASELINE: Outcome.DROPPED}, ".", "?"),
        (DENIED, {BASELINE: Outcome.INCONCLUSIVE}, "?", "?"),
        (INTENDED, {}, "o", "o"),
        (INTENDED, {ENFORCED: Outcome.DROPPED}, "o", "!"),
        (INTENDED, {BASELINE: Outcome.REFUSED}, "!", "?"),
        (CONTROL, {RESTORED: Outcome.DROPPED}, "o", "?"),
    ],
)
def test_cells(flow: Flow, seen: Seen, before: str, under: str) -> None:
    """Every verdict has its symbol, and so has what was seen before."""
    lines = matrix(80, {flow.id: seen})
    row, column = {DENIED.id: (2, 0), INTENDED.id: (2, 1), CONTROL.id: (3, 0)}[flow.id]
    assert lines[row][25 + 2 * column] == before
    assert lines[row + 5][25 + 2 * column] == under


def test_colours() -> None:
    """Each symbol is painted by itself, so that colours don't move the columns."""
    painted = render(
        judge(assess(enforcement=IGNORED)), 80, lambda text, colour: f"<{colour}:{text}>" if colour else text
    )
    assert painted[2].rstrip() == "user-db.sock-shop:27017  <red:X> <green:o>"
    assert painted[7].rstrip() == "user-db.sock-shop:27017  <yellow:?> <yellow:?>"


def test_fits() -> None:
    """Sock Shop's matrix stands side by side in 110 columns, and one below the other in 80."""
    findings = judge(assess(load("sock-shop").flows()))
    assert max(map(len, render(findings, 110))) <= 110
    assert max(map(len, render(findings, 80)[:-1])) <= 80
    assert len(render(findings, 110)) < 32


def test_many_sources() -> None:
    """Beyond 26 sources letters get a number, and each stays unique."""
    flows = [
        dataclasses.replace(DENIED, source=dataclasses.replace(ROGUE, name=f"rogue-{number}")) for number in range(30)
    ]
    letters = render(judge(assess(flows)), 200)[1].split()
    assert len(set(letters)) == 30
    assert letters[26:] == ["a1", "b1", "c1", "d1"]


def test_nothing() -> None:
    """Without findings there is no matrix."""
    assert render((), 80) == []
