"""What a run leaves that was killed in the middle is removed, and nothing else."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests import estate
from tests.lab.authorizer import Authorizer, grants
from tests.lab.proxy import proxied

from lateral import clean, resources
from lateral.attacker import rogue
from lateral.clean import Selection
from lateral.cli import main
from lateral.holding import held
from lateral.lease import API_VERSION, KIND, Terms
from lateral.model import Source, SourceKind
from lateral.providers.lab import Lab, started
from lateral.resources import RUN_LABEL, Run

if TYPE_CHECKING:
    from lateral.cluster import Cluster

RUNNER = """
import json, sys
from pathlib import Path
from lateral import run
from lateral.cluster import Cluster
from lateral.lease import Terms
from lateral.model import ClusterFacts
from lateral.policy import load_policies
from lateral.topology import load

folder = Path(sys.argv[1])
topology = load(folder / "topology.yaml")
kubeconfig = json.loads((folder / "kubeconfig").read_text())
with Cluster.from_kubeconfig(kubeconfig, ClusterFacts("lab", "", "test")) as cluster:
    run.measure(
        cluster, topology, load_policies(str(folder / "policies"), topology),
        progress=lambda line: print(line, flush=True), settle=8.0, guest=run.Guest(Terms(duration=1)),
    )
"""
FOREIGN, OTHER = Run("ffff0001"), "other"
MOMENTS = ("deploying", "baseline sweep", "policies in force", "cleaning up")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with started() as running:
        yield running


@pytest.fixture
def folder(lab: Lab, tmp_path: Path) -> Path:
    """An estate, and the lab's kubeconfig as a file."""
    estate.write(tmp_path)
    (tmp_path / "kubeconfig").write_text(json.dumps(lab.kubeconfig))
    return tmp_path


@pytest.fixture
def foreign(lab: Lab) -> Iterator[list[Any]]:
    """What isn't a killed run's: objects without the label, and a pod of a run that lives."""
    pod = rogue(Source("other", "default", SourceKind.ROGUE, {"app": "other"}), "other", FOREIGN)
    unlabelled: dict[str, Any] = json.loads(json.dumps(pod))
    unlabelled["metadata"].update(name="mine", labels={"app": "mine"})
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine", "namespace": "default"}}
    unowned = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "mine", "namespace": "default"},
        "spec": {},
    }
    with held(lab.cluster, (OTHER,), FOREIGN, Terms(duration=3), lambda _: None):
        made = lab.cluster.apply([pod, unlabelled, config, unowned])
        yield made
        for one, document in zip(made, (pod, unlabelled, config, unowned), strict=True):
            lab.cluster.delete({**document, **one})


def end(folder: Path, moment: str, by: signal.Signals) -> str:
    """Start a run, end it by a signal when it says that, and return its id."""
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as runner:
        late = threading.Timer(120, runner.kill)
        late.start()
        assert runner.stdout
        found = ""
        for line in runner.stdout:
            if line.startswith("deploying"):
                found = line.rpartition("(run ")[2].strip(" )\n")
            if line.startswith(moment):
                break
        runner.send_signal(by)
        runner.stdout.read()
        late.cancel()
    assert found, f"the run never said {moment!r}"
    return found


def kill(folder: Path, moment: str) -> str:
    return end(folder, moment, signal.SIGKILL)


def labelled(cluster: Cluster, run: str) -> list[str]:
    """Whatever carries a run's label, in any namespace."""
    kinds = [("v1", kind) for kind in ("Namespace", "Pod", "Service", "ConfigMap", "Secret", "ServiceAccount")]
    kinds += [("apps/v1", "ReplicaSet"), ("apps/v1", "Deployment"), ("networking.k8s.io/v1", "NetworkPolicy")]
    found = []
    for version, kind in (*kinds, (API_VERSION, KIND)):
        listed = cluster.list(version, kind, selector=f"{RUN_LABEL}={run}")
        found += [f"{kind} {one['metadata'].get('namespace', '')}/{one['metadata']['name']}" for one in listed]
    return found


