"""Attached to: a lab, by way of a kubeconfig or of a pod's credentials, as any other cluster is."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
import yaml
from tests import estate
from tests.faulty import TRUTHS, Measured

from lateral import run
from lateral.cli import main
from lateral.errors import ConfigurationError
from lateral.model import Proof, Verdict
from lateral.policy import LIVE
from lateral.providers.attach import Attachment, attach
from lateral.providers.lab import Lab, started
from lateral.verdict import judge
from lateral.waiting import until

OWN = {"default", "kube-system", "kube-public", "kube-node-lease"}
POLICIES = ("networking.k8s.io/v1", "NetworkPolicy")
SHOP = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "sock-shop"}}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with started() as running:
        yield running


@pytest.fixture
def kubeconfig(lab: Lab, tmp_path: Path) -> Path:
    """A file with three contexts, of which the current one leads nowhere."""
    config = json.loads(json.dumps(lab.kubeconfig))
    config["contexts"][0]["name"] = "trial"
    nowhere = {"server": "https://127.0.0.1:9"}
    for name in ("prod", "stage"):
        config["clusters"].append({"name": name, "cluster": nowhere})
        config["contexts"].append({"name": name, "context": {"cluster": name, "user": ""}})
    config["current-context"] = "prod"
    file = tmp_path / "folder" / "kubeconfig"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(config))
    return file


def namespaces(lab: Lab) -> set[str]:
    """What there is once everything that is being deleted has gone."""

    def settled() -> set[str] | None:
        found = [one["metadata"] for one in lab.cluster.list("v1", "Namespace")]
        return None if any("deletionTimestamp" in one for one in found) else {one["name"] for one in found}

    return until("namespaces to vanish", settled, timeout=60.0)


def suite(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The conformance suite in a process of its own."""
    return subprocess.run(
        _suite(*options), cwd=folder, env=_environ(), capture_output=True, text=True, timeout=300, check=False
    )


def _suite(*options: str) -> list[str]:
    words = ["--pyargs", "lateral.conformance", "-m", "lateral", "--lateral-cluster", "attach", *options]
    return [sys.executable, "-m", "pytest", *words]


def _environ() -> dict[str, str]:
    return {**os.environ, "PYTEST_ADDOPTS": "", "KUBECONFIG": "/absent", "PYTHONUNBUFFERED": "1"}


def test_the_suite_runs_as_on_any_cluster(lab: Lab, kubeconfig: Path, tmp_path: Path) -> None:
    """What it is and what will be used is said before anything is created; the kubeconfig stays as it was."""
    before, kept = kubeconfig.read_bytes(), kubeconfig.stat()
    ran = suite("--lateral-kubeconfig", "folder/kubeconfig", "--lateral-context", "trial", folder=tmp_path)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr
    told = ran.stdout.splitlines()
    first = next(at for at, line in enumerate(told) if line.startswith("  cluster trial: https://127.0.0.1:"))
    assert told[first].endswith("+lateral.lab, policy engine unknown")
    created = "created: sock-shop, default-*, outside-*, canary-*"
    assert told[first + 1] == f"  namespaces: {created}; a Lease in: default; looked at: kube-system"
    assert told[first + 2].startswith("  warning: policy engine: unknown")
    assert told[first + 3].startswith("  deploying sock-shop")
    assert re.search(
        r"^cluster trial v\S+, policy engine unknown, policies kubernetes, run \w{8}$", ran.stdout, re.MULTILINE
    )
    assert re.search(
        r"^357 flows: 316 contained, 0 exposed, 41 preserved, 0 disrupted, 0 unproven", ran.stdout, re.MULTILINE
    )
    assert (kubeconfig.read_bytes(), kubeconfig.stat().st_mtime_ns) == (before, kept.st_mtime_ns)
    assert list(kubeconfig.parent.iterdir()) == [kubeconfig]
    report = ElementTree.parse(tmp_path / "reports" / "junit.xml")  # noqa: S314 - our own file
    named = {one.get("name"): one.get("value") for one in report.iter("property")}
    assert str(named["lateral.cluster"]).startswith("trial v")
    assert namespaces(lab) == OWN


