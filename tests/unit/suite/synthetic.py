"""Assessments as a run would measure them, made up: which flows misbehave, and how, is the caller's to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lateral.model import (
    NO_POLICIES,
    Assessment,
    ClusterFacts,
    Enforcement,
    Established,
    Expectation,
    Flow,
    Journey,
    JourneyStep,
    Loot,
    Newcomer,
    NodeEnforcement,
    Observation,
    Outcome,
    Phase,
    PodState,
    Proof,
    Protocol,
    Pulse,
    Reachability,
    Sample,
    Source,
    SourceKind,
    Speaks,
    Target,
    Trait,
    TraitCheck,
    Verdict,
    Via,
)

ROGUE = Source("rogue", "default", SourceKind.ROGUE, {"app": "rogue"})
USER = Source("user", "sock-shop", SourceKind.TWIN, {"name": "user"})
USER_DB = Target("user-db", "sock-shop", 27017, Protocol.TCP, Speaks.MONGO, 27017, {"name": "user-db"}, "user-db")
LISTENER = Target("listener", "outside", 8080, Protocol.TCP, Speaks.HTTP, 8080, {"app": "listener"}, "listener")

DENIED = Flow(ROGUE, USER_DB, Expectation.DENY, "sock-shop has no such dependency")
INTENDED = Flow(USER, USER_DB, Expectation.ALLOW, "reads customers, cards and addresses")
CONTROL = Flow(ROGUE, LISTENER, Expectation.ALLOW, "neither end is in the application", control=True)
FLOWS = (DENIED, INTENDED, CONTROL)

Seen = Mapping[Phase, Outcome]
"""The outcome of a flow by phase; phases that aren't named behave."""

NODE = "node-a"
"""Where every pod is, unless told otherwise."""
IN_FORCE = Enforcement(
    proven=True,
    seconds=1.25,
    detail="closed 3 times in a row",
    nodes={NODE: NodeEnforcement(1.25, ((Outcome.DROPPED, "timeout"),))},
)
REJECTING = replace(IN_FORCE, nodes={NODE: NodeEnforcement(1.25, ((Outcome.REFUSED, "ECONNREFUSED"),))})
"""An engine that denies by refusing."""
IGNORED = Enforcement(proven=False, seconds=30.0, detail="the canary was still open after 30 s", ignored=True)


FOOTHOLD = "any/pod"
"""Who dials, unless told otherwise."""
LATER = 2.0
"""Seconds after the policies: they are in force by then."""


def sample(
    outcome: Outcome,
    via: Via = Via.POD,
    *,
    replied: bool | None = None,
    address: str = "",
    detail: str = "",
    at: float = LATER,
    foothold: str = FOOTHOLD,
    crosses: bool | None = None,
) -> Sample:
    """A dial; an open one has a reply unless told otherwise."""
    replies = outcome is Outcome.OPEN if replied is None else replied
    default = "10.102.0.7:27017" if via is Via.SERVICE else "10.101.0.9:27017"
    told = detail or ("ECONNREFUSED" if outcome is Outcome.REFUSED else "")
    return Sample(outcome, via, address or default, 2.5, replies, told, at, crosses, foothold)


DIALS = 4
"""Samples of each address under the policies."""


def behaved(flow: Flow, phase: Phase) -> Outcome:
    """What a flow does where policies are right and enforced."""
    shut = flow.expectation is Expectation.DENY and phase is Phase.ENFORCED
    return Outcome.DROPPED if shut else Outcome.OPEN


def pods(names: Sequence[str], **changes: int | str | bool) -> dict[str, tuple[PodState, ...]]:
    """A pod for every name; `changes` are fields of all of them."""
    uid, restarts, ready = changes.get("uid", "0"), changes.get("restarts", 0), changes.get("ready", True)
    node = str(changes.get("node", NODE))
    return {name: (PodState("any", name, f"{name}-{uid}", int(restarts), bool(ready), node),) for name in names}


def names(flows: Sequence[Flow]) -> list[str]:
    found = {flow.source.key for flow in flows} | {f"{flow.target.name}.{flow.target.namespace}" for flow in flows}
    return sorted(found)


def sweep(flows: Sequence[Flow], phase: Phase, outcome: Callable[[Flow, Phase], Outcome] = behaved) -> Reachability:
    """One phase's matrix: each flow by ClusterIP (where it has one) and by one pod's IP."""
    observations = {}
    for flow in flows:
        vias = (Via.POD,) if flow.target.service is None else (Via.SERVICE, Via.POD)
        times = DIALS if phase is Phase.ENFORCED else 1
        samples = tuple(sample(outcome(flow, phase), via) for _ in range(times) for via in vias)
        observations[flow.id] = Observation(flow.id, phase, samples, "2025-01-01T00:00:00Z")
    pulses = {flow.target.id: Pulse(alive=True) for flow in flows}
    endpoints = {f"{flow.target.name}.{flow.target.namespace}": "" for flow in flows}
    return Reachability(phase, observations, pods(names(flows)), 1.0, pulses, endpoints, {FOOTHOLD: ""})


