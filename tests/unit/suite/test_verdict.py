"""The judge: what three sweeps prove, and what they don't."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lateral.model import (
    Assessment,
    Enforcement,
    Finding,
    Flow,
    NodeEnforcement,
    Observation,
    Outcome,
    Phase,
    Proof,
    Protocol,
    Pulse,
    Reachability,
    Sample,
    Speaks,
    Verdict,
    Via,
)
from lateral.verdict import duration, judge, untestable

from . import synthetic
from .synthetic import CONTROL, DENIED, FLOWS, FOOTHOLD, IGNORED, IN_FORCE, INTENDED, USER_DB, assess, sample

BASELINE, ENFORCED, RESTORED = Phase
BOTH = (Via.SERVICE, Via.POD)


def verdict_of(flow: Flow, assessment: Assessment) -> Finding:
    [finding] = [finding for finding in judge(assessment) if finding.flow.id == flow.id]
    return finding


def seen(flow: Flow, phase: Phase, *samples: Sample) -> dict[Phase, Reachability]:
    """A sweep in which `flow` was sampled so, under the policies several times, and all else behaves."""
    whole = synthetic.sweep(FLOWS, phase)
    samples *= synthetic.DIALS if phase is ENFORCED else 1
    observation = Observation(flow.id, phase, samples, "2025-01-01T00:00:00Z")
    return {phase: dataclasses.replace(whole, observations={**whole.observations, flow.id: observation})}


def test_all_well() -> None:
    """Where everything is as it should be, denies are contained and legitimate flows preserved."""
    findings = judge(assess())
    assert [(f.flow, f.verdict) for f in findings] == [
        (DENIED, Verdict.CONTAINED),
        (INTENDED, Verdict.PRESERVED),
        (CONTROL, Verdict.PRESERVED),
    ]
    assert (
        findings[0].reason
        == "open before, closed in 8 of 8 dials under the policies (in force after 1.2 s), open again"
    )
    assert set(findings[0].observations) == set(Phase)


def test_one_pattern_contains() -> None:
    """Of all outcomes in all phases and all doubts about the run, exactly one combination contains a flow."""
    same = synthetic.pods(synthetic.names(FLOWS))
    restarted = synthetic.pods(synthetic.names(FLOWS), restarts=1)
    shut = dict.fromkeys(Phase, Outcome.DROPPED)
    contained = []
    for outcomes in itertools.product(Outcome, repeat=3):
        for doubts in itertools.product((False, True), repeat=4):
            no_canary, no_return, other_pods, no_control = doubts
            assessment = assess(
                odd={DENIED.id: dict(zip(Phase, outcomes, strict=True)), **({CONTROL.id: shut} if no_control else {})},
                enforcement=IGNORED if no_canary else IN_FORCE,
                restoration=IGNORED if no_return else IN_FORCE,
            )
            sweeps = {
                phase: dataclasses.replace(sweep, pods=restarted if other_pods and phase is ENFORCED else same)
                for phase, sweep in assessment.sweeps.items()
            }
            finding = verdict_of(DENIED, dataclasses.replace(assessment, sweeps=sweeps))
            assert finding.reason.isascii()
            assert "\n" not in finding.reason
            if outcomes[1] in (Outcome.OPEN, Outcome.UNRESOLVED):
                assert finding.verdict is Verdict.EXPOSED
            elif finding.verdict is Verdict.CONTAINED:
                contained.append((outcomes, doubts))
            else:
                assert finding.verdict is Verdict.UNPROVEN
    assert contained == [((Outcome.OPEN, Outcome.DROPPED, Outcome.OPEN), (False, False, False, False))]


def test_one_pattern_preserves() -> None:
    """A legitimate flow is preserved by being open throughout, and disrupted only where it certainly broke."""
    for outcomes in itertools.product(Outcome, repeat=3):
        finding = verdict_of(INTENDED, assess(odd={INTENDED.id: dict(zip(Phase, outcomes, strict=True))}))
        if outcomes == (Outcome.OPEN, Outcome.OPEN, Outcome.OPEN):
            assert finding.verdict is Verdict.PRESERVED
        elif outcomes[0] is Outcome.OPEN and outcomes[1] not in (Outcome.OPEN, Outcome.INCONCLUSIVE):
            assert finding.verdict is Verdict.DISRUPTED
        else:
            assert finding.verdict is Verdict.UNPROVEN


@pytest.mark.parametrize(
    ("outcomes", "verdict", "reason"),
    [
        pytest.param({ENFORCED: Outcome.OPEN}, Verdict.EXPOSED, "open before, still open 1.2 s after", id="stays open"),
        pytest.param(
            {BASELINE: Outcome.DROPPED, ENFORCED: Outcome.OPEN}, Verdict.EXPOSED, "DROPPED before, yet open", id="opens"
        ),
        pytest.param(
            {ENFORCED: Outcome.UNRESOLVED},
            Verdict.EXPOSED,
            "still answered (UNRESOLVED)",
            id="answers without the record",
        ),
        pytest.param(
            {ENFORCED: Outcome.REFUSED},
            Verdict.UNPROVEN,
            "REFUSED by ClusterIP and pod IP under the policies: that is no deny by itself",
            id="refuses",
        ),
        pytest.param({ENFORCED: Outcome.UNREACHABLE}, Verdict.UNPROVEN, "UNREACHABLE by ClusterIP", id="unreachable"),
        pytest.param(
            {BASELINE: Outcome.DROPPED},
            Verdict.UNPROVEN,
            "not open before the policies (DROPPED by ClusterIP and pod IP): nothing is shown by its being closed",
            id="never open",
        ),
        pytest.param(
            {RESTORED: Outcome.DROPPED},
            Verdict.UNPROVEN,
            "DROPPED by ClusterIP and pod IP after the policies were removed",
            id="never opens again",
        ),
        pytest.param(
            {ENFORCED: Outcome.INCONCLUSIVE},
            Verdict.UNPROVEN,
            "inconclusive by ClusterIP under the policies",
            id="unknown",
        ),
    ],
)
def test_denied_reasons(outcomes: Mapping[Phase, Outcome], verdict: Verdict, reason: str) -> None:
    """A denied flow's verdict says which phase decided it and by which address."""
    finding = verdict_of(DENIED, assess(odd={DENIED.id: outcomes}))
    assert finding.verdict is verdict
    assert reason in finding.reason


