"""A whole run against a cluster in memory: what it creates, measures, notices, and leaves behind."""

from __future__ import annotations

import copy
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lateral import application
from lateral import topology as topologies
from lateral.errors import ClusterError, ConfigurationError
from lateral.model import Assessment, Expectation, Outcome, Phase, Proof, SourceKind, Verdict, Via
from lateral.placement import Placement, PullSecret
from lateral.policy import LIVE, PolicySet
from lateral.resources import BEGUN, RUN_LABEL, Run
from lateral.run import Guest, measure
from lateral.verdict import judge
from lateral.window import judge_window

from .simulated import ENGINES, Faults, SimulatedApi, by_kind, simulated

if TYPE_CHECKING:
    from lateral.cluster import Cluster
    from lateral.topology import Topology

DENY_ALL = PolicySet(
    "deny-all",
    (
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "deny-all", "namespace": "sock-shop"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
        },
    ),
    ("a test",),
)
NO_POLICIES = PolicySet("none", (), ())


@pytest.fixture(scope="module")
def topology() -> Topology:
    return topologies.load("sock-shop")


def run(
    api_faults: Faults,
    topology: Topology,
    policies: PolicySet = DENY_ALL,
    under: Callable[[SimulatedApi], object] = lambda _: None,
) -> tuple[Assessment, SimulatedApi, list[str]]:
    """A run, what the cluster was, and what was said; `under` happens once the policies have been shown."""
    cluster, api = simulated(api_faults)
    said: list[str] = []

    def progress(line: str) -> None:
        said.append(line)
        if line.startswith("policies in force"):
            under(api)

    return measure(cluster, topology, policies, progress=progress, settle=0.3), api, said


def outcomes(assessment: Assessment, phase: Phase) -> Counter[tuple[str, Outcome]]:
    """How flows to the application and to elsewhere ended."""
    where = {flow.id: flow.target.namespace for flow in assessment.flows}
    seen = assessment.sweeps[phase].observations
    return Counter((where[flow], observation.outcome) for flow, observation in seen.items())


def test_every_flow_is_measured_before_under_and_after_the_policies(topology: Topology) -> None:
    assessment, _, said = run(Faults(), topology)
    everything = {flow.id for flow in topology.flows()}
    for phase in Phase:
        assert set(assessment.sweeps[phase].observations) == everything
    into = sum(flow.target.namespace == "sock-shop" for flow in topology.flows())
    open_everywhere = {
        outcome for phase in (Phase.BASELINE, Phase.RESTORED) for _, outcome in outcomes(assessment, phase)
    }
    assert open_everywhere == {Outcome.OPEN}
    enforced = outcomes(assessment, Phase.ENFORCED)
    assert enforced["sock-shop", Outcome.DROPPED] == into
    assert enforced["outside", Outcome.OPEN] == enforced.total() - into - enforced["kube-system", Outcome.OPEN]
    assert assessment.enforcement.proven
    assert "denied as DROPPED" in assessment.enforcement.detail
    assert assessment.restoration.proven
    assert any(line.startswith("sock-shop ready 14/14 in ") for line in said)
    assert any(line.startswith(f"baseline sweep of {len(everything)} flows from 34 pods in ") for line in said)
    assert any(line.startswith("policies in force after ") for line in said)


def test_each_target_is_dialled_by_service_and_by_pod(topology: Topology) -> None:
    assessment, _, _ = run(Faults(), topology, NO_POLICIES)
    for flow in topology.flows():
        samples = assessment.sweeps[Phase.BASELINE].observations[flow.id].samples
        expected = {Via.POD} if flow.target.service is None else {Via.POD, Via.SERVICE}
        assert {sample.via for sample in samples} == expected, flow.id
        assert all(sample.replied for sample in samples), flow.id
        assert len({sample.address for sample in samples}) == len(expected), flow.id


def test_the_pods_of_both_ends_are_recorded(topology: Topology) -> None:
    assessment, _, _ = run(Faults(), topology, NO_POLICIES)
    pods = assessment.sweeps[Phase.RESTORED].pods
    for flow in topology.flows():
        assert pods[flow.source.key]
        assert pods[f"{flow.target.name}.{flow.target.namespace}"]
    assert len(pods["user-db.sock-shop"]) == 1
    assert len(pods["twin user-db.sock-shop"]) == 2
    assert all(state.ready for states in pods.values() for state in states)
    assert assessment.sweeps[Phase.BASELINE].pods == pods


def test_nothing_is_left_and_nothing_else_is_touched(topology: Topology) -> None:
    cluster, api = simulated()
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "outside", "labels": {}}}])
    cluster.apply([pod("default", "rogue"), pod("default", "foreign", {RUN_LABEL: "another-run"})])
    before = by_kind(api)
    measure(cluster, topology, DENY_ALL, progress=lambda _: None, settle=0.3, wait_gone=True)
    assert by_kind(api) == before
    assert all(name.rpartition("-")[2] for _, _, name in api.deleted)


def test_twins_wear_exactly_the_workloads_labels_and_are_never_ready(topology: Topology) -> None:
    pods: list[dict[str, Any]] = []

    def look(api: SimulatedApi) -> None:
        pods[:] = [one for one in api.pods() if one["metadata"]["name"].startswith("twin-")]

    run(Faults(before_exec=look), topology, NO_POLICIES)
    twins = [source for source in topology.sources() if source.kind is SourceKind.TWIN] * 2
    worn = [dict(one["metadata"]["labels"]) for one in pods]
    hashes = {labels.pop("pod-template-hash") for labels in worn}
    assert len(hashes) == 1
    assert sorted(map(str, worn)) == sorted(str(dict(twin.labels)) for twin in twins)
    assert all(one["spec"]["readinessGates"] for one in pods)
    # Some load balancers look at the containers alone.
    asked = [container["readinessProbe"] for one in pods for container in one["spec"]["containers"]]
    assert all(one["exec"] == {"command": ["false"]} for one in asked)


def test_a_cluster_that_ignores_policies_is_not_proven_to_enforce(topology: Topology) -> None:
    assessment, _, said = run(Faults(ignores_policies=True), topology)
    assert not assessment.enforcement.proven
    assert assessment.enforcement.ignored
    assert "port 8081 OPEN" in assessment.enforcement.detail
    assert {outcome for _, outcome in outcomes(assessment, Phase.ENFORCED)} == {Outcome.OPEN}
    assert not any("in force after" in line for line in said)


