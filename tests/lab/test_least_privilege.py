"""A run under the identity of manifests/rbac: it needs what is granted there, and no more is granted than that."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests import estate
from tests.faulty import TRUTHS, Measured
from tests.lab.authorizer import Act, Authorizer, Grant, grants
from tests.lab.confined import Confined
from tests.lab.proxy import proxied

from lateral import preflight, resources, run
from lateral.cli import main
from lateral.lease import Terms
from lateral.model import Verdict
from lateral.placement import ANYWHERE
from lateral.plugin.attaching import provided
from lateral.plugin.options import Plan
from lateral.policy import LIVE
from lateral.preflight import Check, Intent, Level
from lateral.preflight.permissions import PERMISSIONS, Permission, Place
from lateral.providers.attach import Attachment, attach, attached
from lateral.providers.lab import Lab, started
from lateral.resources import manifests
from lateral.verdict import judge
from lateral.waiting import until

if TYPE_CHECKING:
    from lateral.topology import Topology

ACCOUNT = "lateral/lateral"
LEASES = "coordination.k8s.io"
ABSENT = {"daemonsets", "statefulsets", "resourcequotas", "limitranges"}
"""Resources that the lab doesn't have, as it lacks the groups of other engines."""
GROUPS = ("", "apps", "coordination.k8s.io", "discovery.k8s.io", "networking.k8s.io")


def bound(role: str, namespace: str) -> dict[str, Any]:
    """What `kubectl create rolebinding` makes of the command that the manifest tells."""
    return {
        "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": namespace},
        "roleRef": {"kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "lateral", "namespace": "lateral"}],
    }


@dataclass(frozen=True, slots=True)
class Sort:
    """A sort of runs, and what the account has for them."""

    existing: bool
    allowed: tuple[Grant, ...]
    measured: str = ""
    """The label of an application's namespace that is opened to them."""

    @property
    def applying(self) -> bool:
        return self.measured != "true"

    def plan(self, topology: Topology) -> preflight.Plan:
        return preflight.plan(topology, Intent(existing=self.existing, applying=self.applying))


DEPLOYING = Sort(False, tuple(grants([*resources.load("rbac"), *resources.load(manifests("rbac/deploying"))], ACCOUNT)))
EXISTING = Sort(
    True,
    tuple(
        grants(
            [
                *resources.load("rbac"),
                *resources.load(manifests("rbac/existing")),
                bound("lateral-measured", estate.NAME),
            ],
            ACCOUNT,
        )
    ),
    "true",
)
APPLYING = replace(EXISTING, measured="policies")
EACH = pytest.mark.parametrize("sort", [DEPLOYING, EXISTING, APPLYING], ids=["deploying", "existing", "applying"])
BOTH = pytest.mark.parametrize("sort", [DEPLOYING, EXISTING], ids=["deploying", "existing"])


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


def granted(allowed: Iterable[Grant]) -> set[tuple[str, str, str]]:
    return {act for one in allowed for act in one.acts()}


def in_lab(rule: tuple[str, str, str]) -> bool:
    """Whether the lab has what a rule is about."""
    _, group, resource = rule
    return resource not in ABSENT and group in GROUPS


@contextmanager
def namespace(lab: Lab, **labels: str) -> Iterator[None]:
    """Have the namespace of an application that is there."""
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": estate.NAME, "labels": labels}}
    [made] = lab.cluster.apply([home])
    try:
        yield
    finally:
        lab.cluster.delete({**home, **made})
        until("it to be gone", lambda: lab.cluster.get("v1", "Namespace", estate.NAME) is None or None, timeout=60)


def listed(sort: Sort, topology: Topology) -> set[tuple[Permission, Place]]:
    """What the table has for runs of a sort, and where."""
    homes = sort.plan(topology).namespaces
    return {(one, place) for one in PERMISSIONS for place in one.places if homes[place]}


def dispensable(sort: Sort, topology: Topology) -> set[Act]:
    """What a run only looks at if it may."""
    homes = sort.plan(topology).namespaces
    return {
        Act(verb, one.group, one.resource, home)
        for one, place in listed(sort, topology)
        if not one.needed
        for verb in one.verbs
        for home in homes[place]
    }


def without_id(act: Act, run_id: str) -> Act:
    """As preflight asks about it before there is a run."""
    return replace(act, namespace=act.namespace.replace(run_id, "0" * 8))