STEPS = ("catalogue", "login", "empty-cart", "fill-cart", "show-cart", "order", "list-orders", "shipment")


def journey(phase: Phase, failed: Mapping[str, str] | None = None, **changes: int | str | bool) -> Journey:
    """A journey whose `failed` steps say why; `changes` are fields of all pods."""
    steps = tuple(JourneyStep(name, name not in (failed or {}), 12.5, (failed or {}).get(name, "")) for name in STEPS)
    return Journey(phase, steps, tuple(pod for same in pods(("carts", "user"), **changes).values() for pod in same))


MOMENTS = (0.0, 0.5, 1.5)
"""When a new pod dials."""


def kept_out(flows: Sequence[Flow]) -> dict[str, Newcomer]:
    """What new rogues see where policies are right and enforced from their first moment."""
    rogues = dict.fromkeys(flow.source.id for flow in flows if flow.source.kind is SourceKind.ROGUE)
    return {source: newcomer(source, [flow for flow in flows if flow.source.id == source]) for source in rogues}


def newcomer(source: str, flows: Sequence[Flow], seen: Mapping[str, Sequence[Sample]] | None = None) -> Newcomer:
    """A new pod that saw what it should, but for what it is said to have `seen`, by flow id."""
    arrived, restored = {}, {}
    for flow in flows:
        behaves = [sample(behaved(flow, Phase.ENFORCED), at=at) for at in MOMENTS]
        samples = tuple((seen or {}).get(flow.id, behaves))
        arrived[flow.id] = Observation(flow.id, Phase.ENFORCED, samples, "2025-01-01T00:00:00Z")
        after = (sample(Outcome.OPEN, at=0.0),)
        restored[flow.id] = Observation(flow.id, Phase.RESTORED, after, "2025-01-01T00:00:00Z")
    return Newcomer(source, arrived, restored, NODE)


def assess(
    flows: Sequence[Flow] = FLOWS,
    *,
    odd: Mapping[str, Seen] | None = None,
    enforcement: Enforcement = IN_FORCE,
    restoration: Enforcement = IN_FORCE,
    sweeps: Mapping[Phase, Reachability] | None = None,
    policies: str = "kubernetes",
    loot: Sequence[Loot] = (),
    note: str = "",
    journeys: Mapping[Phase, Journey] | None = None,
    traits: Sequence[TraitCheck] | None = None,
    newcomers: Mapping[str, Newcomer] | None = None,
    window: float = 0.0,
    proof: Proof = Proof.RESTORED,
    established: Sequence[Established] | None = None,
) -> Assessment:
    """An assessment in which everything is as it should be, but for the `odd` flows."""

    def outcome(flow: Flow, phase: Phase) -> Outcome:
        return (odd or {}).get(flow.id, {}).get(phase, behaved(flow, phase))

    measured = {phase: sweep(flows, phase, outcome) for phase in proof.phases} | dict(sweeps or {})
    return Assessment(
        run_id="4f1c2a",
        cluster=ClusterFacts("lab", "v1.32.0", "lab", note),
        policies=policies,
        flows=tuple(flows),
        sweeps=measured,
        enforcement=enforcement,
        restoration=restoration,
        loot=tuple(loot),
        started_at="2025-01-01T00:00:00Z",
        finished_at="2025-01-01T00:00:20Z",
        seconds=20.0,
        journeys={phase: journey(phase) for phase in Phase} if journeys is None else journeys,
        traits=tuple(TraitCheck(trait, Verdict.CONTAINED, "it has") for trait in Trait)
        if traits is None
        else tuple(traits),
        newcomers=kept_out(flows) if newcomers is None else newcomers,
        window=window,
        proof=proof,
        policed=frozenset() if policies == NO_POLICIES else frozenset({"sock-shop"}),
        established=(Established(DENIED.id, opened=True, survived=True),)
        if established is None
        else tuple(established),
    )


FRONT_DOOR = "rogue.default-to-front-end.sock-shop:80/TCP"

LOOT = (
    Loot(
        Phase.BASELINE,
        ROGUE.id,
        "mongo user-db.sock-shop:27017",
        Outcome.OPEN,
        DENIED.id,
        databases=("local", "users"),
        collections=("cards",),
        cards=1,
        redacted=("...9678",),
    ),
    Loot(Phase.ENFORCED, ROGUE.id, "mongo user-db.sock-shop:27017", Outcome.DROPPED, DENIED.id, detail="timeout"),
    Loot(Phase.BASELINE, ROGUE.id, "GET front-end.sock-shop:80/cards", Outcome.OPEN, FRONT_DOOR, cards=4),
    Loot(Phase.ENFORCED, ROGUE.id, "GET front-end.sock-shop:80/cards", Outcome.OPEN, FRONT_DOOR, cards=4),
)
"""The tutorial's loot where the policies are right."""