def test_the_canary_is_flipped_without_policies_too(topology: Topology) -> None:
    assessment, _, _ = run(Faults(), topology, NO_POLICIES)
    assert assessment.enforcement.proven
    assert {outcome for _, outcome in outcomes(assessment, Phase.ENFORCED)} == {Outcome.OPEN}


def test_an_engine_that_dies_during_the_sweep_is_noticed(topology: Topology) -> None:
    faults = Faults()
    assessment, _, _ = run(faults, topology, under=lambda _: setattr(faults, "ignores_policies", True))
    assert not assessment.enforcement.proven
    assert "didn't hold during the sweep: its closed port was OPEN" in assessment.enforcement.detail


def test_a_network_that_loses_what_no_policy_denies_is_noticed(topology: Topology) -> None:
    faults = Faults()
    assessment, _, _ = run(faults, topology, under=lambda _: faults.lossy.add("client"))
    assert not assessment.enforcement.proven
    assert "open port was DROPPED during the sweep: no policy did that" in assessment.enforcement.detail


def test_a_canary_that_cant_be_looked_at_proves_nothing(topology: Topology) -> None:
    faults = Faults()
    assessment, _, _ = run(faults, topology, under=lambda _: faults.broken_probes.add("client"))
    assert not assessment.enforcement.proven
    assert not assessment.enforcement.ignored
    assert "could not be looked at during the sweep" in assessment.enforcement.detail


FOREIGN = {**DENY_ALL.documents[0], "metadata": {"name": "foreign", "namespace": "sock-shop", "uid": "u"}}


@pytest.mark.parametrize(
    ("happen", "told"),
    [
        (
            lambda api: api.objects.pop(("NetworkPolicy", "sock-shop", "deny-all")),
            "NetworkPolicy deny-all was removed while the sweep ran",
        ),
        (
            lambda api: api.objects["NetworkPolicy", "sock-shop", "deny-all"]["spec"].update(podSelector={"a": "b"}),
            "NetworkPolicy deny-all was changed while the sweep ran",
        ),
        (
            lambda api: api.objects.update({("NetworkPolicy", "sock-shop", "foreign"): FOREIGN}),
            "NetworkPolicy foreign was added while the sweep ran",
        ),
    ],
)
def test_policies_that_change_during_the_sweep_are_noticed(
    happen: Callable[[SimulatedApi], None], told: str, topology: Topology
) -> None:
    assessment, _, _ = run(Faults(), topology, under=happen)
    assert not assessment.enforcement.proven
    assert assessment.enforcement.detail == told


BASE: dict[str, Any] = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumClusterwideNetworkPolicy",
    "metadata": {"name": "base"},
    "spec": {"endpointSelector": {}},
}


def test_a_policy_of_another_kind_that_comes_during_the_sweep_is_nobodys_verdict(topology: Topology) -> None:
    """It may be what closed the paths, or what opened them."""
    added = {("CiliumClusterwideNetworkPolicy", "", "base"): {**BASE, "metadata": {"name": "base", "uid": "u"}}}
    assessment, _, _ = run(Faults(serves=ENGINES), topology, under=lambda api: api.objects.update(added))
    enforcement = assessment.enforcement
    assert (enforcement.proven, enforcement.disturbed) == (False, True)
    assert enforcement.detail == "CiliumClusterwideNetworkPolicy base was added while the sweep ran"
    assert {finding.verdict for finding in judge(assessment)} == {Verdict.UNPROVEN}


def test_a_policy_that_comes_to_the_canaries_is_nobodys_verdict(topology: Topology) -> None:
    """It may keep their ports as they should be."""

    def add(api: SimulatedApi) -> None:
        home = next(name for kind, _, name in api.objects if kind == "Namespace" and name.startswith("canary-"))
        foreign = {**FOREIGN, "metadata": {"name": "foreign", "namespace": home, "uid": "u"}}
        api.objects["NetworkPolicy", home, "foreign"] = foreign | {"spec": {"podSelector": {"matchLabels": {}}}}

    assessment, _, _ = run(Faults(), topology, under=add)
    assert assessment.enforcement.disturbed
    assert "NetworkPolicy foreign in canary-" in assessment.enforcement.detail


def test_policies_of_others_that_stand_are_on_record(topology: Topology) -> None:
    """Those that may concern what is measured; they disturb nobody as long as they stay as they are."""
    cluster, _ = simulated(Faults(serves=ENGINES, unlisted={"AdminNetworkPolicy"}))
    elsewhere = {"endpointSelector": {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "billing"}}}
    cluster.apply([BASE, {**BASE, "metadata": {"name": "billing"}, "spec": elsewhere}])
    assessment = measure(cluster, topology, DENY_ALL, progress=lambda _: None, settle=0.3)
    assert assessment.enforcement.proven, assessment.enforcement.detail
    assert assessment.standing == ("CiliumClusterwideNetworkPolicy base",)
    assert assessment.policed == {"sock-shop"}, "what is measured are the run's own"
    [told] = assessment.warnings
    assert told.startswith("AdminNetworkPolicy can't be looked at")


def test_a_policy_that_the_cluster_alters_is_told(topology: Topology) -> None:
    def widen(policy: dict[str, Any]) -> None:
        if policy["metadata"]["name"] == "deny-all":
            policy["spec"]["ingress"] = [{}]

    with pytest.raises(ClusterError, match=r"NetworkPolicy deny-all was sent as .* and the cluster made .* of it"):
        run(Faults(mutates=widen), topology)


def test_a_policy_that_selects_no_pod_is_pointed_out(topology: Topology) -> None:
    """It denies nothing, and most likely was meant to; every other is taken as it is."""
    document = DENY_ALL.documents[0]
    typo = {
        **document,
        "metadata": {"name": "typo", "namespace": "sock-shop"},
        "spec": {"podSelector": {"matchLabels": {"name": "user-dbb"}}},
    }
    right = {**typo, "metadata": {**typo["metadata"], "name": "right"}}
    right["spec"] = {"podSelector": {"matchLabels": {"name": "user-db"}}}
    policies = PolicySet("mine", (document, typo, right), ("a:1", "a:9", "a:17"))
    assessment, _, said = run(Faults(), topology, policies)
    told = "NetworkPolicy typo (a:9) selects no pod of sock-shop: its podSelector is name=user-dbb"
    assert assessment.warnings == (told,)
    assert f"warning: {told}" in said