def test_exposed_by_one_address() -> None:
    """One open address under the policies exposes the flow, and the reason names it and what the other did."""
    sweeps = seen(DENIED, ENFORCED, sample(Outcome.DROPPED, Via.SERVICE), sample(Outcome.OPEN, Via.POD))
    finding = verdict_of(DENIED, assess(sweeps=sweeps))
    assert finding.verdict is Verdict.EXPOSED
    assert finding.reason == ("open before, still open by pod IP 1.2 s after the policies (DROPPED by ClusterIP)")


def test_exposed_without_policies() -> None:
    """Where no policies were applied the reason doesn't speak of them."""
    finding = verdict_of(DENIED, assess(odd={DENIED.id: {ENFORCED: Outcome.OPEN}}, policies="none"))
    assert (finding.verdict, finding.reason) == (Verdict.EXPOSED, "open before, still open without any policies")


@pytest.mark.parametrize("phase", [BASELINE, RESTORED])
def test_each_address_must_have_been_open(phase: Phase) -> None:
    """A pod's address that was never open proves nothing by being closed, whatever the ClusterIP did."""
    sweeps = seen(DENIED, phase, sample(Outcome.OPEN, Via.SERVICE), sample(Outcome.DROPPED, Via.POD))
    finding = verdict_of(DENIED, assess(sweeps=sweeps))
    assert finding.verdict is Verdict.UNPROVEN
    assert "DROPPED by pod IP" in finding.reason


@pytest.mark.parametrize("phase", Phase)
def test_one_inconclusive_sample_is_doubt(phase: Phase) -> None:
    """A doubtful sample among certain ones leaves a denied flow unproven."""
    usual = synthetic.behaved(DENIED, phase)
    doubtful = dataclasses.replace(sample(Outcome.INCONCLUSIVE), detail="no marker \N{EM DASH} exec failed")
    sweeps = seen(DENIED, phase, sample(usual, Via.SERVICE), sample(usual), doubtful)
    finding = verdict_of(DENIED, assess(sweeps=sweeps))
    assert finding.verdict is Verdict.UNPROVEN
    assert finding.reason.endswith(": no marker ? exec failed")


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("flow", [DENIED, INTENDED])
def test_every_address_kind_is_dialled(flow: Flow, phase: Phase) -> None:
    """A flow with a Service that was dialled by one kind of address only is unproven."""
    finding = verdict_of(flow, assess(sweeps=seen(flow, phase, sample(synthetic.behaved(flow, phase), Via.POD))))
    assert finding.verdict is Verdict.UNPROVEN
    assert "not dialled by ClusterIP" in finding.reason


@pytest.mark.parametrize("phase", Phase)
def test_missing_observation(phase: Phase) -> None:
    """A flow that a sweep left out is unproven, denied or not."""
    whole = synthetic.sweep(FLOWS, phase)
    sweeps = {phase: dataclasses.replace(whole, observations={})}
    assert {finding.verdict for finding in judge(assess(sweeps=sweeps))} == {Verdict.UNPROVEN}


def test_target_without_service() -> None:
    """A port that no Service exposes is proven by the pods' addresses alone."""
    flow = dataclasses.replace(DENIED, target=dataclasses.replace(USER_DB, port=15672, service=None))
    assert verdict_of(flow, assess([flow])).verdict is Verdict.CONTAINED


