"""A run under the identity of manifests/rbac: it needs what is granted there, and no more is granted than that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests import estate
from tests.faulty import TRUTHS, Measured
from tests.lab.authorizer import Authorizer, Grant, grants
from tests.lab.proxy import proxied

from lateral import resources, run
from lateral.lease import Terms
from lateral.model import Verdict
from lateral.preflight import Check, Level
from lateral.preflight.permissions import PERMISSIONS, Place
from lateral.providers.attach import Attachment, attach, attached
from lateral.providers.lab import Lab, started
from lateral.verdict import judge

if TYPE_CHECKING:
    from lateral.topology import Topology

SHIPPED = grants(resources.load("rbac"), "lateral/lateral")
ABSENT = {"daemonsets", "statefulsets", "resourcequotas", "limitranges"}
"""Resources that the lab doesn't have, as it lacks the groups of other engines."""
GROUPS = ("", "apps", "coordination.k8s.io", "discovery.k8s.io", "networking.k8s.io")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with started() as running:
        yield running


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Topology:
    return estate.write(tmp_path_factory.mktemp("estate")).topology


def attachment(folder: Path, kubeconfig: dict[str, Any]) -> Attachment:
    file = folder / "kubeconfig"
    file.write_text(json.dumps(kubeconfig))
    return Attachment("lab", file)


def granted(allowed: list[Grant]) -> set[tuple[str, str, str]]:
    return {act for one in allowed for act in one.acts()}


def in_lab(rule: tuple[str, str, str]) -> bool:
    """Whether the lab has what a rule is about."""
    _, group, resource = rule
    return resource not in ABSENT and group in GROUPS


def test_a_run_needs_every_rule_and_no_other(lab: Lab, tmp_path: Path) -> None:
    """From preflight to clean-up, with the answer to the first creation of each kind lost on the way."""
    found = estate.write(tmp_path)
    authorizer = Authorizer(lab.kubeconfig, SHIPPED, forgetful=True)
    with (
        proxied(authorizer) as kubeconfig,
        attach(attachment(tmp_path, kubeconfig), found.topology) as cluster,
    ):
        guest = run.Guest(lease=Terms(duration=3))
        assessment = run.measure(
            cluster, found.topology, found.policies, progress=lambda _: None, settle=8.0, guest=guest
        )
    seen = Measured(assessment, {finding.flow.id: finding for finding in judge(assessment)})
    assert not authorizer.refused
    assert not TRUTHS["none"].wrong(seen)
    assert not seen.having(Verdict.UNPROVEN), {f.reason for f in seen.findings.values() if f.verdict == "UNPROVEN"}
    assert authorizer.used == {rule for rule in granted(SHIPPED) if in_lab(rule)}


def test_the_manifests_grant_what_the_table_lists() -> None:
    """What has its place in a namespace that is known is granted in that one alone, and everything just once."""
    listed = [(verb, one) for one in PERMISSIONS for verb in one.verbs]
    known = {(verb, one.group, one.resource) for verb, one in listed if one.places == (Place.LEASE,)}
    assert granted(SHIPPED) == {(verb, one.group, one.resource) for verb, one in listed}
    assert granted([one for one in SHIPPED if one.namespace == Terms().namespace]) == known
    assert {one.namespace for one in SHIPPED} == {"", Terms().namespace}
    assert sum(len(one.acts()) for one in SHIPPED) == len(granted(SHIPPED))


def test_admission_confines_whatever_is_granted_everywhere() -> None:
    """Each kind that the account may change, and each pod that it may enter, in whichever namespace."""
    changing = {"create", "patch", "delete"}
    acts = [act for one in SHIPPED if not one.namespace for act in one.acts()]
    confined = {
        (group, resource)
        for document in resources.load(resources.manifests("rbac/confinement"))
        if document["kind"] == "ValidatingAdmissionPolicy"
        for rule in document["spec"]["matchConstraints"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    granted_everywhere = {(group, resource) for verb, group, resource in acts if verb in changing}
    assert confined == granted_everywhere | {("", "secrets")}


def told(checks: tuple[Check, ...], rule: tuple[str, str, str]) -> list[Check]:
    """The checks that name a rule: as what may not be done, or as what the server refused."""
    verb, group, resource = rule
    name = f"{resource}.{group}" if group else resource
    ours, theirs = f"may not {verb} {name} ", f'cannot {verb} resource "{resource}"'
    return [one for one in checks if ours in f"{one.detail} " or theirs in one.detail]


def test_preflight_names_whatever_rule_is_missing(lab: Lab, topology: Topology, tmp_path: Path) -> None:
    """Each in turn: what a run needs is a refusal, what preflight alone reads is a warning; nothing else changes."""
    needed = {(verb, one.group, one.resource) for one in PERMISSIONS if one.needed for verb in one.verbs}
    authorizer = Authorizer(lab.kubeconfig, SHIPPED)
    with proxied(authorizer) as kubeconfig:
        wanted = attachment(tmp_path, kubeconfig)
        with attached(wanted, topology) as found:
            before = found.checks
            assert not found.refusals
        for rule in sorted(filter(in_lab, granted(SHIPPED))):
            authorizer.allowed = [one for each in SHIPPED for one in each.without(rule)]
            assert granted(authorizer.allowed) == granted(SHIPPED) - {rule}
            with attached(wanted, topology) as found:
                missing = told(found.checks, rule)
                expected = Level.REFUSAL if rule in needed else Level.WARNING
                assert expected in {one.level for one in missing}, (rule, found.checks)
                others = [one for one in found.checks if one.level is not Level.OK and one not in missing]
                assert others == [one for one in before if one.level is not Level.OK], rule


def test_nothing_is_created_by_looking(lab: Lab, topology: Topology, tmp_path: Path) -> None:
    """Not even by a preflight that may do everything."""
    authorizer = Authorizer(lab.kubeconfig, SHIPPED)
    with proxied(authorizer) as kubeconfig, attached(attachment(tmp_path, kubeconfig), topology) as found:
        assert not found.refusals
    assert {verb for verb, _, _ in authorizer.used} <= {"get", "list"}