def test_policies_that_stay_leave_the_restoration_unproven(topology: Topology) -> None:
    assessment, _, _ = run(Faults(undying={"deny-all"}), topology)
    assert assessment.enforcement.proven
    assert not assessment.restoration.proven
    assert "for the policies to be gone in vain; last seen: deny-all" in assessment.restoration.detail


def test_a_probe_that_says_nothing_makes_its_flows_inconclusive(topology: Topology) -> None:
    assessment, _, _ = run(Faults(broken_probes={"spoof-"}), topology)
    for phase in Phase:
        for flow in topology.flows():
            observation = assessment.sweeps[phase].observations[flow.id]
            doubtful = observation.outcome is Outcome.INCONCLUSIVE
            assert doubtful == (flow.source.name == "spoof"), (phase, flow.id)
            assert not doubtful or "printed nothing" in observation.samples[0].detail


def test_a_reply_that_a_starved_probe_missed_breaks_nothing_and_hides_no_open_path(topology: Topology) -> None:
    assessment, _, _ = run(Faults(starved_probes={"spoof-"}), topology, NO_POLICIES)
    observed = assessment.sweeps[Phase.BASELINE].observations
    outcomes = {
        (flow.expectation, observed[flow.id].outcome) for flow in topology.flows() if flow.source.name == "spoof"
    }
    assert outcomes == {(Expectation.ALLOW, Outcome.INCONCLUSIVE), (Expectation.DENY, Outcome.OPEN)}


@pytest.mark.parametrize(("name", "end"), [("payment-", "target"), ("twin-payment-", "source")])
def test_a_pod_that_restarts_during_a_sweep_makes_its_flows_inconclusive(
    name: str, end: str, topology: Topology
) -> None:
    """Those that it dialled, or that were dialled of it; a workload's own pods may come and go while its twin dials."""

    def restart(api: SimulatedApi) -> None:
        for one in api.pods():
            if one["metadata"]["name"].startswith(name):
                one["status"]["containerStatuses"][0]["restartCount"] += 1

    assessment, _, _ = run(Faults(before_exec=restart), topology, NO_POLICIES)
    for flow in topology.flows():
        concerned = getattr(flow, end).name == "payment"
        observation = assessment.sweeps[Phase.BASELINE].observations[flow.id]
        assert (observation.outcome is Outcome.INCONCLUSIVE) == concerned, flow.id


@pytest.mark.parametrize("kind", ["Pod", "Service"])
def test_an_address_that_isnt_dialled_leaves_its_flows_in_doubt(kind: str, topology: Topology) -> None:
    """A path by IPv6 may be open where the one by IPv4 is closed."""

    def add_a_family(api: SimulatedApi) -> None:
        for (its_kind, _, name), one in api.objects.items():
            if its_kind == kind == "Pod" and name.startswith("payment-"):
                one["status"]["podIPs"] = [{"ip": one["status"]["podIP"]}, {"ip": "fd00::1"}]
            elif its_kind == kind == "Service" and name == "payment":
                one["spec"]["clusterIPs"] = [one["spec"]["clusterIP"], "fd00::1"]

    assessment, _, _ = run(Faults(before_exec=add_a_family), topology)
    for flow in topology.flows():
        samples = assessment.sweeps[Phase.ENFORCED].observations[flow.id].samples
        doubts = {one.detail for one in samples if one.outcome is Outcome.INCONCLUSIVE}
        told = {"fd00::1 is an IPv6 address, and only IPv4 is dialled"} if flow.target.name == "payment" else set()
        assert doubts == told, flow.id


def test_a_service_without_the_port_is_not_dialled_on_it(topology: Topology) -> None:
    """Nothing answers there, whatever policies say: a path that is closed so is none that policies closed."""

    def move(api: SimulatedApi) -> None:
        api.objects["Service", "sock-shop", "payment"]["spec"]["ports"] = [{"port": 8080, "protocol": "TCP"}]

    cluster, api = there(topology)
    move(api)
    assessment = measure(cluster, topology, LIVE, progress=lambda _: None, settle=0.3, existing=True)
    found = {one.flow.id: one for one in judge(assessment) if one.flow.target.name in ("payment", "user-db")}
    denied = [one for one in found.values() if one.flow.expectation is Expectation.DENY]
    told = {one.flow.target.name: (one.verdict, one.reason.partition(": ")[2]) for one in denied}
    assert told["payment"] == (
        Verdict.UNPROVEN,
        "payment.sock-shop:80/TCP has no Service with an address and that port",
    )
    assert told["user-db"][0] is Verdict.CONTAINED


def test_what_a_service_leads_to_beside_the_targets_pods_is_in_doubt(topology: Topology) -> None:
    """Pods of another version, say, which wear other labels: nobody dials them but by chance."""
    cluster, api = there(topology)
    known = {pod["status"]["podIP"] for pod in api.pods() if pod["metadata"]["name"].startswith(("payment-", "user-"))}
    stray = {"addresses": ["10.101.9.9"], "conditions": {"ready": True}}
    gone = {"addresses": ["10.101.9.10"], "conditions": {"ready": False}}
    for name, more in (("payment", [stray]), ("user-db", [gone])):
        ends = [{"addresses": sorted(known), "conditions": {"ready": True}}, *more]
        api.objects["EndpointSlice", "sock-shop", name]["endpoints"] = ends
    assessment = measure(cluster, topology, LIVE, progress=lambda _: None, settle=0.3, existing=True)
    assert assessment.sweeps[Phase.ENFORCED].strays == {"payment.sock-shop": "10.101.9.9"}
    denied = [one for one in judge(assessment) if one.flow.expectation is Expectation.DENY]
    of_payment = {(one.verdict, one.reason) for one in denied if one.flow.target.name == "payment"}
    assert of_payment == {
        (
            Verdict.UNPROVEN,
            "its Service leads to 10.101.9.9, too, where no pod that the topology knows is: its labels may be short",
        )
    }
    assert {one.verdict for one in denied if one.flow.target.name == "user-db"} == {Verdict.CONTAINED}


def test_loot_that_cant_be_reached_says_why(topology: Topology) -> None:
    assessment, _, _ = run(Faults(), topology)
    assert [(one.phase, one.source, one.path, one.outcome, one.detail) for one in assessment.loot] == [
        (phase, "rogue.default", path, Outcome.REFUSED, "ECONNREFUSED")
        for phase in (Phase.BASELINE, Phase.ENFORCED)
        for path in ("mongo user-db.sock-shop:27017", "GET front-end.sock-shop:80/cards")
    ]