def test_addresses_must_stay() -> None:
    """Another pod's address in one sweep makes the sweeps incomparable."""
    moved = sample(Outcome.DROPPED, address="10.101.0.99:27017")
    finding = verdict_of(DENIED, assess(sweeps=seen(DENIED, ENFORCED, sample(Outcome.DROPPED, Via.SERVICE), moved)))
    assert (finding.verdict, finding.reason) == (Verdict.UNPROVEN, "the addresses changed between the sweeps")


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("end", ["rogue rogue.default", "user-db.sock-shop"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"uid": "1"}, "pods of {end} were replaced between the sweeps"),
        ({"restarts": 1}, "pods of {end} restarted between the sweeps"),
        ({"ready": False}, "readiness of {end} changed between the sweeps"),
        (None, "no pod of {end} was seen in every sweep"),
    ],
)
def test_pods_must_stay(phase: Phase, end: str, change: dict[str, str | int | bool] | None, reason: str) -> None:
    """Pods that were replaced, restarted, unready or absent in one sweep leave a denied flow unproven."""
    whole = synthetic.sweep(FLOWS, phase)
    changed = synthetic.pods([end], **change) if change else {end: ()}
    sweeps = {phase: dataclasses.replace(whole, pods={**whole.pods, **changed})}
    finding = verdict_of(DENIED, assess(sweeps=sweeps))
    assert (finding.verdict, finding.reason) == (Verdict.UNPROVEN, reason.format(end=end.removeprefix("rogue ")))


def test_source_that_can_dial_nothing() -> None:
    """Denies of a source whose legitimate flows are all closed too are unproven; one open one is enough."""
    cut = {CONTROL.id: {ENFORCED: Outcome.DROPPED}}
    finding = verdict_of(DENIED, assess(odd=cut))
    assert finding.verdict is Verdict.UNPROVEN
    assert finding.reason == "rogue.default could dial nothing under the policies, not even what it may"
    other = dataclasses.replace(CONTROL, target=dataclasses.replace(CONTROL.target, name="other"))
    assert verdict_of(DENIED, assess([*FLOWS, other], odd=cut)).verdict is Verdict.CONTAINED


def test_silence_over_udp() -> None:
    """Over UDP a closed path is told from a dead server only by somebody whom the server answered."""
    dns = dataclasses.replace(USER_DB, name="kube-dns", namespace="kube-system", protocol=Protocol.UDP)
    denied, other = dataclasses.replace(DENIED, target=dns), dataclasses.replace(INTENDED, target=dns)
    assert verdict_of(denied, assess([denied, other])).verdict is Verdict.CONTAINED
    finding = verdict_of(denied, assess([denied, other], odd={other.id: {ENFORCED: Outcome.DROPPED}}))
    assert finding.verdict is Verdict.UNPROVEN
    assert finding.reason.startswith("kube-dns.kube-system:27017/UDP answered nobody under the policies")


def test_source_without_controls() -> None:
    """A source that may dial nothing at all can still be contained: the three sweeps prove it."""
    assert verdict_of(DENIED, assess([DENIED])).verdict is Verdict.CONTAINED


@pytest.mark.parametrize(
    ("enforcement", "restoration", "reason"),
    [
        (IGNORED, IN_FORCE, "closed, but no policy was shown to be in force: the canary was still open after 30 s"),
        (
            IN_FORCE,
            IGNORED,
            "closed, but the policies were not shown to be gone again: the canary was still open after 30 s",
        ),
    ],
)
def test_denied_without_canary(enforcement: Enforcement, restoration: Enforcement, reason: str) -> None:
    """A closed path proves nothing while the canary didn't flip."""
    finding = verdict_of(DENIED, assess(enforcement=enforcement, restoration=restoration))
    assert (finding.verdict, finding.reason) == (Verdict.UNPROVEN, reason)


def test_allowed_without_canary() -> None:
    """A legitimate flow that stays open proves nothing where no policy was in force."""
    finding = verdict_of(INTENDED, assess(enforcement=IGNORED))
    assert finding.verdict is Verdict.UNPROVEN
    assert finding.reason.startswith("open throughout, but no policy was shown to be in force")


def test_cluster_that_ignores_policies() -> None:
    """Where policies are ignored every denied flow is exposed and no other is called preserved."""
    findings = judge(assess(odd={DENIED.id: {ENFORCED: Outcome.OPEN}}, enforcement=IGNORED))
    assert [finding.verdict for finding in findings] == [Verdict.EXPOSED, Verdict.UNPROVEN, Verdict.UNPROVEN]


@pytest.mark.parametrize(
    ("restored", "ending"),
    [(Outcome.OPEN, "works again without them"), (Outcome.REFUSED, "does not work without them either")],
)
def test_disrupted(restored: Outcome, ending: str) -> None:
    """A legitimate flow that the policies broke is disrupted, whether or not it recovers."""
    finding = verdict_of(INTENDED, assess(odd={INTENDED.id: {ENFORCED: Outcome.DROPPED, RESTORED: restored}}))
    assert finding.verdict is Verdict.DISRUPTED
    assert finding.reason == f"worked before, DROPPED by ClusterIP and pod IP under the policies, {ending}"


