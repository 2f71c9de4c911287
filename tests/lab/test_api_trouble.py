"""Trouble between client and API, through whole measurements: never a verdict, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import estate
from tests.faulty import TRUTHS, Measured
from tests.lab.troublemaker import Rule, Trouble, troubled

from lateral import run
from lateral.cluster import Cluster
from lateral.errors import ClusterError
from lateral.model import ClusterFacts, Verdict
from lateral.providers.lab import Lab, started
from lateral.verdict import judge

FACTS = ClusterFacts("lab", "v1.32.0", "lab")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with started() as running:
        yield running


def measure(lab: Lab, folder: Path, rules: list[Rule], seed: int) -> Measured:
    """A measurement by way of a troublemaker; afterwards the cluster holds nothing of it."""
    found = estate.write(folder)
    with troubled(lab.kubeconfig, rules, seed) as kubeconfig, Cluster.from_kubeconfig(kubeconfig, FACTS) as cluster:
        assessment = run.measure(
            cluster, found.topology, found.policies, progress=lambda _: None, settle=8.0, wait_gone=True
        )
    return Measured(assessment, {finding.flow.id: finding for finding in judge(assessment)})


def left_over(lab: Lab) -> set[str]:
    names = {one["metadata"]["name"] for one in lab.cluster.list("v1", "Namespace")}
    pods = {one["metadata"]["name"] for one in lab.cluster.list("v1", "Pod", "default")}
    return (names - {"default", "kube-system", "kube-public", "kube-node-lease"}) | pods


def is_twins_exec(_method: str, path: str) -> bool:
    return path.endswith("/exec") and "/pods/twin-" in path


def is_plain(_method: str, path: str) -> bool:
    return not path.endswith(("/exec", "/portforward"))


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("busy", [Rule(Trouble.TOO_MANY, 0.03, is_plain), Rule(Trouble.FAILED, 0.05)]),
        ("resets", [Rule(Trouble.AWAY, 0.08), Rule(Trouble.LOST, 0.05, is_plain), Rule(Trouble.CUT, 0.05, is_plain)]),
        ("late", [Rule(Trouble.LATE, 0.2)]),
    ],
)
def test_transport_that_recovers_changes_no_verdict(lab: Lab, tmp_path: Path, name: str, rules: list[Rule]) -> None:
    """Refusals, resets, lost and late answers are tried again, and every path is decided as without them."""
    seen = measure(lab, tmp_path, rules, seed=len(name))
    assert not TRUTHS["none"].wrong(seen)
    assert not seen.having(Verdict.UNPROVEN), {f.reason for f in seen.findings.values() if f.verdict == "UNPROVEN"}
    assert not left_over(lab)


def test_probes_that_are_cut_prove_nothing(lab: Lab, tmp_path: Path) -> None:
    """Execs that are cut in the middle, again and again, leave flows unproven: never closed, never open."""
    seen = measure(lab, tmp_path, [Rule(Trouble.CUT, 0.7, is_twins_exec)], seed=7)
    assert not TRUTHS["none"].wrong(seen)
    assert seen.having(Verdict.UNPROVEN)
    assert not left_over(lab)


def test_a_pod_that_is_evicted_during_the_sweep_leaves_its_paths_unproven(lab: Lab, tmp_path: Path) -> None:
    """Of a target that another pod has taken the place of, nothing is concluded; all else is decided."""
    found = estate.write(tmp_path)

    def evict(line: str) -> None:
        if line.startswith("policies in force"):
            [pod] = [one for one in lab.cluster.list("v1", "Pod", estate.NAME) if is_store(one)]
            lab.cluster.delete({"apiVersion": "v1", "kind": "Pod", **pod})

    assessment = run.measure(lab.cluster, found.topology, found.policies, progress=evict, settle=8.0, wait_gone=True)
    seen = Measured(assessment, {finding.flow.id: finding for finding in judge(assessment)})
    concerned = {flow for flow in seen.findings if "-to-store.estate" in flow}
    assert seen.having(Verdict.UNPROVEN) >= concerned & seen.denied()
    assert seen.having(Verdict.UNPROVEN) <= concerned
    assert not TRUTHS["none"].wrong(seen)
    assert not left_over(lab)


def is_store(pod: dict[str, Any]) -> bool:
    """Whether it is the store's own pod, and no twin."""
    return str(pod["metadata"]["name"]).startswith("store-")


def test_an_api_that_stays_away_ends_the_run_with_its_word(lab: Lab, tmp_path: Path) -> None:
    """Where nothing gets through, the run says what it asked for, and leaves nothing."""
    with pytest.raises(ClusterError, match=r"refused POST .*pods \(500\)"):
        measure(lab, tmp_path, [Rule(Trouble.FAILED, 1.0, lambda method, path: method == "POST" and "pods" in path)], 3)
    assert not left_over(lab)