def test_loot_under_the_policies_is_taken_behind_the_sweep(topology: Topology) -> None:
    """What a slow engine lets through before its policies reach a path would pass for what it lets through for good."""
    cluster, api = simulated()
    tried: list[int] = []

    def progress(line: str) -> None:
        if line.startswith("enforced sweep"):
            tried.append(len(api.tunnels))

    measure(cluster, topology, DENY_ALL, progress=progress, settle=0.3)
    assert tried == [len(api.tunnels) - 2]


def test_the_journey_is_taken_in_every_phase(topology: Topology) -> None:
    assessment, api, said = run(Faults(), topology)
    for phase in Phase:
        taken = assessment.journeys[phase]
        assert taken.phase is phase
        assert [step.detail for step in taken.steps if not step.ok] == []
        assert len(taken.steps) == 8
        assert len(taken.pods) == 14
        assert any(line.startswith(f"{phase} journey: 8/8 steps in ") for line in said)
    under = [pod for pod, applied in api.streams if applied]
    # The rogue of the default namespace takes its loot beside the journey.
    sweep = [at for at, pod in enumerate(under) if pod.startswith(("twin-", "spoof-"))]
    front = [at for at, pod in enumerate(under) if pod.startswith("front-end-")]  # a pulse or more, then seven steps
    assert len(front) > 7
    assert max(sweep) < front[-7], "what crashes of a closed way would spoil the sweep"


def test_an_application_that_is_there_already_is_left_alone(topology: Topology) -> None:
    cluster, api = simulated()
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "sock-shop"}}])
    before = by_kind(api)
    with pytest.raises(ConfigurationError, match="already has a namespace sock-shop"):
        measure(cluster, topology, DENY_ALL, progress=lambda _: None)
    assert by_kind(api) == before
    assert api.deleted == []


def test_an_application_that_another_run_left_is_told_with_the_command_that_removes_it(topology: Topology) -> None:
    cluster, api = simulated()
    cluster.apply([Run("1f2e3d4c").namespace("sock-shop")])
    with pytest.raises(
        ConfigurationError, match=r"sock-shop that run 1f2e3d4c has left: .* lateral clean --run 1f2e3d4c"
    ):
        measure(cluster, topology, DENY_ALL, progress=lambda _: None, guest=Guest())
    assert [kind for kind, _, _ in api.deleted] == ["Lease"]


def test_a_policy_that_the_cluster_refuses_is_told_before_anything_is_deployed(topology: Topology) -> None:
    cluster, api = simulated(Faults(invalid={"typo"}))
    before = by_kind(api)
    told: list[str] = []
    policies = PolicySet(
        "mine", ({**DENY_ALL.documents[0], "metadata": {"name": "typo", "namespace": "sock-shop"}},), ("mine.yaml:3",)
    )
    with pytest.raises(ConfigurationError, match=r"^mine\.yaml:3: NetworkPolicy typo: .*no such protocol$"):
        measure(cluster, topology, policies, progress=told.append)
    assert by_kind(api) == before
    assert (told, api.deleted) == ([], [])


def there(topology: Topology, faults: Faults | None = None) -> tuple[Cluster, SimulatedApi]:
    """A cluster in which somebody has deployed the application and its policies."""
    cluster, api = simulated(faults)
    theirs = [*application.documents(topology, Run("theirs")), *DENY_ALL.documents]
    for document in theirs:
        document["metadata"].pop("labels", None)
    cluster.apply(theirs)
    return cluster, api


def test_policies_that_are_there_are_measured_as_they_are(topology: Topology) -> None:
    """An application that is there is looked at only: nothing of it is created, used, changed or removed."""
    cluster, api = there(topology)
    before, states = by_kind(api), copy.deepcopy(api.objects)
    said: list[str] = []
    assessment = measure(cluster, topology, LIVE, progress=said.append, settle=0.3, existing=True)
    assert "measuring under the policies that are there: 1" in said
    assert assessment.proof is Proof.CONTROLS
    assert set(assessment.sweeps) == {Phase.ENFORCED}
    assert (assessment.journeys, assessment.loot, assessment.established) == ({}, (), ())
    assert (api.shop.asked, api.tunnels) == ([], [])
    found = {finding.flow.id: finding for finding in judge(assessment)}
    into = [one for one in found.values() if one.flow.target.namespace == "sock-shop"]
    denied = {one.verdict for one in into if one.flow.expectation is Expectation.DENY}
    assert denied == {Verdict.CONTAINED}
    assert {one.verdict for one in into if one.flow.expectation is Expectation.ALLOW} == {Verdict.UNPROVEN}
    assert by_kind(api) == before
    assert {key: api.objects[key] for key in states} == states


def test_who_may_dial_nothing_must_be_reached_by_its_node(topology: Topology) -> None:
    """Nothing else shows, past all policies, that its network carries packets."""
    cluster, _ = there(topology, Faults(cut_off={"twin-payment-"}))
    assessment = measure(cluster, topology, LIVE, progress=lambda _: None, settle=0.3, existing=True)
    swept = assessment.sweeps[Phase.ENFORCED]
    allowed = {flow.source.id for flow in assessment.flows if flow.expectation is Expectation.ALLOW}
    isolated = [flow for flow in assessment.flows if flow.source.id not in allowed]
    dialled = {flow.id: {one.foothold for one in swept.observations[flow.id].samples} for flow in isolated}
    assert set(swept.links) == set().union(*dialled.values())
    for flow in isolated:
        trouble = "its own node has not connected to it" if flow.source.id == "payment.sock-shop" else ""
        assert {swept.links[foothold] for foothold in dialled[flow.id]} == {trouble}


def test_what_a_twin_reaches_while_it_is_new_says_nothing_of_its_workload(topology: Topology) -> None:
    """Some engines let new pods through at first, which the pods that it stands for aren't; nor is it the youngest."""
    cluster, _ = there(topology, Faults(new_for={"twin-": 3.0}))
    assessment = measure(cluster, topology, LIVE, progress=lambda _: None, settle=0.3, existing=True)
    assert assessment.enforcement.proven, assessment.enforcement.detail
    into = [one for one in judge(assessment) if one.flow.target.namespace == "sock-shop"]
    assert {one.verdict for one in into if one.flow.expectation is Expectation.DENY} == {Verdict.CONTAINED}