def test_what_no_policy_did_is_not_disrupted() -> None:
    """Where policies are ignored, or weren't shown to be in force, a packet lost now and then is nobody's doing."""
    dropped = {INTENDED.id: {ENFORCED: Outcome.DROPPED}}
    assert verdict_of(INTENDED, assess(odd=dropped, enforcement=IGNORED)).verdict is Verdict.UNPROVEN
    unshown = dataclasses.replace(IGNORED, ignored=False)
    assert verdict_of(INTENDED, assess(odd=dropped, enforcement=unshown)).verdict is Verdict.DISRUPTED
    once = seen(INTENDED, ENFORCED, *[sample(Outcome.OPEN, via) for via in BOTH] * 3, sample(Outcome.DROPPED))
    assert verdict_of(INTENDED, assess(sweeps=once)).verdict is Verdict.DISRUPTED
    assert verdict_of(INTENDED, assess(sweeps=once, enforcement=unshown)).verdict is Verdict.UNPROVEN


def test_a_reply_that_is_missing_once_is_no_policys_doing() -> None:
    """It connected: the application was slow, and that is neither working nor broken by the policies."""
    samples = [*[sample(Outcome.OPEN, via) for via in BOTH] * 3, sample(Outcome.OPEN, replied=False)]
    finding = verdict_of(INTENDED, assess(sweeps=seen(INTENDED, ENFORCED, *samples)))
    assert finding.verdict is Verdict.UNPROVEN
    assert "no reply by pod IP in 4 of 28 dials under the policies, though it connected" in finding.reason


def test_allowed_needs_a_reply() -> None:
    """A legitimate flow that connects but gets no answer under the policies is disrupted; before them, untestable."""
    silent = (sample(Outcome.OPEN, Via.SERVICE), sample(Outcome.OPEN, Via.POD, replied=False))
    under = verdict_of(INTENDED, assess(sweeps=seen(INTENDED, ENFORCED, *silent)))
    assert under.verdict is Verdict.DISRUPTED
    assert "no reply by pod IP in 4 of 8 dials under the policies" in under.reason
    before = verdict_of(INTENDED, assess(sweeps=seen(INTENDED, BASELINE, *silent)))
    assert before.verdict is Verdict.UNPROVEN
    assert untestable(before) == "no reply by pod IP before the policies"


def test_where_no_reply_is_known_the_verdict_says_so() -> None:
    """A connection is then what was looked at, and no more than that is claimed; closed is closed all the same."""
    plain = dataclasses.replace(USER_DB, speaks=Speaks.TCP)
    allowed, denied = (dataclasses.replace(flow, target=plain) for flow in (INTENDED, DENIED))
    finding = verdict_of(allowed, assess((allowed, denied)))
    assert finding.verdict is Verdict.PRESERVED
    assert finding.reason == (
        "connected before, under and after the policies; what the application replies isn't known (speaks: tcp)"
    )
    assert verdict_of(denied, assess((allowed, denied))).verdict is Verdict.CONTAINED


@pytest.mark.parametrize("flow", FLOWS)
def test_testable(flow: Flow) -> None:
    """A flow that is open at baseline can be tested, whatever happens to it later."""
    assert (
        untestable(verdict_of(flow, assess(odd={flow.id: {ENFORCED: Outcome.OPEN, RESTORED: Outcome.DROPPED}}))) == ""
    )


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OPEN])
def test_untestable(flow: Flow, outcome: Outcome) -> None:
    """A flow that wasn't open at baseline can't be tested."""
    reason = untestable(verdict_of(flow, assess(odd={flow.id: {BASELINE: outcome}})))
    assert "before the policies" in reason
    assert outcome.lower() in reason.lower()


@pytest.mark.parametrize(("seconds", "told"), [(12.34, "12.3 s"), (1.0, "1.0 s"), (0.0453, "45 ms")])
def test_duration(seconds: float, told: str) -> None:
    """Times are told to a digit that means something."""
    assert duration(seconds) == told


def under(*samples: Sample, flow: Flow = DENIED, enforcement: Enforcement = IN_FORCE) -> Finding:
    """The verdict where a flow was seen so under the policies, and by nothing else."""
    whole = synthetic.sweep(FLOWS, ENFORCED)
    observation = Observation(flow.id, ENFORCED, samples, "2025-01-01T00:00:00Z")
    swept = dataclasses.replace(whole, observations={**whole.observations, flow.id: observation})
    return verdict_of(flow, assess(sweeps={ENFORCED: swept}, enforcement=enforcement))


def spread(outcomes: Mapping[float, Outcome], via: Via = Via.POD) -> list[Sample]:
    return [sample(outcome, via, at=at) for at, outcome in outcomes.items()]


