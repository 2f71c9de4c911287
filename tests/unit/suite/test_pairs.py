"""Paths on one node and between nodes, counted apart."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from lateral.model import Finding, Observation, Outcome, Phase, Verdict
from lateral.reports.pairs import Side, pairs
from lateral.reports.summary import summarise
from lateral.verdict import judge

from .synthetic import CONTROL, DENIED, FLOWS, INTENDED, assess, sample

FINDINGS = {finding.flow.id: finding for finding in judge(assess())}
ONE, BETWEEN = False, True


def dialled(
    flow: str, *crossed: bool | None, outcome: Outcome = Outcome.OPEN, verdict: Verdict | None = None
) -> Finding:
    """The finding as if its pods' addresses had been dialled on one node (False) and between two (True)."""
    finding = FINDINGS[flow]
    samples = tuple(sample(outcome, crosses=one) for one in crossed)
    observation = Observation(flow, Phase.ENFORCED, samples, "2025-01-01T00:00:00Z")
    observations = {**finding.observations, Phase.ENFORCED: observation}
    return dataclasses.replace(finding, observations=observations, verdict=verdict or finding.verdict)


def test_a_flow_counts_for_every_kind_of_pair_that_it_was_dialled_between() -> None:
    """What a Service leads to is on no node that could be told."""
    counted = pairs(
        [
            dialled(DENIED.id, ONE, BETWEEN),
            dialled(INTENDED.id, BETWEEN, None),
            dialled(CONTROL.id, None),
        ]
    )
    assert counted.on_one == Side(Counter({Verdict.CONTAINED: 1}), undialled=2)
    assert counted.between == Side(Counter({Verdict.CONTAINED: 1, Verdict.PRESERVED: 1}), undialled=1)


def test_a_flow_that_was_never_dialled_counts_for_none() -> None:
    finding = dataclasses.replace(FINDINGS[DENIED.id], observations={})
    counted = pairs([finding])
    assert counted.on_one == counted.between == Side(undialled=1)


def test_what_is_exposed_counts_where_it_was_open() -> None:
    """An engine that looks away between nodes isn't accused of what it closed on one."""
    finding = dialled(DENIED.id, BETWEEN, verdict=Verdict.EXPOSED)
    seen = finding.observations[Phase.ENFORCED]
    both = (*seen.samples, sample(Outcome.DROPPED, crosses=ONE))
    observations = {**finding.observations, Phase.ENFORCED: dataclasses.replace(seen, samples=both)}
    counted = pairs([dataclasses.replace(finding, observations=observations)])
    assert counted.on_one == Side()
    assert counted.between == Side(Counter({Verdict.EXPOSED: 1}))


@pytest.mark.parametrize(
    ("crossed", "line"),
    [
        ((ONE, BETWEEN), "3 flows on one node: 1 contained, 2 preserved; 3 between nodes: 1 contained, 2 preserved"),
        (
            (ONE,),
            "3 flows on one node: 1 contained, 2 preserved; no between nodes; 3 flows weren't dialled between nodes",
        ),
        ((None,), None),
    ],
)
def test_the_summary_tells_both(crossed: tuple[bool | None, ...], line: str | None) -> None:
    lines = summarise(assess(), [dialled(flow.id, *crossed) for flow in FLOWS], 120, "junit.xml")
    told = [one for one in lines if "node" in one and "flows" in one]
    assert told == ([line] if line else [])