@pytest.mark.parametrize("moment", ["deploying", "policies in force"])
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_job_that_is_cancelled_leaves_nothing(
    lab: Lab, kubeconfig: Path, tmp_path: Path, moment: str, sent: signal.Signals
) -> None:
    """CI systems end what they cancel by a signal: what the run has created is removed first, and its Lease, too."""
    command = _suite("--lateral-kubeconfig", str(kubeconfig), "--lateral-context", "trial")
    with subprocess.Popen(command, cwd=tmp_path, env=_environ(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [line for line in iter(process.stdout.readline, "") if _passed_on(line, moment, process, sent)]
    assert process.returncode == 2
    assert any("cleaning up" in line for line in said)
    assert namespaces(lab) == OWN
    assert not [one for one in lab.cluster.list("coordination.k8s.io/v1", "Lease", "default") if "lateral" in str(one)]


@pytest.mark.parametrize("moment", ["deploying", "policies in force"])
def test_a_run_that_nobody_reads_any_more_leaves_nothing(
    lab: Lab, kubeconfig: Path, tmp_path: Path, moment: str
) -> None:
    """As where it is piped to `head`, or its terminal goes: what can't be told keeps nothing from being removed."""
    command = _suite("--lateral-kubeconfig", str(kubeconfig), "--lateral-context", "trial")
    with subprocess.Popen(
        command, cwd=tmp_path, env=_environ(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith(f"  {moment}") for line in iter(process.stdout.readline, ""))
        process.stdout.close()
        process.wait(timeout=120)
    assert namespaces(lab) == OWN
    assert not [one for one in lab.cluster.list("coordination.k8s.io/v1", "Lease", "default") if "lateral" in str(one)]


def _passed_on(line: str, moment: str, process: subprocess.Popen[str], sent: signal.Signals) -> bool:
    """Keep every line, and send the signal at the one that tells of the moment."""
    if line.startswith(f"  {moment}"):
        process.send_signal(sent)
    return True


def test_the_suite_runs_with_a_pods_credentials(lab: Lab, tmp_path: Path) -> None:
    """A service account's folder and two variables are all that leads to the cluster."""
    server = urlsplit(lab.kubeconfig["clusters"][0]["cluster"]["server"])
    account = tmp_path / "serviceaccount"
    account.mkdir()
    (account / "token").write_text(lab.kubeconfig["users"][0]["user"]["token"] + "\n")
    authority = lab.kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]
    (account / "ca.crt").write_bytes(base64.b64decode(authority))
    environ = {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}
    found = estate.write(tmp_path)
    said: list[str] = []
    wanted = Attachment(in_cluster=True, environ=environ, account=account)
    with attach(wanted, found.topology, said.append) as cluster:
        assert (cluster.facts.name, cluster.facts.provider) == ("in-cluster", "attach")
        assert namespaces(lab) == OWN
        assessment = run.measure(
            cluster, found.topology, found.policies, progress=said.append, settle=8.0, guest=run.Guest()
        )
    seen = Measured(assessment, {finding.flow.id: finding for finding in judge(assessment)})
    assert said[0].startswith(f"cluster in-cluster: https://{server.hostname}:{server.port}, v")
    assert not TRUTHS["none"].wrong(seen)
    assert not seen.having(Verdict.UNPROVEN)
    assert namespaces(lab) == OWN


def test_a_cluster_that_isnt_ready_is_left_as_it_is(lab: Lab, kubeconfig: Path, tmp_path: Path) -> None:
    """Status 4 and one line that says why: the namespace that is there already is somebody's."""
    [theirs] = lab.cluster.apply([SHOP])
    try:
        ran = suite("--lateral-kubeconfig", str(kubeconfig), "--lateral-context", "trial", folder=tmp_path)
        assert ran.returncode == 4
        said = (
            r"cluster trial isn't ready for a run: application: namespace sock-shop is there already, and isn't this "
            r"run's: it stays untouched: measure it as it is \(--lateral-existing-app\), use another cluster, or, if it"
        )
        assert re.search(said, ran.stdout + ran.stderr), ran.stdout
        assert "deploying" not in ran.stdout
        assert namespaces(lab) == OWN | {"sock-shop"}
        assert lab.cluster.get("v1", "Namespace", "sock-shop") == {"apiVersion": "v1", **theirs}
        looked = ["preflight", "--kubeconfig", str(kubeconfig), "--context", "trial"]
        assert [main(looked), main([*looked, "--existing-app"])] == [4, 0]
    finally:
        lab.cluster.delete(theirs)


def test_preflight_by_command(lab: Lab, kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a person reads, and the same as JSON; nothing is created by it."""
    told = ["preflight", "--kubeconfig", str(kubeconfig), "--context", "trial"]
    assert main(told) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("cluster:    trial (https://127.0.0.1:")
    assert printed.endswith("ready: 1 warning\n")
    assert main([*told, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ready"], found["context"]) == (True, "trial")
    assert namespaces(lab) == OWN


def test_a_cluster_that_is_away_is_told(kubeconfig: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preflight", "--kubeconfig", str(kubeconfig), "--context", "stage"]) == 4
    assert re.search(r"^refusal  server  GET https://127.0.0.1:9/version: ", capsys.readouterr().out, re.MULTILINE)
    topology = estate.write(tmp_path).topology
    with (
        pytest.raises(
            ConfigurationError, match=r"cluster stage isn't ready for a run: server: GET https://127.0.0.1:9"
        ),
        attach(Attachment("stage", kubeconfig), topology),
    ):
        pytest.fail("it was attached to")


def test_an_application_that_is_there_is_measured_as_it_is(lab: Lab, tmp_path: Path) -> None:
    """Its own policies are judged: what they close is contained by controls only, what they leave open is exposed;
    nothing of it is touched, and nothing is left beside it."""
    found = estate.write(tmp_path)
    with estate.deployed(lab.cluster, found):
        before = standing(lab)

        def look() -> Measured:
            assessment = run.measure(
                lab.cluster,
                found.topology,
                LIVE,
                progress=lambda _: None,
                settle=8.0,
                guest=run.Guest(),
                existing=True,
            )
            return Measured(assessment, {finding.flow.id: finding for finding in judge(assessment)})

        seen = look()
        assert seen.assessment.proof is Proof.CONTROLS
        assert seen.having(Verdict.CONTAINED) == seen.denied()
        assert not seen.having(Verdict.UNPROVEN)
        assert standing(lab) == before
        [guard] = [one for one in lab.cluster.list(*POLICIES, estate.NAME) if one["metadata"]["name"] == "default-deny"]
        lab.cluster.delete({"apiVersion": POLICIES[0], "kind": POLICIES[1], **guard})
        opened = look()
        assert opened.having(Verdict.EXPOSED)
        assert opened.having(Verdict.EXPOSED) <= opened.denied()


def standing(lab: Lab) -> set[tuple[str, str, str]]:
    """What there is of the application, as it is: kind, name and UID, and how often its pods were restarted."""
    kinds = [("v1", "Pod"), ("v1", "Service"), ("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), POLICIES]
    listed = [(kind, one) for version, kind in kinds for one in lab.cluster.list(version, kind, estate.NAME)]
    return {(kind, str(one["metadata"]["name"]), str(one["metadata"]["uid"])) for kind, one in listed}