def test_a_workload_without_pods_leaves_its_own_paths_unproven_alone(topology: Topology) -> None:
    """Nobody waits for one that is scaled to nothing, and what is dialled in its name is judged as ever."""
    cluster, api = there(topology)
    for key in [key for key in api.objects if key[0] == "Pod" and key[2].startswith("payment-")]:
        del api.objects[key]
    assessment = measure(cluster, topology, LIVE, progress=lambda _: None, settle=0.3, existing=True)
    found = [finding for finding in judge(assessment) if finding.flow.target.namespace == "sock-shop"]
    into = [one for one in found if one.flow.target.name == "payment"]
    assert {(one.verdict, one.reason) for one in into} == {
        (Verdict.UNPROVEN, "inconclusive by pod IP under the policies: payment.sock-shop:80/TCP has no ready pod")
    }
    denied = [one for one in found if one.flow.expectation is Expectation.DENY and one not in into]
    assert {one.verdict for one in denied} == {Verdict.CONTAINED}
    assert any(one.flow.source.name == "payment" for one in denied)


def test_an_application_that_isnt_there_cant_be_measured_as_it_is(topology: Topology) -> None:
    cluster, api = simulated()
    before = by_kind(api)
    with pytest.raises(ConfigurationError, match=r"no namespace sock-shop.*deploy it first"):
        measure(cluster, topology, LIVE, progress=lambda _: None, existing=True)
    assert by_kind(api) == before


def interrupt(_: SimulatedApi) -> None:
    if threading.current_thread() is threading.main_thread():  # as Ctrl-C does
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        pytest.param(lambda: Faults(refuses="NetworkPolicy"), ClusterError, id="a refused policy"),
        pytest.param(lambda: Faults(refuses="ReplicaSet"), ClusterError, id="a refused twin"),
        pytest.param(lambda: Faults(before_exec=interrupt), KeyboardInterrupt, id="an interrupt"),
    ],
)
def test_whatever_ends_the_run_the_cluster_is_cleaned_up(
    topology: Topology, faults: Callable[[], Faults], error: type[BaseException]
) -> None:
    cluster, api = simulated(faults())
    before = by_kind(api)
    with pytest.raises(error):
        measure(cluster, topology, DENY_ALL, progress=lambda _: None, settle=0.3)
    assert by_kind(api) == before


MANIFESTS = """
apiVersion: v1
kind: Namespace
metadata: {name: sock-shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front-end}
spec:
  selector: {matchLabels: {name: front-end}}
  template: {metadata: {labels: {name: front-end}}, spec: {containers: [{name: front-end, image: front-end}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shared, namespace: default}
---
apiVersion: v1
kind: Service
metadata: {name: entry, namespace: default}
spec: {selector: {name: front-end}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: helper, namespace: default}
spec:
  selector: {matchLabels: {name: helper}}
  template: {metadata: {labels: {name: helper}}, spec: {containers: [{name: helper, image: helper}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: guard, namespace: default}
spec: {podSelector: {matchLabels: {name: helper}}}
"""


@pytest.fixture
def spread(topology: Topology, tmp_path: Path) -> Topology:
    """The shop, with manifests that put objects of several kinds into a namespace that everybody has."""
    (tmp_path / "app.yaml").write_text(MANIFESTS)
    return replace(topology, workloads=topology.workloads[:1], intended=(), manifests=tmp_path)


@pytest.mark.parametrize("refused", ["", "Service", "ReplicaSet", "NetworkPolicy", "Pod"])
def test_whatever_was_created_in_other_namespaces_is_removed(spread: Topology, refused: str) -> None:
    """Objects of every kind, and of those exactly what was made when a create in between is refused."""
    faults = Faults(refuses=refused)
    cluster, api = simulated(faults)
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign", "namespace": "default"}}
    cluster.apply([config])
    before = by_kind(api)
    faults.before_exec = interrupt
    with pytest.raises((ClusterError, KeyboardInterrupt)):
        measure(cluster, spread, NO_POLICIES, progress=lambda _: None, settle=0.3)
    assert by_kind(api) == before
    removed = {(kind, name) for kind, namespace, name in api.deleted if namespace == "default"}
    assert (("ConfigMap", "shared") in removed) or refused


@pytest.mark.parametrize("moment", ["baseline sweep", "policies in force", "removing the policies"])
def test_in_namespaces_that_arent_the_runs_exactly_what_it_made_is_removed(topology: Topology, moment: str) -> None:
    """Of every kind, one by one, where a namespace has lost the run's label and isn't the run's any more."""
    cluster, api = simulated()
    before = by_kind(api)
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign", "namespace": "sock-shop"}}
    made: set[str] = set()

    def progress(line: str) -> None:
        if line.startswith(moment):
            cluster.apply([foreign])
            for (kind, _, _), one in api.objects.copy().items():
                made.add(kind)
                if kind == "Namespace":
                    one["metadata"].get("labels", {}).pop(RUN_LABEL, None)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(cluster, topology, DENY_ALL, progress=progress, settle=0.3)
    left = by_kind(api)
    assert left["ConfigMap"] == {"sock-shop/foreign"}
    for kind in made - {"ConfigMap", "Namespace", "ServiceAccount"}:
        assert left[kind] == before[kind], kind
    assert made >= {"Deployment", "Service", "ReplicaSet", "Pod", *(["NetworkPolicy"] if moment[0] == "p" else [])}


@pytest.mark.parametrize("last", ["deploying", "baseline sweep", "removing the policies"])
def test_who_cant_be_told_any_more_is_left_nothing(topology: Topology, last: str) -> None:
    """As where the terminal has gone: it is no word more that may be said, not even of the clean-up."""
    cluster, api = simulated(Faults())
    before, gone = by_kind(api), False

    def progress(line: str) -> None:
        nonlocal gone
        gone = gone or line.startswith(last)
        if gone:
            raise OSError("the terminal has gone")

    with pytest.raises(OSError, match="the terminal has gone"):
        measure(cluster, topology, DENY_ALL, progress=progress, settle=0.3)
    assert by_kind(api) == before


def test_a_clean_up_that_fails_says_what_is_left_and_how_it_is_removed(spread: Topology) -> None:
    """By name, with the command; whatever else can be deleted is."""
    cluster, api = simulated(Faults(keeps={("ConfigMap", "default")}, before_exec=interrupt))
    said: list[str] = []
    guest = Guest(clean="lateral clean --context theirs")
    with pytest.raises(KeyboardInterrupt):
        measure(cluster, spread, NO_POLICIES, progress=said.append, settle=0.3, guest=guest)
    [run] = {one["metadata"]["labels"][RUN_LABEL] for (kind, _, _), one in api.objects.items() if kind == "ConfigMap"}
    assert said[-1] == (
        "clean-up failed: the cluster's API refused to delete ConfigMap shared. Left over: ConfigMap default/shared. "
        f"Remove it by: lateral clean --context theirs --run {run}"
    )
    left = [key for key, one in api.objects.items() if one["metadata"].get("labels", {}).get(RUN_LABEL)]
    assert left == [("ConfigMap", "default", "shared")]


