"""Measurements of an estate in a lab that fails on purpose, and what is true of every path there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests import estate

from lateral import run
from lateral.lab.faults import FAULTS
from lateral.model import Assessment, Expectation, Finding, Flow, Protocol, Trait, TraitCheck, Verdict
from lateral.providers import lab
from lateral.verdict import judge

SOUND = "none"
NAMES = (SOUND, *FAULTS)

Paths = Callable[[Flow], bool]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run, and what it concludes."""

    assessment: Assessment
    findings: Mapping[str, Finding]

    def having(self, verdict: Verdict) -> set[str]:
        """The flows of one verdict."""
        return {flow for flow, finding in self.findings.items() if finding.verdict is verdict}

    def denied(self, where: Paths = lambda _: True) -> set[str]:
        """The flows that must be closed."""
        flows = (finding.flow for finding in self.findings.values())
        return {flow.id for flow in flows if flow.expectation is Expectation.DENY and where(flow)}

    def trait(self, trait: Trait) -> TraitCheck:
        """What is concluded of one trait."""
        [check] = [one for one in self.assessment.traits if one.trait is trait]
        return check


@dataclass(frozen=True, slots=True)
class Truth:
    """What a fault makes of the paths that must be closed: which are open all the time, which now and then."""

    always: Paths = lambda _: False
    sometimes: Paths = lambda _: False
    unprovable: bool = False
    """Nothing closed can be proven, however closed it is."""
    traits: Mapping[Trait, Verdict] = field(default_factory=dict)
    """The traits that aren't CONTAINED."""

    def wrong(self, seen: Measured) -> list[str]:
        """Every verdict that says what isn't so; to be UNPROVEN is never wrong."""
        always, sometimes = seen.denied(self.always), seen.denied(self.sometimes)
        wrong = seen.having(Verdict.CONTAINED) & (always | sometimes)
        wrong |= seen.having(Verdict.EXPOSED) - (always | sometimes)
        wrong |= seen.having(Verdict.DISRUPTED)
        return [
            f"{finding.verdict} {flow}: {finding.reason}" for flow, finding in seen.findings.items() if flow in wrong
        ]

    def undecided(self, seen: Measured) -> set[str]:
        """Flows that are UNPROVEN although they could be decided."""
        undecidable = seen.findings.keys() if self.unprovable else set()
        return seen.having(Verdict.UNPROVEN) - (undecidable - seen.denied(self.always))


def _anything(_: Flow) -> bool:
    return True


def _outward(flow: Flow) -> bool:
    return flow.target.name in ("listener", "decoy", "kube-dns")


def _crossed(flow: Flow) -> bool:
    return (flow.source.name, flow.target.name) in {("web", "ledger"), ("worker", "store")}


_NO_TRAIT = dict.fromkeys(Trait, Verdict.UNPROVEN)

TRUTHS: Mapping[str, Truth] = {
    SOUND: Truth(),
    "slow-5s": Truth(),
    "slow-api": Truth(),
    "rejects": Truth(),
    "ignore-policies": Truth(always=_anything, unprovable=True, traits=_NO_TRAIT),
    "ingress-only": Truth(always=_outward),
    "egress-only": Truth(always=lambda flow: flow.source.namespace != estate.NAME, unprovable=True, traits=_NO_TRAIT),
    "any-namespace": Truth(always=lambda flow: flow.source.name in ("web", "worker") and flow.target.name == "decoy"),
    "any-pod": Truth(always=_crossed),
    "ports-ignored": Truth(
        always=lambda flow: flow.source.name == "worker" and flow.target.port == 15672,
        unprovable=True,
        traits=_NO_TRAIT,
    ),
    "udp-open": Truth(always=lambda flow: flow.target.protocol is Protocol.UDP),
    "no-except": Truth(traits={Trait.EXCEPTIONS: Verdict.EXPOSED}),
    "stale-labels": Truth(traits={Trait.LABELS: Verdict.EXPOSED}),
    "stale-update": Truth(unprovable=True, traits={Trait.UPDATES: Verdict.EXPOSED}),
    "never-removed": Truth(unprovable=True, traits={Trait.REMOVALS: Verdict.DISRUPTED}),
    "leaky": Truth(sometimes=_anything, unprovable=True),
    "agent-dies": Truth(sometimes=_anything, unprovable=True),
    "one-node": Truth(sometimes=_anything, unprovable=True),
    "new-pod-window": Truth(),
}


def measure(folder: Path, name: str, settle: float) -> Measured:
    """Measure a fresh estate, written to `folder`, in a lab with the fault of that name."""
    measured = estate.write(folder)
    with lab.lab(None if name == SOUND else name) as cluster:
        assessment = run.measure(cluster, measured.topology, measured.policies, progress=lambda _: None, settle=settle)
    return Measured(assessment, {finding.flow.id: finding for finding in judge(assessment)})
