"""What the terminal says at the end of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from lateral.model import Assessment, Flow, Outcome, Phase, Verdict
from lateral.reports import explanation
from lateral.reports.summary import INTENDED_LEAK, SHOWN, summarise
from lateral.settling import leak_bound, percent
from lateral.topology import load
from lateral.verdict import judge

from .synthetic import DENIED, IGNORED, INTENDED, LOOT, ROGUE, Seen, assess, journey, sample, sweep

ENFORCED = Phase.ENFORCED


def lines(assessment: Assessment, width: int = 110) -> list[str]:
    return summarise(assessment, judge(assessment), width, "reports/junit.xml")


def many(count: int) -> list[Flow]:
    return [dataclasses.replace(DENIED, source=dataclasses.replace(ROGUE, name=f"rogue-{n}")) for n in range(count)]


def opened(flows: list[Flow], outcome: Outcome = Outcome.OPEN) -> Mapping[str, Seen]:
    return {flow.id: {ENFORCED: outcome} for flow in flows}


def test_all_well() -> None:
    """A run without trouble says what was measured, with which policies, and counts; nothing is listed."""
    text = lines(assess())
    assert text[0] == "cluster lab v1.32.0, policies kubernetes, run 4f1c2a"
    assert text[-1] == (
        "3 flows: 1 contained, 0 exposed, 2 preserved, 0 disrupted, 0 unproven; "
        "policies in force after 1.2 s; measured in 20.0 s"
    )
    assert not [line for line in text if line.startswith(("still open", "intended, but", "nothing proven"))]


def test_the_last_path_to_settle_is_one_that_settled() -> None:
    """A path that stays open was open before the policies were in force, too: that was no delay."""
    settles, stays = many(2)
    told = {settles.id: Outcome.DROPPED, stays.id: Outcome.OPEN}
    enforced = sweep([settles, stays], ENFORCED, lambda flow, _: told[flow.id])
    seen = dict(enforced.observations)
    for flow, late in ((settles, 0.4), (stays, 1.1)):
        early = sample(Outcome.OPEN, at=late)
        seen[flow.id] = dataclasses.replace(seen[flow.id], samples=(early, *seen[flow.id].samples))
    sweeps = {ENFORCED: dataclasses.replace(enforced, observations=seen)}
    text = lines(assess([settles, stays], sweeps=sweeps))
    assert [line.partition("; ")[2] for line in text if line.startswith("contained paths")] == [
        "the last path settled after 400 ms (rogue-0.default to user-db.sock-shop:27017/TCP)"
    ]


def test_what_a_single_path_may_leak_is_bounded_by_its_own_dials() -> None:
    """The flow has two paths of four dials each: what only one of them leaked, the other's dials say nothing of."""
    [told] = [line for line in lines(assess()) if line.startswith("contained paths")]
    assert told.startswith("contained paths: closed in all of 8 dials: a leak common to them is below 37.5%")
    assert "one of a single path below 75% (95 % confidence)" in told


def test_journey() -> None:
    """One line says how far the journey got; what the policies broke follows, with the pods that changed."""
    assert "journey: 8/8 steps before, 8/8 under, 8/8 after" in lines(assess())
    failed = {"order": "HTTP 500", "shipment": "not tried without order"}
    journeys = {phase: journey(phase) for phase in Phase} | {ENFORCED: journey(ENFORCED, failed, restarts=1)}
    text = lines(assess(journeys=journeys))
    at = text.index("journey: 8/8 steps before, 6/8 under, 8/8 after")
    assert text[at + 1 : at + 4] == [
        "  order: worked before, failed under the policies (HTTP 500), works again without them",
        "  shipment: worked before, failed under the policies (not tried without order), works again without them",
        "  pods: carts restarted; user restarted (under the policies)",
    ]
    assert not [line for line in lines(assess(journeys={})) if line.startswith("journey")]


def test_no_enforcement_comes_first() -> None:
    """That a cluster ignores policies is the first line, and stands on one."""
    text = lines(assess(enforcement=IGNORED))
    assert text[0] == "this cluster does not enforce NetworkPolicy: the canary was still open after 30 s"
    assert "policies not shown to be in force; measured" in text[-1]


def test_a_cluster_is_not_accused_of_what_the_run_could_not_see() -> None:
    """Where the proof failed for another reason than a canary that answered on, the first line says just that."""
    doubtful = dataclasses.replace(IGNORED, ignored=False, detail="NetworkPolicy user-db was removed")
    text = lines(assess(enforcement=doubtful))
    assert text[0] == ("the policies were not shown to be in force throughout: NetworkPolicy user-db was removed")


def test_note_of_the_cluster() -> None:
    """What the cluster has to say of itself is said."""
    assert "a toy" in lines(assess(note="a toy"))


def test_warnings() -> None:
    """What may be a mistake in the policies stands at the top, before anything that may come of it."""
    told = "NetworkPolicy a (mine.yaml:1) selects no pod of sock-shop: its podSelector is name=b"
    assert lines(dataclasses.replace(assess(), warnings=(told,)))[1] == f"warning: {told}"