def test_a_guests_attackers_are_in_namespaces_of_the_runs_own(topology: Topology) -> None:
    """Nothing is created in a namespace that others have; ids and reports keep the topology's names."""
    created: set[str] = set()

    def look(api: SimulatedApi) -> None:
        created.update(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in api.pods())

    cluster, api = simulated(Faults(before_exec=look))
    before = by_kind(api)
    assessment = measure(cluster, topology, DENY_ALL, progress=lambda _: None, settle=0.3, guest=Guest())
    run = assessment.run_id
    assert {f"default-{run}/rogue-{run}", f"default-{run}/spoof-{run}", f"sock-shop/rogue-{run}"} <= created
    assert {f"default-{run}/new-rogue-1-{run}", f"sock-shop/new-rogue-1-{run}"} <= created
    assert not any(one.startswith("default/") for one in created)
    assert assessment.flows == topology.flows()
    into = [flow for flow in topology.flows() if flow.source.id == "rogue.default" and flow.target.name == "user-db"]
    assert [assessment.sweeps[Phase.ENFORCED].observations[flow.id].outcome for flow in into] == [Outcome.DROPPED]
    assert by_kind(api) == before


PULL = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "pull", "namespace": "default"},
    "type": "kubernetes.io/dockerconfigjson",
    "data": {".dockerconfigjson": "e30="},
}


def test_a_pull_secret_is_brought_into_the_runs_namespaces_and_goes_with_them(topology: Topology) -> None:
    """A Secret serves its own namespace only, and the run's have names that nobody knows beforehand."""
    secrets: dict[str, object] = {}

    def look(api: SimulatedApi) -> None:
        found = {namespace: one for (kind, namespace, _), one in api.objects.copy().items() if kind == "Secret"}
        secrets.update({namespace: (one["type"], one["data"]) for namespace, one in found.items()})

    cluster, api = simulated(Faults(before_exec=look))
    cluster.apply([PULL])
    before = by_kind(api)
    chosen = Placement(pull_secrets=(PullSecret("pull", "default"),))
    guest = Guest()
    assessment = measure(
        cluster, topology, NO_POLICIES, progress=lambda _: None, settle=0.3, placement=chosen, guest=guest
    )
    own = {f"{name}-{assessment.run_id}" for name in ("default", "outside", "canary")}
    assert set(secrets) == {"default", "sock-shop", *own}
    assert all(one == (PULL["type"], PULL["data"]) for one in secrets.values())
    assert by_kind(api) == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"metadata": {"name": "other", "namespace": "default"}}, "Secret default/pull, by which .* does not exist"),
        (
            {"type": "Opaque"},
            "Secret default/pull is of type Opaque, and images are pulled by kubernetes.io/docker",
        ),
    ],
)
def test_a_pull_secret_that_cant_serve_is_told_before_anything_is_deployed(
    topology: Topology, change: dict[str, object], told: str
) -> None:
    cluster, api = simulated()
    cluster.apply([{**PULL, **change}])
    before = by_kind(api)
    chosen = Placement(pull_secrets=(PullSecret("pull", "default"),))
    with pytest.raises(ConfigurationError, match=told):
        measure(cluster, topology, NO_POLICIES, progress=lambda _: None, placement=chosen)
    assert by_kind(api) == before


def test_everything_tells_its_run_and_when_that_began(topology: Topology) -> None:
    """By a label and an annotation; a twin's pod, whose labels are its workload's, by an annotation."""
    seen: dict[str, tuple[str | None, str | None]] = {}

    def look(api: SimulatedApi) -> None:
        for (kind, namespace, name), one in api.objects.copy().items():
            made_by_others = kind in ("ServiceAccount", "EndpointSlice") or namespace == "kube-system"
            if made_by_others or (kind == "Pod" and RUN_LABEL not in one["metadata"]["labels"]):
                continue
            labels, notes = (one["metadata"].get(key, {}) for key in ("labels", "annotations"))
            seen[f"{kind} {namespace}/{name}"] = labels.get(RUN_LABEL), notes.get(BEGUN)

    cluster, _ = simulated(Faults(before_exec=look))
    assessment = measure(cluster, topology, DENY_ALL, progress=lambda _: None, settle=0.3, guest=Guest())
    for standing in ("default", "kube-system"):
        assert seen.pop(f"Namespace /{standing}") == (None, None)
    assert {run for run, _ in seen.values()} == {assessment.run_id}
    [begun] = {begun for _, begun in seen.values()}
    assert begun is not None
    assert datetime.fromisoformat(begun) <= datetime.fromisoformat(assessment.started_at)
    assert {one.partition(" ")[0] for one in seen} >= {"Namespace", "Pod", "ReplicaSet", "Deployment", "Lease"}


@pytest.mark.parametrize(
    ("error", "together", "cut"),
    [(ClusterError, False, False), (ClusterError, True, True), (KeyboardInterrupt, False, True)],
    ids=["a part fails", "the whole fails", "an interrupt"],
)
def test_what_goes_on_beside_a_part_that_fails_is_left_alone(
    error: type[BaseException], together: bool, cut: bool
) -> None:
    """New pods that a quota refuses must not end the sweep beside them; an interrupt ends everything."""
    cluster, api = simulated()
    refusals: list[str] = []

    @contextmanager
    def refusing(why: str) -> Iterator[None]:
        refusals.append(why)
        yield

    api.refusing = refusing  # type: ignore[method-assign]
    with pytest.raises(error), cluster.workers(1, together=together):
        raise error
    assert bool(refusals) == cut


def pod(namespace: str, name: str, labels: dict[str, str] | None = None) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {"containers": [{"name": "main"}]},
    }


def test_a_node_whose_agent_enforces_nothing_is_named(topology: Topology) -> None:
    """Each node has an agent of its own: one that is dead leaves nothing proven, and the cluster isn't accused."""
    assessment, _, _ = run(Faults(ignoring={"node-b"}), topology)
    assert not assessment.enforcement.proven
    assert not assessment.enforcement.ignored
    assert "node node-b: port 8080 OPEN" in assessment.enforcement.detail
    assert {(check.verdict, check.detail) for check in assessment.traits} == {
        (Verdict.UNPROVEN, "the canaries' policy was not shown to be in force")
    }, "the healthy node isn't accused"


