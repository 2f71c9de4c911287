"""`lateral preflight` as it is read by people and by programs."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from tests.unit.preflight.paper import Paper, planned

from lateral import cli, preflight
from lateral.cli.preflight import document, lines
from lateral.cluster import Cluster
from lateral.model import ClusterFacts
from lateral.providers.attach import Attached


def attached(paper: Paper) -> Attached:
    facts = ClusterFacts("prod", paper.version, "attach", engine="Calico v3.29.1", namespaces=planned().uses())
    cluster, plan = Cluster(paper, facts), planned()
    return Attached(cluster, "https://prod.example:6443", preflight.check(plan, preflight.read(cluster, plan)))


def may(asked: Mapping[str, str]) -> bool:
    return asked.get("subresource") != "exec"


def test_a_list_that_is_aligned_and_says_what_to_do() -> None:
    told = lines(attached(Paper(version="v1.31.2", may=may)))
    assert told[:5] == [
        "cluster:    prod (https://prod.example:6443)",
        "namespaces: created: sock-shop, default-*, outside-*, canary-*",
        "            a Lease in: default",
        "            looked at: kube-system",
        "",
    ]
    assert "ok       version            v1.31.2" in told
    at = told.index("refusal  permissions        may not create pods/exec in sock-shop, canary-*, default-*")
    assert told[at + 1].startswith("                            -> grant it: kubectl apply -f")
    assert told[-2:] == ["", "not ready: 2 refusals"]
    assert max(len(line) for line in told if "/" not in line) <= 120
    assert all(line.isascii() for line in told)


def test_ready_is_said_in_a_word() -> None:
    assert lines(attached(Paper()))[-1] == "ready"
    assert lines(attached(Paper(version="dev")))[-1] == "ready: 1 warning"


def test_json_says_the_same() -> None:
    found = attached(Paper(may=may))
    told = json.loads(json.dumps(document(found)))
    assert (told["ready"], told["context"], told["server"]) == (False, "prod", "https://prod.example:6443")
    assert [one["level"] for one in told["checks"]].count("refusal") == 2
    assert {"level", "what", "detail", "advice"} == set(told["checks"][0])
    assert document(attached(Paper()))["ready"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--context", "prod", "--kubeconfig", "/absent/config"],
        ["--context", "prod", "--apply-policies"],
    ],
)
def test_a_cluster_that_isnt_named_is_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/absent/other")
    assert cli.main(["preflight", *arguments]) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("lateral: ")
    assert printed.err.count("\n") == 1