CLOSED = [sample(Outcome.DROPPED, via, at=at) for at in (1.5, 2.0, 2.5) for via in BOTH]


def test_open_before_the_policies_were_in_force_is_delay() -> None:
    """What is dialled before the canaries showed the policies says nothing against them."""
    finding = under(*spread({0.0: Outcome.OPEN, 1.2: Outcome.OPEN}), *CLOSED)
    assert finding.verdict is Verdict.CONTAINED
    assert (
        "closed in 6 of 6 dials under the policies (in force after 1.2 s, on this path after 1.2 s)" in finding.reason
    )


def test_open_before_a_path_was_first_closed_is_delay() -> None:
    """A path may close later than the canary; how much later is told."""
    late = [sample(Outcome.DROPPED, via, at=at) for at in (3.0, 3.5, 4.0) for via in BOTH]
    finding = under(*spread({1.3: Outcome.OPEN, 2.4: Outcome.OPEN}), *late)
    assert finding.verdict is Verdict.CONTAINED
    assert "on this path after 2.4 s" in finding.reason


def test_delay_is_bounded() -> None:
    """A path that closes later than policies may take to settle was exposed."""
    late = [sample(Outcome.DROPPED, via, at=at) for at in (33.0, 33.5, 34.0) for via in BOTH]
    assert under(*spread({1.3: Outcome.OPEN, 30.5: Outcome.OPEN}), *late).verdict is Verdict.EXPOSED


def test_open_after_it_was_closed_is_exposed() -> None:
    """One open dial after a closed one is a hole, however often it is closed besides."""
    finding = under(*CLOSED, sample(Outcome.OPEN, at=2.2))
    assert finding.verdict is Verdict.EXPOSED
    assert "still open in 1 of 7 dials by pod IP" in finding.reason


@pytest.mark.parametrize("missing", BOTH)
def test_a_deny_needs_several_closed_samples_of_each_address(missing: Via) -> None:
    """Two closed dials of an address are too few; earlier ones don't count."""
    few = [one for one in CLOSED if one.via is not missing or one.at > 1.5]
    finding = under(*few, sample(Outcome.DROPPED, missing, at=0.5))
    assert finding.verdict is Verdict.UNPROVEN
    assert "closed in only 2 of the 3 dials" in finding.reason


def test_a_leak_leaves_no_path_contained() -> None:
    """Where one pod was open after it had been closed, closed dials elsewhere prove nothing."""
    other = dataclasses.replace(DENIED, target=dataclasses.replace(USER_DB, name="carts-db", service="carts-db"))
    flows = (*FLOWS, other)
    whole = synthetic.sweep(flows, ENFORCED)
    leaking = dataclasses.replace(whole.observations[other.id], samples=(*CLOSED, sample(Outcome.OPEN, at=2.2)))
    swept = dataclasses.replace(whole, observations={**whole.observations, other.id: leaking})
    assessment = assess(flows, sweeps={ENFORCED: swept})
    assert verdict_of(other, assessment).verdict is Verdict.EXPOSED
    finding = verdict_of(DENIED, assessment)
    assert finding.verdict is Verdict.UNPROVEN
    assert "policies leak in this cluster: rogue.default to carts-db.sock-shop:27017/TCP was open in 1 of 7" in (
        finding.reason
    )


def test_replicas_that_differ_are_no_leak() -> None:
    """A Service in front of an open and a closed pod is open now and then, which says nothing of other paths."""
    pods = [sample(Outcome.DROPPED, address="10.101.0.1:1"), sample(Outcome.OPEN, address="10.101.0.2:1")] * 3
    front = [sample(Outcome.DROPPED, Via.SERVICE), sample(Outcome.OPEN, Via.SERVICE)] * 3
    other = dataclasses.replace(DENIED, target=dataclasses.replace(USER_DB, name="carts-db", service="carts-db"))
    flows = (*FLOWS, other)
    whole = synthetic.sweep(flows, ENFORCED)
    mixed = dataclasses.replace(whole.observations[other.id], samples=(*pods, *front))
    assessment = assess(
        flows, sweeps={ENFORCED: dataclasses.replace(whole, observations={**whole.observations, other.id: mixed})}
    )
    assert verdict_of(other, assessment).verdict is Verdict.EXPOSED
    assert verdict_of(DENIED, assessment).verdict is Verdict.CONTAINED