def uids(lab: Lab) -> set[str]:
    """What there is in the namespace that everybody has."""
    kinds = (("v1", "Pod"), ("v1", "ConfigMap"), (API_VERSION, KIND))
    return {one["metadata"]["uid"] for version, kind in kinds for one in lab.cluster.list(version, kind, "default")}


def command(folder: Path, lab: Lab, *arguments: str) -> int:
    file = folder / "kubeconfig"
    context = str(lab.kubeconfig["current-context"])
    return main(["clean", "--context", context, "--kubeconfig", str(file), *arguments])


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_a_killed_run_left_is_removed_and_nothing_else(
    lab: Lab, folder: Path, foreign: list[Any], moment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed in whichever part of its work, with its Lease still there."""
    run = kill(folder, moment)
    assert labelled(lab.cluster, run)
    before = uids(lab)
    assert command(folder, lab, "--run", run, "--yes") == 0
    assert labelled(lab.cluster, run) == []
    kept = uids(lab)
    assert {one["metadata"]["uid"] for one in foreign} <= kept <= before
    said = capsys.readouterr().out.splitlines()
    assert said[1].split() == ["KIND", "NAMESPACE", "NAME", "RUN", "AGE"]
    assert any(line.split()[:3] == ["Lease", "default", f"lateral-{estate.NAME}"] for line in said)
    assert all(run in line for line in said[2:] if line.startswith(("Namespace", "Pod", "Lease", "NetworkPolicy")))


@pytest.mark.parametrize("moment", ["deploying", "estate ready", "baseline sweep", "policies in force"])
def test_ctrl_c_leaves_nothing_to_clean(lab: Lab, folder: Path, moment: str) -> None:
    """A run that is interrupted removes what it has made so far, and gives its Lease back."""
    run = end(folder, moment, signal.SIGINT)
    assert labelled(lab.cluster, run) == []


def test_a_run_that_is_alive_is_left_alone(
    lab: Lab, folder: Path, foreign: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever renews its Lease, unless one insists."""
    assert command(folder, lab, "--run", FOREIGN.id, "--yes") == 1
    assert command(folder, lab, "--all", "--yes") == 0
    assert f"left alone, since it renews its Lease: run {FOREIGN.id} of " in capsys.readouterr().out
    assert {one["metadata"]["uid"] for one in foreign} <= uids(lab)
    assert command(folder, lab, "--run", FOREIGN.id, "--yes", "--force") == 0
    assert labelled(lab.cluster, FOREIGN.id) == []
    assert len({one["metadata"]["uid"] for one in foreign} & uids(lab)) == 3


def test_a_dry_run_shows_and_deletes_nothing(lab: Lab, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = kill(folder, "deploying")
    before = labelled(lab.cluster, run)
    assert command(folder, lab, "--run", run, "--dry-run") == 0
    assert labelled(lab.cluster, run) == before
    said = capsys.readouterr().out
    assert "nothing was deleted" in said
    assert f"Lease default lateral-{estate.NAME} {run}" in " ".join(said.split())
    assert command(folder, lab, "--all", "--yes") == 0
    assert labelled(lab.cluster, run) == []


def test_only_what_is_old_enough_is_selected(lab: Lab, folder: Path) -> None:
    """By when its run began, which every object tells, as its runner's clock had it."""
    old = Run("eeee0001", begun="2026-01-01T00:00:00Z")
    new = Run("eeee0002", begun="2126-01-01T00:00:00Z")
    lab.cluster.apply([old.namespace("old-one"), new.namespace("new-one")])
    assert command(folder, lab, "--older-than", "2h", "--yes") == 0
    assert labelled(lab.cluster, old.id) == []
    assert labelled(lab.cluster, new.id) == ["Namespace /new-one"]
    assert command(folder, lab, "--run", new.id, "--yes") == 0
    assert labelled(lab.cluster, new.id) == []


def test_what_an_applications_own_manifests_brought_elsewhere_is_found(
    lab: Lab, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of any kind, and in any namespace; what a controller has given a copy of the label isn't the run's."""
    run = Run("eeee0003")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs", "namespace": "default"}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "theirs", "namespace": "kube-public"}}
    copied: dict[str, Any] = json.loads(json.dumps(secret))
    copied["metadata"].update(name="copied", labels={RUN_LABEL: run.id})
    lab.cluster.apply([run.stamp(secret), run.stamp(account), copied])
    assert command(folder, lab, "--run", run.id, "--yes") == 0
    assert labelled(lab.cluster, run.id) == ["Secret default/copied"]
    assert "deleted all 2" in capsys.readouterr().out
    lab.cluster.delete({**copied, **(lab.cluster.get("v1", "Secret", "copied", "default") or {})})


def test_who_doesnt_answer_deletes_nothing(
    lab: Lab, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-D at the question."""
    run = Run("eeee0004")
    lab.cluster.apply([run.namespace("unanswered")])
    ended = io.StringIO()
    monkeypatch.setattr(ended, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", ended)
    assert command(folder, lab, "--run", run.id) == 0
    assert capsys.readouterr().out.endswith("nothing was deleted\n")
    assert labelled(lab.cluster, run.id) == ["Namespace /unanswered"]
    assert command(folder, lab, "--run", run.id, "--yes") == 0


def test_nothing_to_do_is_well_done(lab: Lab, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(folder, lab, "--all", "--yes") == 0
    assert capsys.readouterr().out == "nothing is left of any such run\n"


def test_manifests_grant_what_it_takes(lab: Lab, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under the identity of manifests/rbac with what is in its folder `clean`, which grants nothing in vain; what only
    manifests of one's own bring it says that it can't see."""
    run = kill(folder, "baseline sweep")
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stray", "namespace": "default"}}
    service = {**config, "kind": "Service", "spec": {"ports": [{"port": 80}]}}
    policy = {**config, "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}}}
    pod = rogue(Source("stray", "default", SourceKind.ROGUE, {"app": "stray"}), "stray", Run(run))
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {**pod["spec"], "restartPolicy": "Always"}}
    made = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    sets = [{**config, "apiVersion": "apps/v1", "kind": kind, "spec": made} for kind in ("ReplicaSet", "Deployment")]
    lab.cluster.apply([pod, *(Run(run).stamp(one) for one in (config, service, policy, *sets))])
    granted = grants(resources.load("rbac/clean"), "lateral/lateral")
    authorizer = Authorizer(lab.kubeconfig, granted)
    with proxied(authorizer) as kubeconfig:
        (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
        assert command(folder, lab, "--run", run, "--yes") == 0
    assert labelled(lab.cluster, run) == []
    assert {one.split()[0] for one in authorizer.refused} == {"list"}
    assert "not looked for, as they can't be listed: " in capsys.readouterr().out
    assert authorizer.used == {act for one in granted for act in one.acts()}


def test_nothing_is_deleted_when_nobody_can_tell_who_is_alive(
    lab: Lab, folder: Path, foreign: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Leases that may not be listed, unless one insists."""
    granted = grants(resources.load("rbac/clean"), "lateral/lateral")
    allowed = [one for each in granted for one in each.without(("list", "coordination.k8s.io", "leases"))]
    with proxied(Authorizer(lab.kubeconfig, allowed)) as kubeconfig:
        (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
        assert command(folder, lab, "--run", FOREIGN.id, "--yes") == 1
        assert "whether the runs are alive can't be told, so that nothing is deleted" in capsys.readouterr().err
        assert {one["metadata"]["uid"] for one in foreign} <= uids(lab)
        assert command(folder, lab, "--run", FOREIGN.id, "--yes", "--force") == 1
        assert "Leases could not be looked for" in capsys.readouterr().out
    assert labelled(lab.cluster, FOREIGN.id) == [f"Lease default/lateral-{OTHER}"]


def test_an_object_that_was_made_anew_meanwhile_stays(lab: Lab) -> None:
    """Another of the same name is another's."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "notes", "namespace": "default"}}
    lab.cluster.apply([FOREIGN.stamp(config)])
    found = clean.find(lab.cluster, Selection(run=FOREIGN.id))
    [stale] = found.leftovers
    lab.cluster.delete(stale.document)
    [anew] = lab.cluster.apply([config])
    assert clean.remove(lab.cluster, found.leftovers) == []
    assert lab.cluster.get("v1", "ConfigMap", "notes", "default") == anew
    lab.cluster.delete({**config, **anew})
