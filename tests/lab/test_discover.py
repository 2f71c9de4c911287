"""`lateral discover` on a lab: the draft of Sock Shop is its topology, and reading changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateral import application, policy
from lateral.cli import main
from lateral.pods import is_ready
from lateral.providers.lab import Lab, started
from lateral.resources import Run
from lateral.topology import load
from lateral.waiting import until

SHOP = load("sock-shop")
KINDS = (
    ("v1", "Namespace"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
)
CLIENT = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "extra", "namespace": "extras", "labels": {"run": "extra"}},
    "spec": {
        "containers": [
            # The management port is declared by nothing.
            {
                "name": "broker",
                "image": "rabbitmq:3.6.8",
                "ports": [{"name": "amqp", "containerPort": 5672}],
                "readinessProbe": {"tcpSocket": {"port": 15672}, "periodSeconds": 1},
            },
        ]
    },
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab with the shop, and a pod of nobody's in another namespace."""
    run = Run.new()
    with started() as running:
        cluster = running.cluster
        cluster.apply([*application.documents(SHOP, run), run.namespace("extras"), CLIENT])
        application.wait_ready(cluster, SHOP, lambda _: None, time.monotonic())
        until("the pod", lambda: is_ready(cluster.get("v1", "Pod", "extra", "extras") or {}) or None, timeout=30)
        yield running


@pytest.fixture
def cluster(lab: Lab, tmp_path: Path) -> list[str]:
    """Options that lead to the lab."""
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(dict(lab.kubeconfig)))
    return ["--kubeconfig", str(file), "--context", str(lab.kubeconfig["contexts"][0]["name"])]


def state(lab: Lab) -> list[Any]:
    """What there is, less what changes by itself."""
    found = [one for version, kind in KINDS for one in lab.cluster.list(version, kind)]
    return sorted((one["metadata"]["uid"], one["metadata"]["name"], str(one.get("spec"))) for one in found)


def test_the_draft_of_sock_shop_is_its_topology(
    lab: Lab, cluster: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Workloads, labels and ports, to the port that the image listens on and no Service exposes."""
    before = state(lab)
    draft = tmp_path / "draft.yaml"
    assert main(["discover", "--namespace", "sock-shop", *cluster, "--output", str(draft)]) == 0
    assert capsys.readouterr().out.startswith(
        f"wrote {draft}: correct it, then see what measuring it takes: lateral preflight --"
    )
    found = {one.id: one for one in load(draft).workloads}
    # Who resolves names isn't known where no policy says so.
    assert found == {one.id: replace(one, dns=True) for one in SHOP.workloads}
    assert load(draft).intended == ()
    assert state(lab) == before
    text = draft.read_text()
    assert "# the cluster has no StatefulSets\n" in text
    assert "# the cluster has no DaemonSets\n" in text


def test_policies_tell_what_is_admitted(
    lab: Lab, cluster: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Under the least-privilege set that is all that is intended, and who resolves names."""
    policies = policy.load_policies("kubernetes", SHOP)
    applied = policy.apply(lab.cluster, policies, Run.new())
    try:
        assert main(["discover", "--namespace", "sock-shop", *cluster]) == 0
    finally:
        policy.remove(lab.cluster, applied, 10)
    draft = tmp_path / "draft.yaml"
    draft.write_text(capsys.readouterr().out)
    found = load(draft)
    assert {one.id: one for one in found.workloads} == {one.id: one for one in SHOP.workloads}
    assert {flow.call for flow in found.intended} == {flow.call for flow in SHOP.intended}


def test_what_listens_undeclared_is_drafted(
    cluster: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["discover", "--namespace", "extras", *cluster]) == 0
    text = capsys.readouterr().out
    (tmp_path / "draft.yaml").write_text(text)
    [one] = load(tmp_path / "draft.yaml").workloads
    assert [(port.port, port.speaks, port.services) for port in one.ports] == [(5672, "amqp", ()), (15672, "http", ())]
    assert "declared by nothing: listens on 15672" in text


def test_a_file_that_is_there_stays(cluster: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("mine")
    assert main(["discover", "--namespace", "sock-shop", *cluster, "--output", str(mine)]) == 4
    assert capsys.readouterr().err.startswith(f"lateral: {mine} is there already")
    assert mine.read_text() == "mine"


def test_a_namespace_that_is_not_there(cluster: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["discover", "--namespace", "sock-shop", "--namespace", "nope", *cluster]) == 4
    assert capsys.readouterr().err == "lateral: the cluster has no namespace nope: give one that it has\n"