@pytest.mark.parametrize(
    ("flow", "outcome", "verdict", "said"),
    [
        (DENIED, Outcome.OPEN, Verdict.EXPOSED, "open before, still open by node resolver 1.2 s after the policies"),
        (DENIED, Outcome.DROPPED, Verdict.CONTAINED, "open before, closed in 12 of 12 dials"),
        (INTENDED, Outcome.OPEN, Verdict.PRESERVED, "open and answered before, under and after"),
        (INTENDED, Outcome.DROPPED, Verdict.DISRUPTED, "worked before, DROPPED by node resolver in 4 of 12 dials"),
    ],
)
def test_a_nodes_resolver_is_a_path_as_any_other(flow: Flow, outcome: Outcome, verdict: Verdict, said: str) -> None:
    sweeps = {}
    for phase in Phase:
        whole = synthetic.sweep(FLOWS, phase)
        cached = sample(outcome if phase is ENFORCED else Outcome.OPEN, Via.RESOLVER, address="169.254.20.10:53")
        dialled = (*whole.observations[flow.id].samples, *[cached] * synthetic.DIALS)
        observation = dataclasses.replace(whole.observations[flow.id], samples=dialled)
        sweeps[phase] = dataclasses.replace(whole, observations={**whole.observations, flow.id: observation})
    finding = verdict_of(flow, assess(sweeps=sweeps))
    assert finding.verdict is verdict
    assert finding.reason.startswith(said)


REJECTED = {via: sample(Outcome.REFUSED, via, detail="ECONNREFUSED") for via in BOTH}


def rejecting(
    *,
    canary: tuple[Outcome, str] = (Outcome.REFUSED, "ECONNREFUSED"),
    also: tuple[Outcome, str] = (Outcome.DROPPED, "timeout"),
    node: str = "b",
    endpoints: str = "",
    by_pod: Sample = REJECTED[Via.POD],
) -> Finding:
    """The verdict on a flow that is refused under the policies, by an engine whose canary looked so on a node."""
    whole = synthetic.sweep(FLOWS, ENFORCED)
    samples = (REJECTED[Via.SERVICE], by_pod) * 3
    observation = Observation(DENIED.id, ENFORCED, samples, "2025-01-01T00:00:00Z")
    swept = dataclasses.replace(
        whole,
        observations={**whole.observations, DENIED.id: observation},
        pods=synthetic.pods(synthetic.names(FLOWS), node="b"),
        endpoints={"user-db.sock-shop": endpoints},
    )
    others = {phase: dataclasses.replace(synthetic.sweep(FLOWS, phase), pods=swept.pods) for phase in Phase}
    enforcement = dataclasses.replace(IN_FORCE, nodes={node: NodeEnforcement(1.25, (canary, also))})
    return verdict_of(DENIED, assess(sweeps={**others, ENFORCED: swept}, enforcement=enforcement))


def test_a_refusal_that_looks_like_the_canarys_is_a_deny() -> None:
    """An engine that rejects contains a path, where its canary was rejected in the same way on the same node."""
    assert rejecting().verdict is Verdict.CONTAINED


def test_silence_fits_a_refusal() -> None:
    """Kernels send only so many refusals a second: what is refused at one address may be silent at another."""
    assert rejecting(by_pod=sample(Outcome.DROPPED, detail="timeout")).verdict is Verdict.CONTAINED


@pytest.mark.parametrize(
    ("finding", "reason"),
    [
        pytest.param(rejecting(canary=(Outcome.DROPPED, "timeout")), "a listener may only be missing", id="drops"),
        pytest.param(
            rejecting(canary=(Outcome.UNREACHABLE, "EHOSTUNREACH")), "a listener may only be missing", id="otherwise"
        ),
        pytest.param(rejecting(node="a"), "no canary showed policies in force on node b", id="another node"),
        pytest.param(rejecting(endpoints="none was ready"), "endpoints: none was ready", id="no endpoints"),
        pytest.param(
            rejecting(
                by_pod=sample(Outcome.UNREACHABLE, detail="EHOSTUNREACH"), also=(Outcome.UNREACHABLE, "EHOSTUNREACH")
            ),
            "closed in different ways",
            id="pod differs",
        ),
    ],
)
def test_other_refusals_are_no_deny(finding: Finding, reason: str) -> None:
    """What is refused for another reason, or may be, is never contained."""
    assert finding.verdict is Verdict.UNPROVEN
    assert reason in finding.reason


@pytest.mark.parametrize(
    ("pulse", "verdict"), [(Pulse(alive=True), Verdict.CONTAINED), (Pulse(alive=False, detail="x"), Verdict.UNPROVEN)]
)
def test_a_target_that_nobody_may_reach_must_be_alive(pulse: Pulse, verdict: Verdict) -> None:
    """Without a live control, only a port-forward tells a denied path from a dead target."""
    flows = (DENIED, CONTROL)
    swept = dataclasses.replace(synthetic.sweep(flows, ENFORCED), pulses={USER_DB.id: pulse})
    finding = verdict_of(DENIED, assess(flows, sweeps={ENFORCED: swept}))
    assert finding.verdict is verdict
    assert pulse.alive or finding.reason == f"{USER_DB.id} was not shown to be alive under the policies: x"


