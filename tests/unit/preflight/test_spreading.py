"""Whether the run's pods find a place beside an application's, and whether those go on finding theirs."""

from __future__ import annotations

from typing import Any

import pytest

from lateral import preflight
from lateral.preflight import Intent
from lateral.topology import load

from .paper import Paper, checked, named, node
from .test_checks import odd, there

SHOP, HOST, ZONE = "sock-shop", "kubernetes.io/hostname", "topology.kubernetes.io/zone"
PAYMENT = {"name": "payment"}
ALIKE = {"matchLabels": PAYMENT}
TWIN = "the twin of payment.sock-shop"


def nodes(**zones: str) -> list[dict[str, Any]]:
    """Nodes by name, with their zones."""
    found = []
    for name, zone in zones.items():
        one = node(name)
        one["metadata"]["labels"] |= {HOST: name, ZONE: zone}
        found.append(one)
    return found


def pod(on: str, namespace: str = SHOP, phase: str = "Running", **spec: Any) -> dict[str, Any]:
    made = named(f"payment-{on}", namespace, spec={"containers": [], "nodeName": on, **spec}, status={"phase": phase})
    made["metadata"]["labels"] = {**PAYMENT, "pod-template-hash": "5d8f"}
    return made


def apart(key: str = HOST, selector: Any = ALIKE, **term: Any) -> dict[str, Any]:
    """An affinity that keeps pods apart."""
    required = [{"topologyKey": key, "labelSelector": selector, **term}]
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def told(pods: list[dict[str, Any]], footholds: int | None = 1) -> list[tuple[str, str]]:
    held = {
        ("", "Namespace"): there(team="pay"),
        ("", "Node"): nodes(a="west", b="west", c="east"),
        ("", "Pod"): pods,
    }
    plan = preflight.plan(load(SHOP), Intent(existing=True, footholds=footholds))
    return odd(checked(Paper(objects=held), plan=plan))


def test_pods_that_must_be_apart_on_every_node_leave_none_for_a_twin() -> None:
    """It would wait for one in vain, and the run for it."""
    for pods in ([pod(name, affinity=apart()) for name in "abc"], [pod(name, affinity=apart(ZONE)) for name in "bc"]):
        [(level, said)] = told(pods)
        assert (level, said.startswith(f"scheduling: no node takes {TWIN}: payment-")) == ("refusal", True)


def test_pods_that_must_be_apart_on_some_nodes() -> None:
    """A twin that may be anywhere goes elsewhere, and then no new pod comes beside it; one that is wanted on a node of
    theirs waits in vain."""
    pods = [pod(name, affinity=apart()) for name in "ab"]
    [(level, said)] = told(pods)
    assert (level, said.endswith("where that is, no new one comes while the run lasts")) == ("warning", True)
    for several in (3, None):
        [(level, said)] = told(pods, several)
        assert (level, f"{TWIN} may be wanted on a, b, and isn't taken there" in said) == ("refusal", True)


def test_a_pod_that_is_nowhere_keeps_a_twin_off_no_node() -> None:
    """Nor does one on a node without the label: what has no zone shares it with nobody."""
    for pods in ([pod("", affinity=apart(ZONE))], [pod("a", affinity=apart("example.com/rack"))]):
        assert [level for level, _ in told(pods, None)] == ["warning"]


@pytest.mark.parametrize(
    ("term", "concerned"),
    [
        ({"selector": {"matchLabels": {"name": "other"}}}, False),
        ({"selector": None}, False),
        # The server writes what `matchLabelKeys` says into the selector.
        ({"selector": {"matchLabels": {**PAYMENT, "pod-template-hash": "5d8f"}}}, False),
        ({"selector": {}, "namespaces": ["billing"]}, False),
        ({"namespaces": ["billing", SHOP]}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "pay"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "ship"}}}, False),
        ({"namespaceSelector": {}}, True),
    ],
)
def test_whom_a_term_is_about(term: dict[str, Any], concerned: bool) -> None:
    assert bool(told([pod("a", affinity=apart(**term))])) is concerned


def test_preferences_and_pods_that_are_over_keep_nobody_off() -> None:
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {}}]}
    assert not told([pod("a", affinity={"podAntiAffinity": preferred})])
    assert not told([pod("a", phase="Succeeded", affinity=apart())])
    theirs = pod("a", affinity=apart())
    theirs["metadata"]["annotations"] = {"lateral.dev/run": "1"}
    assert not told([theirs])


@pytest.mark.parametrize(
    ("constraint", "concerned"),
    [
        ({}, True),
        ({"whenUnsatisfiable": "DoNotSchedule"}, True),
        ({"whenUnsatisfiable": "ScheduleAnyway"}, False),
        ({"labelSelector": None}, False),
        ({"labelSelector": {"matchLabels": {"name": "other"}}}, False),
        ({"matchLabelKeys": ["pod-template-hash"]}, False),
        ({"matchLabelKeys": ["name", "absent"]}, True),
    ],
)
def test_pods_that_are_spread_with_a_twin_counted_in(constraint: dict[str, Any], concerned: bool) -> None:
    """Those of another version are told apart by their hash, and a twin's hash is nobody else's."""
    spread = {"maxSkew": 1, "topologyKey": ZONE, "labelSelector": ALIKE, **constraint}
    found = told([pod(name, topologySpreadConstraints=[spread]) for name in "ac"])
    said = f"scheduling: payment-a and its like are spread over {ZONE} with {TWIN} counted in"
    assert [(level, text.partition(":")[0]) for level, text in found] == ([("warning", "scheduling")] * concerned)
    assert all(text.startswith(said) for _, text in found)