@EACH
def test_a_run_needs_every_rule_and_no_other(lab: Lab, tmp_path: Path, sort: Sort) -> None:
    """From preflight to clean-up, with the answer to the first creation of each kind lost on the way; preflight has
    asked about everything that it does but what it can do without, namespace by namespace; admission has nothing
    against it."""
    found = estate.write(tmp_path)
    authorizer = Confined(lab.kubeconfig, sort.allowed, forgetful=True)
    with ExitStack() as stack:
        if sort.existing:
            there = estate.deployed(lab.cluster, found, policed=not sort.applying, measured=sort.measured)
            stack.enter_context(there)
        kubeconfig = stack.enter_context(proxied(authorizer))
        wanted = attachment(tmp_path, kubeconfig)
        cluster = stack.enter_context(
            attach(wanted, found.topology, intent=Intent(existing=sort.existing, applying=sort.applying))
        )
        looked, authorizer.done = authorizer.used, set()
        assessment = run.measure(
            cluster,
            found.topology,
            found.policies if sort.applying else LIVE,
            progress=lambda _: None,
            settle=8.0,
            guest=run.Guest(lease=Terms(duration=3)),
            existing=sort.existing,
        )
    seen = Measured(assessment, {finding.flow.id: finding for finding in judge(assessment)})
    assert not authorizer.refused
    assert not authorizer.kept_out
    assert not TRUTHS["none"].wrong(seen)
    assert not seen.having(Verdict.UNPROVEN), {f.reason for f in seen.findings.values() if f.verdict == "UNPROVEN"}
    assert authorizer.used | looked == {rule for rule in granted(sort.allowed) if in_lab(rule)}
    done = {without_id(act, assessment.run_id) for act in authorizer.done}
    assert done <= authorizer.asked | dispensable(sort, found.topology)


@EACH
def test_the_manifests_grant_what_the_table_lists(topology: Topology, sort: Sort) -> None:
    """What has its place in namespaces that are known is granted in those alone, and everything just once."""
    known = {Place.LEASE: Terms().namespace, Place.BESIDE: estate.NAME}
    wanted: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for one, place in listed(sort, topology):
        for verb in one.verbs:
            wanted[verb, one.group, one.resource].add(known.get(place, ""))
    # Where an application is, twins' ReplicaSets are created by both sorts: beside one that is there, there alone.
    if sort.existing:
        for verb in ("create", "get", "patch"):
            wanted[verb, "apps", "replicasets"] = {estate.NAME}
    given: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for grant in sort.allowed:
        for act in grant.acts():
            given[act].append(grant.namespace)
    assert given == {act: ["" if "" in homes else homes.pop()] for act, homes in wanted.items()}