def test_a_target_that_was_not_looked_at_is_not_alive() -> None:
    """No pulse is no sign of life."""
    flows = (DENIED, CONTROL)
    swept = dataclasses.replace(synthetic.sweep(flows, ENFORCED), pulses={})
    assert verdict_of(DENIED, assess(flows, sweeps={ENFORCED: swept})).verdict is Verdict.UNPROVEN


def test_an_allowed_path_that_works_late_is_preserved() -> None:
    """A legitimate path may come with a delay, and never fail after it first worked."""
    works = [sample(Outcome.OPEN, via, at=at) for at in (2.0, 2.5) for via in BOTH]
    late = under(sample(Outcome.DROPPED, at=1.5), *works, flow=INTENDED)
    assert (late.verdict, "there after 1.5 s" in late.reason) == (Verdict.PRESERVED, True)
    broken = under(*works, sample(Outcome.DROPPED, at=2.2), flow=INTENDED)
    assert (broken.verdict, "DROPPED by pod IP in 1 of 5 dials" in broken.reason) == (Verdict.DISRUPTED, True)


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(st.tuples(st.sampled_from(Outcome), st.sampled_from(Via), st.floats(0, 40)), min_size=1, max_size=14),
    st.booleans(),
)
def test_nothing_that_was_answered_after_it_was_closed_is_contained(
    dialled: list[tuple[Outcome, Via, float]], proven: bool
) -> None:
    """Whatever is seen: CONTAINED has no open dial after a closed one, and one more open dial at the end undoes it."""
    samples = [sample(outcome, via, at=at) for outcome, via, at in dialled]
    enforcement = IN_FORCE if proven else IGNORED
    finding = under(*samples, enforcement=enforcement)
    if finding.verdict is Verdict.CONTAINED:
        assert proven
        for via in BOTH:
            own = sorted((one for one in samples if one.via is via), key=lambda one: one.at)
            steady = [one.outcome for one in own if one.at >= IN_FORCE.seconds]
            assert steady.count(Outcome.DROPPED) >= 3
            assert Outcome.OPEN not in steady[steady.index(Outcome.DROPPED) :]
    assert under(*samples, sample(Outcome.OPEN, at=41.0), enforcement=enforcement).verdict is Verdict.EXPOSED


def live(*flows: Flow, **changes: Any) -> Assessment:
    """An assessment of policies that the run found there."""
    return assess(flows or FLOWS, proof=Proof.CONTROLS, policies="live", **changes)


def test_policies_that_were_there_are_proven_by_controls_only() -> None:
    """Without a baseline a path is contained by being closed while its ends were shown to work, and that is said."""
    denied, intended, control = judge(live())
    assert (denied.verdict, intended.verdict, control.verdict) == (
        Verdict.CONTAINED,
        Verdict.PRESERVED,
        Verdict.PRESERVED,
    )
    assert "closed in 8 of 8 dials under the policies that the run found (controls-only" in denied.reason
    assert "before" not in denied.reason + intended.reason


def test_what_was_there_all_along_has_no_delay() -> None:
    """Under policies that were in force before, a path that was open at first was let through."""
    samples = [sample(Outcome.OPEN, at=0.0), *(sample(Outcome.DROPPED, at=at) for at in (0.5, 1.0, 1.5))]
    flow = dataclasses.replace(DENIED, target=dataclasses.replace(USER_DB, service=None))
    whole = synthetic.sweep((flow, INTENDED, CONTROL), ENFORCED)
    observation = dataclasses.replace(whole.observations[flow.id], samples=tuple(samples))
    swept = dataclasses.replace(whole, observations={**whole.observations, flow.id: observation})
    finding = verdict_of(flow, live(flow, INTENDED, CONTROL, sweeps={ENFORCED: swept}))
    assert finding.verdict is Verdict.EXPOSED
    assert finding.reason == "open in 1 of 4 dials by pod IP under the policies that the run found (DROPPED by pod IP)"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"enforcement": IGNORED}, "no policy was shown to be in force", id="no enforcement"),
        pytest.param({"odd": {CONTROL.id: {ENFORCED: Outcome.DROPPED}}}, "could dial nothing", id="no control"),
        pytest.param({"odd": {DENIED.id: {ENFORCED: Outcome.REFUSED}}}, "no deny by itself", id="refused"),
    ],
)
def test_controls_only_needs_its_controls(changes: dict[str, Any], reason: str) -> None:
    """Where a control is missing, nothing is contained."""
    finding = verdict_of(DENIED, live(**changes))
    assert finding.verdict is Verdict.UNPROVEN
    assert reason in finding.reason


def test_without_a_baseline_nothing_is_called_broken() -> None:
    """An intended path that doesn't work may never have."""
    finding = verdict_of(INTENDED, live(odd={INTENDED.id: {ENFORCED: Outcome.DROPPED}}))
    assert finding.verdict is Verdict.UNPROVEN
    assert finding.reason == "DROPPED by ClusterIP and pod IP under the policies"