def test_canaries_stand_on_every_node(topology: Topology) -> None:
    """A server and a client on each node that a source or a target is on; each node's closed ports are on record."""
    servers: set[str] = set()

    def look(api: SimulatedApi) -> None:
        servers.update(
            f"{pod['metadata']['name'].rpartition('-')[0]} on {pod['spec']['nodeName']}"
            for pod in api.pods()
            if pod["metadata"]["namespace"].startswith("canary-")
        )

    assessment, _, _ = run(Faults(), topology, under=look)
    assert servers >= {f"{role} on {node}" for role in ("server", "client") for node in ("node-a", "node-b")}
    assert set(assessment.enforcement.nodes) == {"node-a", "node-b"}
    assert {one.closed for one in assessment.enforcement.nodes.values()} == {((Outcome.DROPPED, "timeout"),)}
    assert {check.verdict for check in assessment.traits} == {Verdict.CONTAINED}


def test_a_target_that_is_dead_has_no_pulse(topology: Topology) -> None:
    """Targets that nobody may reach are asked by port-forward, and a silent one is told of."""
    assessment, _, _ = run(Faults(dead={"queue-master-"}), topology)
    pulses = assessment.sweeps[Phase.ENFORCED].pulses
    assert not pulses["queue-master.sock-shop:80/TCP"].alive
    assert pulses["rabbitmq.sock-shop:9090/TCP"].alive
    assert pulses["rabbitmq.sock-shop:15672/TCP"].alive


def test_under_the_policies_every_address_is_dialled_several_times(topology: Topology) -> None:
    """Several samples of each address, spread over time and counted from when the policies were accepted."""
    assessment, _, _ = run(Faults(), topology)
    for observation in assessment.sweeps[Phase.ENFORCED].observations.values():
        moments: dict[str, list[float]] = {}
        for one in observation.samples:
            moments.setdefault(one.address, []).append(one.at)
        assert min(map(len, moments.values())) >= 4
        assert all(max(found) - min(found) > 0.9 for found in moments.values())


def test_every_dial_of_a_pod_tells_whether_it_crossed_nodes(topology: Topology) -> None:
    """Paths on one node and between nodes are both dialled, and told apart; a Service may lead to any pod."""
    nodes: dict[str, str] = {}

    def look(api: SimulatedApi) -> None:
        nodes.update({pod["status"]["podIP"]: pod["spec"]["nodeName"] for pod in api.pods()})

    assessment, _, _ = run(Faults(), topology, under=look)
    swept = assessment.sweeps[Phase.ENFORCED]
    for flow in assessment.flows:
        homes = {f"{pod.namespace}/{pod.name}": pod.node for pod in swept.pods[flow.source.key]}
        samples = swept.observations[flow.id].samples
        for one in samples:
            assert one.crosses == (None if one.via is Via.SERVICE else nodes[one.address] != homes[one.foothold])
        assert {one.crosses for one in samples} >= {True, False}, flow.id


@pytest.mark.parametrize(("settle", "late", "verdict"), [(9.0, 4.0, Verdict.CONTAINED), (0.3, 60.0, Verdict.EXPOSED)])
def test_a_path_may_take_as_long_as_policies_may_settle(
    topology: Topology, settle: float, late: float, verdict: Verdict
) -> None:
    """Policies reach some paths later than the canaries: that is told as delay, and no longer than is allowed."""
    cluster, _ = simulated(Faults(late={"user-db-": late}))
    assessment = measure(cluster, topology, DENY_ALL, progress=lambda _: None, settle=settle)
    found = {finding.flow.id: finding for finding in judge(assessment)}
    slow = found["rogue.default-to-user-db.sock-shop:27017/TCP"]
    assert slow.verdict is verdict
    if verdict is Verdict.CONTAINED:
        assert 2.0 < slow.delay < 6.0
        assert "on this path after" in slow.reason


@pytest.mark.parametrize(("concurrency", "fewest", "most"), [(1, 1, 1), (24, 4, 24)])
def test_so_many_pods_dial_at_a_time_at_most(topology: Topology, concurrency: int, fewest: int, most: int) -> None:
    cluster, api = simulated()
    measure(cluster, topology, DENY_ALL, progress=lambda _: None, settle=0.3, concurrency=concurrency)
    pools: dict[str, set[str]] = {}
    for pod, thread in api.threads:
        if pod.startswith("twin-"):
            pools.setdefault(thread.rpartition("_")[0], set()).add(thread)
    assert fewest <= max(map(len, pools.values())) <= most


