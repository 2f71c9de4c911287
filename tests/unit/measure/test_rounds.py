"""What rows of looks at the canaries show, and what is said of one that breaks."""

from __future__ import annotations

from lateral.canary.rounds import Pair, Round, Row
from lateral.model import NodeEnforcement, Outcome, Sample, Via

HERE, THERE = Pair("client-0", "10.0.0.1", "a"), Pair("client-0", "10.0.0.2", "b")


def look(pair: Pair, at: float, closed: Outcome = Outcome.DROPPED) -> Round:
    """Port 1 answers, port 2 is as told."""
    samples = {
        1: Sample(Outcome.OPEN, Via.POD, pair.address, 1.0, replied=True),
        2: Sample(closed, Via.POD, pair.address, 1.0, replied=closed is Outcome.OPEN, detail="timeout"),
    }
    return Round(pair, at, samples)


def test_every_pair_must_show_it_several_times_in_a_row() -> None:
    """A node that is late keeps all waiting, and since when each has shown it is on record."""
    row = Row([1])
    row.add([look(HERE, at) for at in (0.0, 0.1, 0.2)])
    row.add([look(THERE, 0.0, Outcome.OPEN), look(THERE, 0.1), look(THERE, 0.2)])
    assert row.shown() is None
    row.add([look(HERE, 0.3), look(THERE, 0.3)])
    shown = row.shown()
    assert shown is not None
    closed = ((Outcome.DROPPED, "timeout"),)
    assert shown.nodes == {"a": NodeEnforcement(0.0, closed), "b": NodeEnforcement(0.1, closed)}
    assert shown.since == 0.1
    assert not row.diagnosis()


def test_a_row_that_breaks_begins_anew_and_is_told_of() -> None:
    """What was shown and then wasn't is no sign of slowness."""
    row = Row([1])
    row.add([look(HERE, 0.0), look(HERE, 0.1), look(HERE, 0.2, Outcome.OPEN), look(HERE, 0.3)])
    assert row.shown() is None
    assert row.diagnosis() == "policies leak: node a showed what is denied to be closed in 3 of 4 looks"


def test_a_node_that_enforces_nothing_is_told_of() -> None:
    """One node's agent may be dead while the others work; where all are alike no node is singled out."""
    row = Row([1])
    row.add([look(THERE, 0.0, Outcome.OPEN), look(THERE, 0.1, Outcome.OPEN)])
    assert not row.diagnosis()
    row.add([look(HERE, 0.0), look(HERE, 0.1)])
    assert row.diagnosis() == "node b enforces no policy, while a does"


def test_a_look_that_told_nothing_accuses_nobody() -> None:
    """A probe that stalled makes the row begin anew, and no node one that leaks or enforces."""
    row = Row([1])
    row.add([look(HERE, 0.0), look(HERE, 0.1), look(HERE, 0.2, Outcome.INCONCLUSIVE), look(HERE, 0.3)])
    assert row.shown() is None
    row.add([look(THERE, 0.0, Outcome.OPEN)])
    assert row.diagnosis() == "node b enforces no policy, while a does"
    blind = Row([1])
    blind.add([look(THERE, 0.0, Outcome.OPEN), look(HERE, 0.0, Outcome.INCONCLUSIVE)])
    assert not blind.diagnosis()