@pytest.mark.parametrize(
    ("links", "verdict"),
    [({FOOTHOLD: ""}, Verdict.CONTAINED), ({FOOTHOLD: "not reached"}, Verdict.UNPROVEN), ({}, Verdict.UNPROVEN)],
    ids=["carries packets", "carries none", "not asked"],
)
def test_controls_only_needs_a_source_that_could_dial(links: dict[str, str], verdict: Verdict) -> None:
    """Where a source may dial nothing, and there is no time without policies, its network may as well be dead."""
    flows = (DENIED, INTENDED)
    swept = dataclasses.replace(synthetic.sweep(flows, ENFORCED), links=links)
    finding = verdict_of(DENIED, live(*flows, sweeps={ENFORCED: swept}))
    assert finding.verdict is verdict
    assert (finding.verdict is Verdict.CONTAINED) or finding.reason.startswith("rogue.default may dial nothing")


@pytest.mark.parametrize(
    ("protocol", "pulse", "verdict"),
    [
        (Protocol.TCP, Pulse(alive=True), Verdict.CONTAINED),
        (Protocol.TCP, Pulse(alive=False, detail="x"), Verdict.UNPROVEN),
        (Protocol.UDP, Pulse(alive=True), Verdict.UNPROVEN),
    ],
)
def test_each_pod_of_a_target_must_be_alive(protocol: Protocol, pulse: Pulse, verdict: Verdict) -> None:
    """One pod that answers says nothing of another that answered nobody: its silence may be its own."""
    target = dataclasses.replace(USER_DB, service=None, protocol=protocol)
    denied, intended = (dataclasses.replace(flow, target=target) for flow in (DENIED, INTENDED))
    flows, pods = (denied, intended, CONTROL), ("10.101.0.1:1", "10.101.0.2:1")

    def swept(phase: Phase) -> Reachability:
        whole = synthetic.sweep(flows, phase)
        closed = sample(Outcome.DROPPED if phase is ENFORCED else Outcome.OPEN)
        works = sample(Outcome.OPEN)
        told = {denied.id: (closed, closed), intended.id: (works, closed)}
        found = {
            flow: dataclasses.replace(
                whole.observations[flow],
                samples=tuple(dataclasses.replace(one, address=at) for one, at in zip(pair, pods, strict=True))
                * synthetic.DIALS,
            )
            for flow, pair in told.items()
        }
        return dataclasses.replace(whole, observations={**whole.observations, **found}, pulses={target.id: pulse})

    assert verdict_of(denied, assess(flows, sweeps={phase: swept(phase) for phase in Phase})).verdict is verdict


@pytest.mark.parametrize("proof", Proof)
def test_a_pod_that_nobody_dialled_is_not_contained(proof: Proof) -> None:
    """Only ready pods are dialled, and one that isn't may be reached all the same."""
    whole = {phase: synthetic.sweep(FLOWS, phase) for phase in proof.phases}
    unready = dataclasses.replace(synthetic.pods(["x"], ready=False)["x"][0], name="user-db-1")
    name = f"{USER_DB.name}.{USER_DB.namespace}"
    sweeps = {
        phase: dataclasses.replace(one, pods={**one.pods, name: (*one.pods[name], unready)})
        for phase, one in whole.items()
    }
    finding = verdict_of(DENIED, assess(sweeps=sweeps, proof=proof))
    assert finding.verdict is Verdict.UNPROVEN
    assert finding.reason == f"pod user-db-1 of {USER_DB.id} wasn't ready, and so wasn't dialled"
    assert verdict_of(INTENDED, assess(sweeps=sweeps, proof=proof)).verdict is Verdict.PRESERVED


def test_without_policies_nothing_is_theirs() -> None:
    """Where none were applied, what closed for a while was neither contained nor disrupted by them."""
    shut = {INTENDED.id: {ENFORCED: Outcome.DROPPED}}
    assessment = assess(policies="none", odd=shut)
    for flow in (DENIED, INTENDED):
        finding = verdict_of(flow, assessment)
        assert finding.verdict is Verdict.UNPROVEN
        assert finding.reason.startswith("DROPPED by ClusterIP and pod IP, though no policies were applied")


def test_what_somebody_changed_meanwhile_is_nobodys_verdict() -> None:
    """What is open because a policy was removed, or cut because one was added, isn't the measured policies' doing."""
    changed = "NetworkPolicy user-db was removed while the sweep ran"
    disturbed = dataclasses.replace(IN_FORCE, proven=False, detail=changed, disturbed=True)
    shut = {DENIED.id: {ENFORCED: Outcome.OPEN}, INTENDED.id: {ENFORCED: Outcome.DROPPED}}
    for flow in (DENIED, INTENDED):
        finding = verdict_of(flow, assess(odd=shut, enforcement=disturbed))
        assert finding.verdict is Verdict.UNPROVEN
        assert changed in finding.reason