def test_a_node_without_room_costs_a_run_its_further_pods_alone(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source dials from where it has a place, and that some have none elsewhere is told."""
    monkeypatch.setattr("lateral.foothold._PLACE_WITHIN", 0.2)
    assessment, _, said = run(Faults(full={"node-b"}), topology)
    [warning] = assessment.warnings
    assert re.fullmatch(r"\d+ of 17 further pods of sources found no place on their nodes: .*", warning)
    assert f"warning: {warning}" in said
    swept = assessment.sweeps[Phase.ENFORCED]
    for flow in assessment.flows:
        dialled = {sample.foothold.rpartition("/")[2] for sample in swept.observations[flow.id].samples}
        assert dialled == {
            pod.name for pod in swept.pods[flow.source.key] if pod.name.startswith(("twin-", "rogue-", "spoof-"))
        }
    missing = 34 - len({one.foothold for found in swept.observations.values() for one in found.samples})
    assert warning.startswith(f"{missing} of 17")
    assert missing > 0


def test_a_service_of_ones_own_node_is_dialled_from_there_alone(topology: Topology) -> None:
    """From other nodes its address leads nowhere, whatever policies say (`internalTrafficPolicy: Local`)."""

    def keep_local(api: SimulatedApi) -> None:
        for (kind, _, name), one in api.objects.items():
            if kind == "Service" and name == "payment":
                one["spec"]["internalTrafficPolicy"] = "Local"

    assessment, _, _ = run(Faults(before_exec=keep_local), topology)
    swept = assessment.sweeps[Phase.ENFORCED]
    for flow in assessment.flows:
        homes = {f"{pod.namespace}/{pod.name}": pod.node for pod in swept.pods[flow.source.key]}
        samples = swept.observations[flow.id].samples
        dialling = {homes[one.foothold] for one in samples if one.via is Via.SERVICE}
        if flow.target.name == "payment":
            own = next(pod.node for pod in swept.pods["payment.sock-shop"] if pod.name.startswith("payment-"))
            assert dialling == {own}
            assert {homes[one.foothold] for one in samples if one.via is Via.POD} == set(homes.values())
        elif flow.target.service:
            assert dialling == {homes[one.foothold] for one in samples}


@pytest.mark.parametrize(("nameserver", "dialled"), [("169.254.20.10", True), ("10.102.0.10", False)])
def test_a_nodes_cache_of_the_clusters_dns_is_dialled_where_pods_ask_it(
    topology: Topology, nameserver: str, dialled: bool
) -> None:
    """Who is kept from the DNS servers may resolve names all the same, and who may ask them may have no names."""
    assessment, _, _ = run(Faults(nameserver=nameserver), topology)
    for phase in Phase:
        for flow in topology.flows():
            samples = assessment.sweeps[phase].observations[flow.id].samples
            asked = {(one.address, one.outcome) for one in samples if one.via is Via.RESOLVER}
            of_dns = dialled and flow.target.name == "kube-dns"
            assert asked == ({(nameserver, Outcome.OPEN)} if of_dns else set()), flow.id


def test_one_exec_dials_so_much_at_most(topology: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is more goes into further ones, and nothing is left out."""
    whole, _, _ = run(Faults(), topology)
    monkeypatch.setattr("lateral.reachability.sweep._IN_ONE_EXEC", 64)
    cluster, api = simulated()
    assessment = measure(cluster, topology, DENY_ALL, progress=lambda _: None, settle=0.3)
    assert 48 < max(dials for pod, dials in api.asked if pod.startswith("twin-")) <= 64
    for phase in Phase:
        for flow in topology.flows():
            one, other = (a.sweeps[phase].observations[flow.id].samples for a in (whole, assessment))
            assert len({sample.path for sample in one}) == len({sample.path for sample in other}) > 0
    assert outcomes(assessment, Phase.ENFORCED) == outcomes(whole, Phase.ENFORCED)


def test_what_contradicts_is_dialled_many_more_times(topology: Topology) -> None:
    """A denied path that is open is dialled again and again, and nothing that was seen before is forgotten."""
    assessment, _, _ = run(Faults(), topology, NO_POLICIES)
    denied = [flow.id for flow in assessment.flows if flow.expectation is Expectation.DENY]
    seen = assessment.sweeps[Phase.ENFORCED].observations
    assert all(len(seen[flow].samples) >= 4 + 8 for flow in denied)


def test_new_pods_tell_what_they_reach_from_their_first_moment(topology: Topology) -> None:
    """Each attacker has a new pod that dials what is denied to it, from its own command."""
    assessment, _, _ = run(Faults(), topology)
    assert set(assessment.newcomers) == {source.id for source in topology.attackers}
    for flow in assessment.flows:
        if flow.source.id not in assessment.newcomers:
            continue
        newcomer = assessment.newcomers[flow.source.id]
        samples = newcomer.arrived[flow.id].samples
        assert min(one.at for one in samples) == 0.0
        if flow.control:
            assert {one.outcome for one in samples} == {Outcome.OPEN}
        elif flow.target.namespace == "sock-shop":
            assert {one.outcome for one in samples} == {Outcome.DROPPED}
        if flow.expectation is Expectation.DENY:
            assert {one.outcome for one in newcomer.restored[flow.id].samples} == {Outcome.OPEN}
        assert newcomer.node in ("node-a", "node-b")


def test_an_allowed_window_is_dialled_around_its_end(topology: Topology) -> None:
    """New pods dial just before what is allowed them ends, and again behind it."""
    cluster, _ = simulated()
    assessment = measure(cluster, topology, DENY_ALL, progress=lambda _: None, settle=0.3, window=5.0)
    assert assessment.window == 5.0
    moments = {
        one.at
        for newcomer in assessment.newcomers.values()
        for seen in newcomer.arrived.values()
        for one in seen.samples
    }
    assert any(4.5 <= moment < 5.0 for moment in moments)
    assert any(moment > 5.0 for moment in moments)


@pytest.mark.parametrize("spoil", [lambda log: log[: len(log) // 2], lambda _: ""])
def test_a_new_pods_log_that_isnt_whole_tells_nothing(
    topology: Topology, spoil: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a log is no sign of a closed path."""
    monkeypatch.setattr("lateral.newcomer._TIMEOUT", 0.3)
    assessment, _, _ = run(Faults(logged=spoil), topology)
    seen = [found for newcomer in assessment.newcomers.values() for found in newcomer.arrived.values()]
    assert {one.outcome for found in seen for one in found.samples} == {Outcome.INCONCLUSIVE}
    assert not any(newcomer.restored for newcomer in assessment.newcomers.values())


def test_new_pods_that_cant_be_created_tell_nothing(topology: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quota that new pods don't fit into keeps nothing closed."""
    monkeypatch.setattr("lateral.newcomer._TIMEOUT", 0.3)
    assessment, _, _ = run(Faults(refused_pods=("new-",)), topology)
    for newcomer in assessment.newcomers.values():
        details = {one.detail for found in newcomer.arrived.values() for one in found.samples}
        assert len(details) == 1
        assert "the new pod could not be created" in details.pop()
        window = judge_window(assessment, {one.flow.id: one for one in judge(assessment)}, newcomer.source)
        assert window.verdict is Verdict.UNPROVEN


def test_what_was_never_open_isnt_waited_for(topology: Topology) -> None:
    """After the policies a path is waited for until it is open again, unless it wasn't open before them."""
    cluster, api = simulated(Faults(lossy={"rogue-"}))
    measure(cluster, topology, NO_POLICIES, progress=lambda _: None, settle=600.0)
    assert not any(kind == "Pod" and namespace == "sock-shop" for kind, namespace, _ in api.objects)


def test_a_run_that_fails_doesnt_wait_for_what_it_waited_for(topology: Topology) -> None:
    """Whatever ends a run, its canaries are not waited for any longer."""

    def interrupt(line: str) -> None:
        if line.startswith("baseline sweep"):
            raise KeyboardInterrupt

    cluster, api = simulated(Faults(ignores_policies=True))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        measure(cluster, topology, DENY_ALL, progress=interrupt, settle=600.0)
    assert time.monotonic() - began < 60.0
    assert not any(namespace == "sock-shop" for _, namespace, _ in api.objects)
