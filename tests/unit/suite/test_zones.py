"""Zones: what they say of flows, when they contradict what is intended, and what a run says of them."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateral.errors import ConfigurationError
from lateral.model import Expectation, Flow, Outcome, Phase, Verdict
from lateral.reports.summary import summarise
from lateral.reports.zones import crossings
from lateral.topology import Topology, load
from lateral.verdict import judge

from .synthetic import assess

HTTP = [{"port": 80, "speaks": "http"}]
SHOP: dict[str, Any] = {
    "application": "shop",
    "namespace": "shop",
    "workloads": [
        {"name": "web", "labels": {"name": "web"}, "ports": HTTP, "dns": True},
        {"name": "orders", "labels": {"name": "orders"}, "ports": HTTP},
        {"name": "payment", "labels": {"name": "payment"}, "ports": HTTP, "dns": True},
        {"name": "vault", "namespace": "vaults", "labels": {"name": "vault"}, "ports": HTTP},
    ],
    "intended": [
        {"from": "anyone", "to": "web", "port": 80, "reason": "public"},
        {"from": "web", "to": "orders", "port": 80, "reason": "orders"},
        {"from": "orders", "to": "payment", "port": 80, "reason": "pays"},
        {"from": "payment", "to": "vault", "port": 80, "reason": "keeps cards"},
    ],
    "zones": {"cde": ["payment", "vault"], "office": ["web"]},
    "zoneRules": [
        {"deny": {"from": "out-of-scope", "to": "cde"}, "except": [{"from": "orders", "to": "payment", "port": 80}]},
        {"deny": {"from": "office", "to": "cde"}},
        {"deny": {"from": "cde", "to": "out-of-scope"}},
    ],
}


def read(data: Any, folder: Path) -> Topology:
    path = folder / "shop.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return load(path)


@pytest.fixture
def flows(tmp_path: Path) -> dict[str, Flow]:
    return {flow.id: flow for flow in read(SHOP, tmp_path).flows()}


def test_a_flow_across_a_border_has_the_rule_as_its_reason(flows: dict[str, Flow]) -> None:
    """The first rule about both of its zones; what is in none is out of scope, an attacker always."""
    reasons = {name: (flow.expectation, flow.reason) for name, flow in flows.items()}
    deny = Expectation.DENY
    into = "zone cde: nothing out of scope may reach it"
    assert reasons["rogue.default-to-payment.shop:80/TCP"] == (deny, into)
    assert reasons["rogue.shop-to-vault.vaults:80/TCP"] == (deny, into)
    assert reasons["orders.shop-to-vault.vaults:80/TCP"] == (deny, into)
    assert reasons["web.shop-to-payment.shop:80/TCP"] == (deny, "zone cde: nothing of zone office may reach it")
    assert reasons["payment.shop-to-orders.shop:80/TCP"] == (deny, "zone cde: it may reach nothing out of scope")
    assert reasons["vault.vaults-to-listener.outside:8080/TCP"] == (deny, "zone cde: it may reach nothing out of scope")


def test_what_crosses_no_border_that_a_rule_is_about_has_its_own_reason(flows: dict[str, Flow]) -> None:
    """Within a zone, between others, and to the cluster's DNS, which is in no zone and no application."""
    nothing = "shop has no such dependency"
    assert flows["vault.vaults-to-payment.shop:80/TCP"].reason == nothing
    assert flows["payment.shop-to-vault.vaults:80/TCP"].reason == "keeps cards"
    assert flows["payment.shop-to-web.shop:80/TCP"].reason == nothing
    assert flows["vault.vaults-to-kube-dns.kube-system:53/UDP"].reason == nothing
    assert flows["payment.shop-to-kube-dns.kube-system:53/UDP"].expectation is Expectation.ALLOW


def test_an_exception_stays_allowed_and_says_so(flows: dict[str, Flow]) -> None:
    flow = flows["orders.shop-to-payment.shop:80/TCP"]
    assert flow.expectation is Expectation.ALLOW
    assert flow.reason == "pays (an exception: zone cde: nothing out of scope may reach it)"


def test_zones_change_no_flow(flows: dict[str, Flow], tmp_path: Path) -> None:
    """They are claims about flows that exist anyway, and expect the same of them."""
    without = read({key: value for key, value in SHOP.items() if "zone" not in key}, tmp_path).flows()
    assert {flow.id: flow.expectation for flow in without} == {name: one.expectation for name, one in flows.items()}


