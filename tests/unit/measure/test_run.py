"""A whole run against a cluster in memory: what it creates, measures, notices, and leaves behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from lateral import topology as topologies
from lateral.errors import ClusterError, ConfigurationError
from lateral.model import Assessment, Outcome, Phase, SourceKind, Via
from lateral.policy import PolicySet
from lateral.resources import RUN_LABEL
from lateral.run import measure

from .simulated import Faults, SimulatedApi, by_kind, simulated

if TYPE_CHECKING:
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
    api_faults: Faults, topology: Topology, policies: PolicySet = DENY_ALL
) -> tuple[Assessment, SimulatedApi, list[str]]:
    cluster, api = simulated(api_faults)
    said: list[str] = []
    return measure(cluster, topology, policies, progress=said.append, settle=0.3), api, said


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
    assert any(line.startswith(f"baseline sweep of {len(everything)} flows from 17 sources in ") for line in said)
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
        assert pods[flow.source.id]
        assert pods[f"{flow.target.name}.{flow.target.namespace}"]
    twin_and_workload = pods["user-db.sock-shop"]
    assert len(twin_and_workload) == 2
    assert all(state.ready for state in twin_and_workload)
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
    twins = [source for source in topology.sources() if source.kind is SourceKind.TWIN]
    worn = [dict(one["metadata"]["labels"]) for one in pods]
    hashes = {labels.pop("pod-template-hash") for labels in worn}
    assert len(hashes) == 1
    assert sorted(map(str, worn)) == sorted(str(dict(twin.labels)) for twin in twins)
    assert all(one["spec"]["readinessGates"] for one in pods)


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


def during_the_enforced_sweep(faults: Faults, happen: Callable[[SimulatedApi], None]) -> Faults:
    """Have something happen once the policies have been proven and most of the sweep is over."""
    execs: list[str] = []

    def look(api: SimulatedApi) -> None:
        applied = ("NetworkPolicy", "sock-shop", "deny-all") in api.objects
        execs.extend(["under the policies"] * applied)
        if applied and len(execs) == 16:
            happen(api)

    faults.before_exec = look
    return faults


def test_an_engine_that_dies_during_the_sweep_is_noticed(topology: Topology) -> None:
    faults = Faults()
    assessment, _, _ = run(
        during_the_enforced_sweep(faults, lambda _: setattr(faults, "ignores_policies", True)), topology
    )
    assert not assessment.enforcement.proven
    assert "didn't hold during the sweep: its closed port was OPEN" in assessment.enforcement.detail


def test_a_network_that_loses_what_no_policy_denies_is_noticed(topology: Topology) -> None:
    faults = Faults()
    assessment, _, _ = run(during_the_enforced_sweep(faults, lambda _: faults.lossy.add("client")), topology)
    assert not assessment.enforcement.proven
    assert "open port was DROPPED during the sweep: no policy did that" in assessment.enforcement.detail


def test_a_canary_that_cant_be_looked_at_proves_nothing(topology: Topology) -> None:
    faults = Faults()
    assessment, _, _ = run(during_the_enforced_sweep(faults, lambda _: faults.broken_probes.add("client")), topology)
    assert not assessment.enforcement.proven
    assert not assessment.enforcement.ignored
    assert "canar" in assessment.enforcement.detail


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
    assessment, _, _ = run(during_the_enforced_sweep(Faults(), happen), topology)
    assert not assessment.enforcement.proven
    assert assessment.enforcement.detail == told


def test_a_policy_that_the_cluster_alters_is_told(topology: Topology) -> None:
    def widen(policy: dict[str, Any]) -> None:
        if policy["metadata"]["name"] == "deny-all":
            policy["spec"]["ingress"] = [{}]

    with pytest.raises(ClusterError, match=r"NetworkPolicy deny-all was sent as .* and the cluster made .* of it"):
        run(Faults(mutates=widen), topology)


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


def test_a_pod_that_restarts_during_a_sweep_makes_its_flows_inconclusive(topology: Topology) -> None:
    def restart(api: SimulatedApi) -> None:
        for one in api.pods():
            if one["metadata"]["name"].startswith("payment-"):
                one["status"]["containerStatuses"][0]["restartCount"] += 1

    assessment, _, _ = run(Faults(before_exec=restart), topology, NO_POLICIES)
    for flow in topology.flows():
        concerned = "payment" in (flow.source.name, flow.target.name)
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
        doubts = [one.detail for one in samples if one.outcome is Outcome.INCONCLUSIVE]
        told = ["fd00::1 is an IPv6 address, and only IPv4 is dialled"] if flow.target.name == "payment" else []
        assert doubts == told, flow.id


def test_loot_that_cant_be_reached_says_why(topology: Topology) -> None:
    assessment, _, _ = run(Faults(), topology)
    assert [(one.phase, one.source, one.path, one.outcome, one.detail) for one in assessment.loot] == [
        (phase, "rogue.default", path, Outcome.REFUSED, "ECONNREFUSED")
        for phase in (Phase.BASELINE, Phase.ENFORCED)
        for path in ("mongo user-db.sock-shop:27017", "GET front-end.sock-shop:80/cards")
    ]


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
    sweep = [at for at, pod in enumerate(under) if pod.startswith(("twin-", "rogue-", "spoof-"))]
    pulse, *journey = [at for at, pod in enumerate(under) if pod.startswith("front-end-")]
    assert len(journey) == 7
    assert pulse < min(journey)
    assert max(sweep) < min(journey), "what crashes of a closed way would spoil the sweep"


def test_an_application_that_is_there_already_is_left_alone(topology: Topology) -> None:
    cluster, api = simulated()
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "sock-shop"}}])
    before = by_kind(api)
    with pytest.raises(ConfigurationError, match="already has a namespace sock-shop"):
        measure(cluster, topology, DENY_ALL, progress=lambda _: None)
    assert by_kind(api) == before
    assert api.deleted == []


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


def interrupt(_: SimulatedApi) -> None:
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


def pod(namespace: str, name: str, labels: dict[str, str] | None = None) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {"containers": [{"name": "main"}]},
    }