def test_policies_of_others() -> None:
    """What else was in force is said, and the first of them in the explanation of every path."""
    standing = tuple(f"CiliumClusterwideNetworkPolicy {one}" for one in "abcdefg")
    assessment = dataclasses.replace(assess(), standing=standing)
    told = ", ".join(standing[:5]) + " and 2 more"
    assert f"policies in force that aren't the run's: {told}" in lines(assessment)
    said = explanation.body(judge(assessment)[0], assessment, "a claim")
    assert f"Policies:  kubernetes; in force and not the run's: {told}" in said


def test_lists() -> None:
    """Open, broken and unproven flows are listed apart, with their reasons."""
    extra = dataclasses.replace(DENIED, source=dataclasses.replace(ROGUE, name="third"))
    odd = {
        DENIED.id: {ENFORCED: Outcome.OPEN},
        INTENDED.id: {ENFORCED: Outcome.DROPPED},
        extra.id: {ENFORCED: Outcome.REFUSED},
    }
    text = lines(assess([DENIED, INTENDED, extra], odd=odd))
    at = {heading: text.index(heading) for heading in text if heading.endswith("(1):")}
    assert text[at["still open under the policies (1):"] + 1] == (
        "  rogue.default to user-db.sock-shop:27017/TCP: open before, still open 1.2 s after the policies"
    )
    assert "user.sock-shop to user-db" in text[at["intended, but broken by the policies (1):"] + 1]
    assert "third.default to user-db.sock-shop:27017/TCP: REFUSED" in text[at["nothing proven (1):"] + 1]


def test_long_lists_are_bounded() -> None:
    """Many open paths go by source, no line is wider than the terminal, and what isn't shown is counted."""
    flows = load("sock-shop").flows()
    odd = opened([flow for flow in flows if flow.expectation == "DENY"])
    text = lines(assess(flows, odd=odd))
    begin = text.index("still open under the policies (316):")
    assert text[begin + 1].startswith("  rogue.default to 15: catalogue.sock-shop:80, ")
    assert text[begin + 1].endswith(", ...")
    assert max(map(len, text[begin : begin + 18])) <= 110
    text = lines(assess(many(SHOWN + 5), odd=opened(many(SHOWN + 5))))
    begin = text.index(f"still open under the policies ({SHOWN + 5}):")
    assert text[begin + SHOWN + 1] == "  and 5 more; see reports/junit.xml"


def test_doubts_are_grouped_by_reason() -> None:
    """What leaves many flows unproven is told once, with how many it concerns."""
    flows = many(30)
    text = lines(assess(flows, odd=opened(flows, Outcome.REFUSED)))
    begin = text.index("nothing proven (30):")
    assert text[begin + 1].startswith("  rogue-0.default to user-db.sock-shop:27017/TCP and 29 others: REFUSED by")
    assert text[begin + 2] == ""


def test_loot() -> None:
    """Loot stands by path, before and under the policies; what an intended path gives is a warning."""
    text = lines(assess(loot=LOOT))
    begin = text.index("loot:")
    assert text[begin + 1 : begin + 8] == [
        "  rogue.default by mongo user-db.sock-shop:27017",
        "    before the policies: 1 card (...9678) in databases local, users",
        "    under the policies:  nothing (timeout)",
        "  rogue.default by GET front-end.sock-shop:80/cards",
        "    before the policies: 4 cards",
        "    under the policies:  4 cards",
        f"    warning: {INTENDED_LEAK}",
    ]


def test_colours() -> None:
    """A count of violations is red only where there are some."""
    assessment = assess(odd=opened([DENIED]))
    painted = summarise(
        assessment, judge(assessment), 110, "", lambda text, colour: f"<{colour}:{text}>" if colour else text
    )
    assert "<red:1 exposed>" in painted[-1]
    assert ", 0 disrupted," in painted[-1]


def test_advice() -> None:
    """What to do names the pods and the pod's port, as a NetworkPolicy would."""
    [exposed] = judge(assess([DENIED], odd=opened([DENIED])))
    told = explanation.advice(exposed)
    for part in ("name=user-db of namespace sock-shop", "app=rogue of namespace default", "pod port 27017/TCP"):
        assert part in told
    [disrupted] = judge(assess([INTENDED], odd={INTENDED.id: {ENFORCED: Outcome.DROPPED}}))
    assert disrupted.verdict is Verdict.DISRUPTED
    assert "admit pod port 27017/TCP both ways" in explanation.advice(disrupted)


def test_body_of_what_was_not_measured() -> None:
    """A phase without an observation is said to be missing."""
    assessment = assess([DENIED])
    [finding] = judge(dataclasses.replace(assessment, sweeps={}))
    assert finding.verdict is Verdict.UNPROVEN
    assert explanation.body(finding, assessment, "the claim").count("not measured") == 4


@pytest.mark.parametrize(
    ("dials", "told"), [(1, "100%"), (3, "100%"), (8, "38%"), (9, "34%"), (10, "30%"), (100, "3%"), (6310, "1%")]
)
def test_a_bound_is_never_told_as_less_than_it_is(dials: int, told: str) -> None:
    assert percent(leak_bound(dials)) == told


def test_a_small_bound_is_none_of_nothing() -> None:
    assert percent(leak_bound(6310), 1) == "0.1%"