def test_admission_confines_whatever_is_granted_everywhere() -> None:
    """Each kind that the account may change, and each pod that it may enter, with all the roles that runs have."""
    changing = {"create", "patch", "delete"}
    further = grants(resources.load(manifests("rbac/applications")), ACCOUNT)
    allowed = [one for one in (*DEPLOYING.allowed, *EXISTING.allowed, *further) if one.groups != {LEASES}]
    acts = {act for one in allowed for act in one.acts()}
    confined = {
        (group, resource)
        for document in resources.load(resources.manifests("rbac/confinement"))
        if document["kind"] == "ValidatingAdmissionPolicy"
        for rule in document["spec"]["matchConstraints"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    granted_everywhere = {(group, resource) for verb, group, resource in acts if verb in changing}
    assert confined == granted_everywhere


def told(checks: tuple[Check, ...], rule: tuple[str, str, str]) -> list[Check]:
    """The checks that name a rule: as what may not be done, or as what the server refused."""
    verb, group, resource = rule
    name = f"{resource}.{group}" if group else resource
    ours, theirs = f"may not {verb} {name} ", f'cannot {verb} resource "{resource}"'
    return [one for one in checks if ours in f"{one.detail} " or theirs in one.detail]


@BOTH
def test_preflight_names_whatever_rule_is_missing(lab: Lab, topology: Topology, tmp_path: Path, sort: Sort) -> None:
    """Each in turn: what a run needs is a refusal, what preflight alone reads is a warning; nothing else changes."""
    needed = {(verb, one.group, one.resource) for one, _ in listed(sort, topology) if one.needed for verb in one.verbs}
    authorizer = Authorizer(lab.kubeconfig, sort.allowed)
    with ExitStack() as stack:
        if sort.existing:
            stack.enter_context(namespace(lab))
        wanted = attachment(tmp_path, stack.enter_context(proxied(authorizer)))

        def look() -> tuple[Check, ...]:
            with attached(wanted, topology, Intent(existing=sort.existing, applying=sort.applying)) as found:
                return found.checks

        before = look()
        assert Level.REFUSAL not in {one.level for one in before}, before
        for rule in sorted(filter(in_lab, granted(sort.allowed))):
            authorizer.allowed = [one for each in sort.allowed for one in each.without(rule)]
            assert granted(authorizer.allowed) == granted(sort.allowed) - {rule}
            checks = look()
            missing = told(checks, rule)
            expected = Level.REFUSAL if rule in needed else Level.WARNING
            assert expected in {one.level for one in missing}, (rule, checks)
            others = [one for one in checks if one.level is not Level.OK and one not in missing]
            assert others == [one for one in before if one.level is not Level.OK], rule


def everything(lab: Lab) -> set[str]:
    """The UIDs of what a run would create."""
    kinds = (("v1", "Namespace"), ("v1", "Pod"), ("apps/v1", "ReplicaSet"), ("networking.k8s.io/v1", "NetworkPolicy"))
    return {one["metadata"]["uid"] for version, kind in kinds for one in lab.cluster.list(version, kind)}


@BOTH
def test_nothing_is_created_by_looking(lab: Lab, topology: Topology, tmp_path: Path, sort: Sort) -> None:
    """Not even by a preflight that may do everything; what it creates by dry runs isn't there."""
    authorizer = Authorizer(lab.kubeconfig, sort.allowed)
    with ExitStack() as stack:
        if sort.existing:
            stack.enter_context(namespace(lab))
        before = everything(lab)
        kubeconfig = stack.enter_context(proxied(authorizer))
        wanted = attachment(tmp_path, kubeconfig)
        found = stack.enter_context(attached(wanted, topology, Intent(existing=sort.existing, applying=sort.applying)))
        assert not found.refusals
        assert everything(lab) == before
    assert {verb for verb, _, _ in authorizer.used} == {"get", "list", "create"}


@pytest.mark.parametrize(
    ("labels", "applying", "refused"),
    [
        ({}, False, {"Pod", "ReplicaSet"}),
        ({"lateral.dev/measured": "false"}, False, {"Pod", "ReplicaSet"}),
        ({"lateral.dev/measured": "true"}, False, set()),
        ({"lateral.dev/measured": "true"}, True, {"NetworkPolicy"}),
        ({"lateral.dev/measured": "policies"}, True, set()),
    ],
)
def test_a_confined_run_is_told_beforehand_where_it_isnt_let_in(
    lab: Lab, topology: Topology, tmp_path: Path, labels: dict[str, str], applying: bool, refused: set[str]
) -> None:
    """Beside an application only where its namespace's label says so, and with policies where it says that."""
    confined = Confined(lab.kubeconfig, EXISTING.allowed)
    with (
        namespace(lab, **labels),
        proxied(confined) as kubeconfig,
        attached(attachment(tmp_path, kubeconfig), topology, Intent(existing=True, applying=applying)) as found,
    ):
        assert {one.detail.split()[0] for one in found.refusals} == refused
        assert {one.what for one in found.refusals} == ({"admission"} if refused else set())


def test_a_confined_run_is_told_that_its_namespace_must_have_a_level(lab: Lab, tmp_path: Path) -> None:
    """An application's manifests may lack its namespace, or bring one that is held to nothing."""
    found = estate.write(tmp_path)
    file = tmp_path / "manifests" / "app.yaml"
    file.write_text(file.read_text().replace("pod-security.kubernetes.io/enforce: baseline", "a: b"))
    with (
        proxied(Confined(lab.kubeconfig, DEPLOYING.allowed)) as kubeconfig,
        attached(attachment(tmp_path, kubeconfig), found.topology) as looked,
    ):
        [refusal] = looked.refusals
    assert "must be labelled pod-security.kubernetes.io/enforce, baseline or restricted" in refusal.detail


def test_nobody_is_asked_for_more_than_the_options_take(lab: Lab, tmp_path: Path) -> None:
    """Rights to create policies beside an application are wanted where a run is told to, by whichever command."""
    found = estate.write(tmp_path)
    authorizer = Authorizer(lab.kubeconfig, EXISTING.allowed)
    wanted = Act("create", "networking.k8s.io", "networkpolicies", estate.NAME)
    with namespace(lab), proxied(authorizer) as kubeconfig:
        chosen = attachment(tmp_path, kubeconfig)
        named = ["--context", chosen.context, "--kubeconfig", str(chosen.kubeconfig)]
        asked = ["preflight", *named, "--app", str(tmp_path / "topology.yaml"), "--existing-app"]
        assert main(asked) == 0
        assert wanted not in authorizer.asked
        assert main([*asked, "--apply-policies"]) == 0
        assert wanted in authorizer.asked
        for policies in (LIVE, found.policies):
            authorizer.asked.clear()
            plan = Plan(
                topology=found.topology,
                policies=policies,
                existing=True,
                reports=tmp_path,
                settle=1.0,
                window=0.0,
                concurrency=1,
                footholds=1,
                fault=None,
                placement=ANYWHERE,
                unenforced=False,
                attachment=chosen,
            )
            with provided(plan, found.topology, lambda _: None):
                assert (wanted in authorizer.asked) == (policies is not LIVE)