def broken(change: Any) -> Any:
    data = copy.deepcopy(SHOP)
    change(data)
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda data: data["zoneRules"][0].pop("except"),
            "shop.yaml:34: intended[2]: orders.shop to payment.shop:80/TCP is intended, and zoneRules[0] (line 49) "
            "denies out-of-scope to cde: list it under `except` there, or drop one of the two",
            id="contradiction",
        ),
        pytest.param(
            lambda data: data["intended"].append({"from": "anyone", "to": "vault", "port": 80, "reason": "open"}),
            "intended[4]: anyone to vault.vaults:80/TCP is intended, and zoneRules[0]",
            id="anyone is out of scope",
        ),
        pytest.param(
            lambda data: data["zoneRules"][0]["except"].append({"from": "payment", "to": "vault", "port": 80}),
            "zoneRules[0].except[1]: payment.shop to vault.vaults:80/TCP is not an intended flow that this rule denies",
            id="exception without need",
        ),
        pytest.param(
            lambda data: data["zones"].update(other=["vault"]),
            "zones.other: vault.vaults is in zone cde already",
            id="in two zones",
        ),
        pytest.param(
            lambda data: data["zones"].update(cde=["payments"]), "zones.cde[0]: no workload is called", id="unknown"
        ),
        pytest.param(
            lambda data: data["zoneRules"][1]["deny"].update({"from": "offices"}),
            "zoneRules[1].deny.from: no zone is called 'offices': expected one of cde, office, out-of-scope",
            id="unknown zone",
        ),
        pytest.param(
            lambda data: data["zoneRules"][1]["deny"].update({"from": "cde"}), "can't be kept from itself", id="itself"
        ),
        pytest.param(
            lambda data: data["zoneRules"].append({"deny": {"from": "office", "to": "cde"}}),
            "zoneRules: office to cde given twice",
            id="rule twice",
        ),
        pytest.param(lambda data: data["zones"].update({"out-of-scope": ["vault"]}), "another name", id="reserved"),
        pytest.param(
            lambda data: data.pop("zones"),
            "no zone is called 'cde': expected one of out-of-scope",
            id="rules without zones",
        ),
    ],
)
def test_what_contradicts_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(broken(change), tmp_path)
    assert message in str(caught.value)


def test_a_zones_verdicts_are_counted_by_direction(tmp_path: Path) -> None:
    """Each flow across a border counts for the zone that it enters and for the one that it leaves."""
    flows = read(SHOP, tmp_path).flows()
    odd = {"rogue.default-to-vault.vaults:80/TCP": {Phase.ENFORCED: Outcome.OPEN}}
    found = crossings(judge(assess(flows, odd=odd)))
    assert list(found) == ["cde", "office"]
    into = [flow for flow in flows if flow.enters == "cde"]
    assert found["cde"].into == Counter(
        {Verdict.EXPOSED: 1, Verdict.PRESERVED: 1, Verdict.CONTAINED: len(into) - 2, Verdict.UNPROVEN: 0}
    )
    # From the office, from what is out of scope, and to both zones from attackers: each counted once a direction.
    assert len(into) == 2 * (2 + 4)
    assert found["office"].out_of[Verdict.CONTAINED] == len(
        [flow for flow in flows if flow.leaves == "office" and flow.expectation is Expectation.DENY]
    )


def test_a_run_says_a_line_a_zone(tmp_path: Path) -> None:
    assessment = assess(read(SHOP, tmp_path).flows())
    text = summarise(assessment, judge(assessment), 110, "reports/junit.xml", lambda text, colour: f"{colour}({text})")
    told = [line for line in text if "zone" in line]
    assert told[0].startswith("green(zone cde: 12 flows into it: 11 contained, 1 preserved; ")
    assert len(told) == 2
    odd = {"rogue.default-to-vault.vaults:80/TCP": {Phase.ENFORCED: Outcome.OPEN}}
    assessment = assess(assessment.flows, odd=odd)
    text = summarise(assessment, judge(assessment), 110, "reports/junit.xml", lambda text, colour: f"{colour}({text})")
    assert any(line.startswith("red(zone cde: 12 flows into it: 10 contained, 1 exposed, 1 preserved") for line in text)
