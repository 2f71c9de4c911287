"""Paths on one node and between nodes, counted apart."""

from __future__ import annotations

import dataclasses
from collections import Counter

from lateral.model import Finding, Phase, Verdict, Via
from lateral.reports.pairs import pairs
from lateral.verdict import judge

from .synthetic import CONTROL, DENIED, INTENDED, assess


def crossing(finding: Finding, *crosses: bool | None) -> Finding:
    """The finding as if its pods' addresses had been dialled on one node (False) and between two (True)."""
    observation = finding.observations[Phase.ENFORCED]
    by_pod = [sample for sample in observation.samples if sample.via is Via.POD]
    samples = tuple(dataclasses.replace(sample, crosses=one) for sample, one in zip(by_pod, crosses, strict=False))
    seen = dataclasses.replace(observation, samples=samples)
    return dataclasses.replace(finding, observations={**finding.observations, Phase.ENFORCED: seen})


def test_a_flow_counts_for_every_kind_of_pair_that_it_was_dialled_between() -> None:
    """Replicas may be on the source's node and on others; what isn't known counts for neither."""
    found = {finding.flow.id: finding for finding in judge(assess())}
    counted = pairs(
        [
            crossing(found[DENIED.id], True, False),
            crossing(found[INTENDED.id], True, True),
            crossing(found[CONTROL.id], None, None),
        ]
    )
    assert counted.on_one == Counter({Verdict.CONTAINED: 1})
    assert counted.between == Counter({Verdict.CONTAINED: 1, Verdict.PRESERVED: 1})
