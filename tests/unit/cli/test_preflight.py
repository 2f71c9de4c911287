"""`lateral preflight` as it is read by people and by programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def config(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> str:
    """A kubeconfig with the one context `prod`."""
    named = {"clusters": "cluster", "users": "user", "contexts": "context"}
    inner = {"cluster": cluster, "user": user, "context": {"cluster": "prod", "user": "prod"}}
    return json.dumps({kind: [{"name": "prod", one: inner[one]}] for kind, one in named.items()})


def plugin(script: str) -> dict[str, Any]:
    command = {"command": "sh", "args": ["-c", script], "interactiveMode": "Never"}
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", **command}}


SERVER = {"server": "https://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("cluster", "user", "said"),
    [
        (
            SERVER,
            plugin("echo log in first >&2; exit 3"),
            "plugin sh gave no credentials: exec: process returned 3. log in",
        ),
        (SERVER, plugin("echo rubbish"), "the credential plugin sh gave no credentials: exec: failed to decode"),
        (SERVER, {"auth-provider": {"name": "gcp", "config": {}}}, "the kubeconfig can't be used: "),
        ({**SERVER, "proxy-url": "socks5://127.0.0.1:9"}, {}, "can't be used: expected http://HOST:PORT"),
        ({**SERVER, "proxy-url": "::::"}, {}, "can't be used: expected http://HOST:PORT"),
        ({}, {}, "server is '': expected an address such as https://HOST:PORT"),
        ({"server": "127.0.0.1:9"}, {}, "server is '127.0.0.1:9': expected an address such as https://HOST:PORT"),
        ({"server": "https://127.0.0.1:99999"}, {}, "expected an address such as https://HOST:PORT"),
        ({"server": "https://[::1"}, {}, "the kubeconfig can't be used: "),
    ],
)
def test_a_context_that_leads_nowhere_is_one_line(
    cluster: Mapping[str, Any],
    user: Mapping[str, Any],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With what a plugin had to say, as nobody else tells it."""
    caplog.clear()
    (tmp_path / "config").write_text(config(cluster, user or {"token": "t"}))
    assert cli.main(["preflight", "--context", "prod", "--kubeconfig", str(tmp_path / "config")]) == 4
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("lateral: context prod: ")
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_output_that_cant_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(config(SERVER, {"token": "t"}))
    command = ["-m", "lateral", "preflight", "--context", "prod", "--kubeconfig", str(tmp_path / "config")]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, *command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert ran.stderr == "lateral: the output can't be written: No space left on device\n"
    assert ran.returncode == 1
