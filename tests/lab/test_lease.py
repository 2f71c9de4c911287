"""Two runs on one cluster: one measures, and whoever loses its Lease has no verdicts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from tests import estate
from tests.lab.test_own_application import TOPOLOGY

from lateral import run
from lateral.connection import ApiError
from lateral.errors import ConfigurationError, LeaseError, ProviderError
from lateral.holding import Holding, held
from lateral.lease import API_VERSION, HOLDER, KIND, Terms
from lateral.model import Verdict
from lateral.policy import PolicySet
from lateral.providers.attach import Attachment, attach
from lateral.providers.lab import Lab, started
from lateral.resources import RUN_LABEL, Run
from lateral.topology import load
from lateral.verdict import judge
from lateral.waiting import until

if TYPE_CHECKING:
    from lateral.cluster import Cluster
    from lateral.model import Assessment
    from lateral.resources import Document

Measured = Callable[[Terms, Callable[[str], None]], "Assessment"]

OURS, THEIRS = Run("aaaa0001"), Run("bbbb0002")
SHOP = "shop"
BRIEF = Terms(duration=1)


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Lab]:
    with started() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(laboratory: Lab) -> Cluster:
    return laboratory.cluster


@pytest.fixture(autouse=True)
def no_lease(cluster: Cluster) -> Iterator[None]:
    """None is left by any test."""
    yield
    assert cluster.list(API_VERSION, KIND, "default") == []


def silent(_: str) -> None:
    """Says nothing."""


def the_lease(cluster: Cluster, application: str = SHOP) -> Document:
    found = cluster.get(API_VERSION, KIND, f"lateral-{application}", "default")
    assert found is not None
    return {"apiVersion": API_VERSION, "kind": KIND, **found}


def abandoned(cluster: Cluster, duration: int = 1) -> Document:
    """The Lease of a run that was killed long ago."""
    metadata = {"name": f"lateral-{SHOP}", "namespace": "default", "annotations": {HOLDER: "ann@there"}}
    times = dict.fromkeys(("acquireTime", "renewTime"), "2026-01-01T00:00:00.000000Z")
    spec = {"holderIdentity": THEIRS.id, "leaseDurationSeconds": duration, **times}
    document = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}
    made = cluster.create(THEIRS.stamp(document))
    assert made is not None
    return {**document, **made}


def rob(cluster: Cluster, application: str) -> None:
    """Another run takes the Lease over."""
    changed = {"metadata": {"labels": {RUN_LABEL: THEIRS.id}}, "spec": {"holderIdentity": THEIRS.id}}
    cluster.patch(the_lease(cluster, application), changed)


def test_a_lease_tells_who_holds_it_and_goes_with_its_holder(cluster: Cluster) -> None:
    with held(cluster, (SHOP,), OURS, Terms(), silent):
        found = the_lease(cluster)
        assert found["metadata"]["labels"][RUN_LABEL] == found["spec"]["holderIdentity"] == OURS.id
        assert "@" in found["metadata"]["annotations"][HOLDER]
        assert found["spec"]["leaseDurationSeconds"] == 60
    assert cluster.get(API_VERSION, KIND, f"lateral-{SHOP}", "default") is None


def test_it_is_renewed_for_as_long_as_it_is_held(cluster: Cluster) -> None:
    with held(cluster, (SHOP,), OURS, BRIEF, silent):
        first = the_lease(cluster)["spec"]["renewTime"]
        until("renewals", lambda: the_lease(cluster)["spec"]["renewTime"] > first or None, timeout=10)


def test_a_second_run_is_told_at_once_who_measures(cluster: Cluster) -> None:
    began = time.monotonic()
    with held(cluster, (SHOP,), OURS, Terms(), silent):
        with pytest.raises(ConfigurationError) as caught, held(cluster, (SHOP,), THEIRS, Terms(), silent):
            pass
        assert the_lease(cluster)["spec"]["holderIdentity"] == OURS.id
    assert time.monotonic() - began < 10
    told = str(caught.value)
    assert told.startswith(f"shop is being measured by run {OURS.id} of ")
    assert "--lateral-lease-wait SECONDS" in told
    assert "\n" not in told


def test_other_applications_are_measured_at_the_same_time(cluster: Cluster) -> None:
    with held(cluster, (SHOP,), OURS, Terms(), silent), held(cluster, ("other",), THEIRS, Terms(), silent):
        assert the_lease(cluster, "other")["spec"]["holderIdentity"] == THEIRS.id


def holders(cluster: Cluster) -> dict[str, str]:
    """Who holds what."""
    found = cluster.list(API_VERSION, KIND, "default")
    return {one["metadata"]["name"].removeprefix("lateral-"): one["spec"]["holderIdentity"] for one in found}


def test_runs_that_share_any_namespace_are_kept_apart(cluster: Cluster) -> None:
    """Whichever it is, and however many of the others a run could have had: it holds all of its Leases, or none."""
    with held(cluster, (SHOP, "stores"), OURS, Terms(), silent):
        assert holders(cluster) == {SHOP: OURS.id, "stores": OURS.id}
        for others in (("stores", "vaults"), ("depot", "stores"), ("depot", SHOP, "vaults")):
            with (
                pytest.raises(ConfigurationError, match=rf"^(shop|stores) is being measured by run {OURS.id} of "),
                held(cluster, others, THEIRS, Terms(), silent),
            ):
                pass
            assert holders(cluster) == {SHOP: OURS.id, "stores": OURS.id}
        with held(cluster, ("depot", "vaults"), THEIRS, Terms(), silent):
            assert len(holders(cluster)) == 4
    assert holders(cluster) == {}


def test_who_waits_holds_nothing_that_comes_behind_in_the_alphabet(cluster: Cluster) -> None:
    """So that no two runs wait for each other; what a run has taken already it keeps, and renews."""
    waiting, taken, over = threading.Event(), threading.Event(), threading.Event()

    def second() -> None:
        with held(cluster, ("zoo", "mall", "bank"), THEIRS, Terms(wait=60, duration=1), lambda _: waiting.set()):
            taken.set()
            over.wait(20)

    with ThreadPoolExecutor(1) as pool:
        with held(cluster, ("mall",), OURS, Terms(), silent):
            turn = pool.submit(second)
            assert waiting.wait(10)
            assert holders(cluster) == {"bank": THEIRS.id, "mall": OURS.id}
            first = the_lease(cluster, "bank")["spec"]["renewTime"]
            until("renewals", lambda: the_lease(cluster, "bank")["spec"]["renewTime"] > first or None, timeout=10)
        assert taken.wait(20)
        assert holders(cluster) == dict.fromkeys(("bank", "mall", "zoo"), THEIRS.id)
        over.set()
        turn.result()


@pytest.mark.parametrize("lost", [SHOP, "stores"])
def test_who_loses_one_of_several_measures_no_more(cluster: Cluster, lost: str) -> None:
    """At once, whichever it was; the others are given back."""

    def measure(holding: Holding) -> None:
        with holding.guarding():
            rob(cluster, lost)
            until("the end", lambda: None if cluster.get("v1", "Namespace", "default") else True, timeout=20)

    with held(cluster, (SHOP, "stores"), OURS, BRIEF, silent) as holding:
        with pytest.raises(LeaseError, match=f"lateral-{lost} was taken over by run {THEIRS.id}") as caught:
            measure(holding)
        assert isinstance(caught.value.__cause__, ProviderError), "it went on to its end"
        with pytest.raises(LeaseError, match=f"lateral-{lost} was taken over"), holding.guarding():
            pytest.fail("it measures once more")
    assert holders(cluster) == {lost: THEIRS.id}
    cluster.delete(the_lease(cluster, lost))


def test_one_of_several_that_was_lost_unnoticed_is_noticed_in_the_end(cluster: Cluster) -> None:
    with held(cluster, (SHOP, "stores"), OURS, Terms(), silent) as holding:
        with pytest.raises(LeaseError, match="lateral-stores was taken over by run"), holding.guarding():
            rob(cluster, "stores")
        cluster.delete(the_lease(cluster, "stores"))


def test_a_run_holds_a_lease_on_each_of_its_applications_namespaces(cluster: Cluster, tmp_path: Path) -> None:
    """A second application in one of them is not deployed meanwhile."""
    (tmp_path / "depot.yaml").write_text(
        yaml.safe_dump({key: it for key, it in TOPOLOGY.items() if key != "manifests"})
    )
    topology = load(tmp_path / "depot.yaml")
    refused = pytest.raises(ConfigurationError, match=f"vaults is being measured by run {THEIRS.id}")
    with held(cluster, ("vaults",), THEIRS, Terms(), silent), refused:
        run.measure(cluster, topology, PolicySet("none", (), ()), progress=silent, guest=run.Guest())
    assert left_over(cluster) == []


def test_a_second_run_waits_when_it_is_told_to(cluster: Cluster) -> None:
    waiting = threading.Event()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    def second() -> str:
        with held(cluster, (SHOP,), THEIRS, Terms(wait=30), say):
            return str(the_lease(cluster)["spec"]["holderIdentity"])

    with ThreadPoolExecutor(1) as pool:
        with held(cluster, (SHOP,), OURS, Terms(), silent):
            turn = pool.submit(second)
            assert waiting.wait(10)
            assert not turn.done()
        assert turn.result() == THEIRS.id
    assert said == [one for one in said if one.startswith(f"shop is being measured by run {OURS.id} of ")]


def test_a_lease_that_nobody_renews_is_taken_over_once_it_was_watched(cluster: Cluster) -> None:
    """However old its last renewal is: clocks may differ, so that only what was seen here counts."""
    abandoned(cluster)
    began = time.monotonic()
    with held(cluster, (SHOP,), OURS, Terms(), silent):
        assert time.monotonic() - began >= 1.0
        found = the_lease(cluster)
        assert found["spec"]["holderIdentity"] == found["metadata"]["labels"][RUN_LABEL] == OURS.id
        assert found["spec"]["leaseTransitions"] == 1


def test_a_lease_of_a_holder_whose_clock_is_slow_is_left_to_it(cluster: Cluster) -> None:
    """It looks abandoned by the clock, and is renewed all the same."""
    found = abandoned(cluster, duration=3)
    over, began = threading.Event(), time.monotonic()

    def renew() -> None:
        number = 0
        while not over.wait(0.2) and time.monotonic() - began < 20:
            number += 1
            cluster.patch(found, {"spec": {"renewTime": f"2026-01-01T00:00:00.{number:06}Z"}})

    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(renew)
        refused = pytest.raises(ConfigurationError, match=f"run {THEIRS.id} of ann@there")
        with refused, held(cluster, (SHOP,), OURS, Terms(), silent):
            pass
        over.set()
        renewing.result()
    assert the_lease(cluster)["spec"]["holderIdentity"] == THEIRS.id
    cluster.delete(the_lease(cluster))


def test_only_one_of_many_takes_it_over(cluster: Cluster) -> None:
    """All of them see it end at the same moment."""
    abandoned(cluster)
    together, won, over = threading.Barrier(6), [], threading.Event()

    def take(number: int) -> None:
        together.wait()
        try:
            with held(cluster, (SHOP,), Run(f"cccc000{number}"), Terms(), silent):
                won.append(number)
                over.wait(20)
        except ConfigurationError:
            pass

    with ThreadPoolExecutor(6) as pool:
        turns = [pool.submit(take, number) for number in range(6)]
        until("the losers", lambda: sum(one.done() for one in turns) == 5 or None, timeout=20)
        over.set()
        for one in turns:
            one.result()
    assert len(won) == 1


def test_the_lab_refuses_what_is_based_on_an_older_state(cluster: Cluster) -> None:
    """As every API server does: without that, two could take a Lease over at once."""
    found = abandoned(cluster)
    cluster.patch(found, {"spec": {"leaseTransitions": 7}})
    stale = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "spec": {"leaseTransitions": 8}}
    with pytest.raises(ApiError) as caught:
        cluster.patch(found, stale)
    assert caught.value.status == 409
    cluster.delete(found, unchanged=True)
    assert the_lease(cluster)["spec"]["leaseTransitions"] == 7
    cluster.delete(found)


@pytest.fixture
def measured(cluster: Cluster, tmp_path: Path) -> Measured:
    """Measures an estate as a guest."""
    found = estate.write(tmp_path)

    def measure(terms: Terms, progress: Callable[[str], None]) -> Assessment:
        guest = run.Guest(terms)
        return run.measure(cluster, found.topology, found.policies, progress=progress, settle=8.0, guest=guest)

    return measure


def left_over(cluster: Cluster) -> list[Document]:
    return cluster.list("v1", "Namespace", selector=RUN_LABEL) + cluster.list("v1", "Pod", selector=RUN_LABEL)


def test_a_run_whose_lease_is_taken_ends_at_once_and_cleans_up(cluster: Cluster, measured: Measured) -> None:
    """It doesn't wait for the end of its measurement, and the other's Lease stays."""
    robbed: list[float] = []

    def progress(line: str) -> None:
        if line.startswith("baseline sweep"):
            rob(cluster, estate.NAME)
            robbed.append(time.monotonic())
        if line.startswith("removing"):
            pytest.fail("the run went on")

    with pytest.raises(LeaseError, match=f"taken over by run {THEIRS.id} .* there are no verdicts"):
        measured(BRIEF, progress)
    assert robbed
    assert the_lease(cluster, estate.NAME)["spec"]["holderIdentity"] == THEIRS.id
    assert left_over(cluster) == []
    cluster.delete(the_lease(cluster, estate.NAME))


@pytest.mark.parametrize("how", ["taken over by run", "deleted by somebody"])
def test_a_lease_that_was_lost_unnoticed_is_noticed_in_the_end(cluster: Cluster, measured: Measured, how: str) -> None:
    """The last renewal may have been long ago."""

    def progress(line: str) -> None:
        if line.startswith("removing"):
            rob(cluster, estate.NAME)
            if how.startswith("deleted"):
                cluster.delete(the_lease(cluster, estate.NAME))

    with pytest.raises(LeaseError, match=how):
        measured(Terms(), progress)
    if not how.startswith("deleted"):
        cluster.delete(the_lease(cluster, estate.NAME))


def test_a_run_that_must_not_measure_deploys_nothing(cluster: Cluster, measured: Measured) -> None:
    said: list[str] = []
    refused = pytest.raises(ConfigurationError, match=f"estate is being measured by run {THEIRS.id}")
    with held(cluster, (estate.NAME,), THEIRS, Terms(), silent), refused:
        measured(Terms(), said.append)
    assert said == []
    assert left_over(cluster) == []


def test_a_second_run_waits_until_the_first_has_cleaned_up(laboratory: Lab, measured: Measured, tmp_path: Path) -> None:
    """Attached as any other, with a preflight that finds the first run's namespaces there."""
    found = estate.write(tmp_path / "second")
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(laboratory.kubeconfig))
    measuring = threading.Event()

    def second(terms: Terms) -> Assessment:
        with attach(Attachment(str(laboratory.kubeconfig["current-context"]), file), found.topology) as cluster:
            return run.measure(
                cluster, found.topology, found.policies, progress=silent, settle=8.0, guest=run.Guest(terms)
            )

    def progress(line: str) -> None:
        if line.startswith("baseline sweep"):
            with pytest.raises(ConfigurationError, match="estate is being measured by run "):
                second(Terms())
            measuring.set()

    with ThreadPoolExecutor(2) as pool:
        turns = [pool.submit(measured, Terms(), progress)]
        assert measuring.wait(60)
        turns.append(pool.submit(second, Terms(wait=120)))
        for turn in turns:
            verdicts = {finding.verdict for finding in judge(turn.result())}
            assert verdicts == {Verdict.CONTAINED, Verdict.PRESERVED}
