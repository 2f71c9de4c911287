"""Objects: only what is the run's own is updated, deletions name a UID, and kinds are found by discovery."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from lateral.connection import ApiError
from lateral.errors import ClusterError
from lateral.resources import RUN_LABEL, Run

from .simulated import SimulatedApi, simulated

if TYPE_CHECKING:
    from lateral.cluster import Cluster

RUN = Run("1f2e3d4c")


@pytest.fixture
def cluster_api() -> tuple[Cluster, SimulatedApi]:
    return simulated()


def config(name: str, data: str, run: Run | None = RUN) -> dict[str, Any]:
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"key": data},
    }
    return run.stamp(document) if run else document


def test_namespaces_are_created_before_what_is_in_them(cluster_api: tuple[Cluster, SimulatedApi]) -> None:
    cluster, _ = cluster_api
    inner = config("inner", "value")
    inner["metadata"]["namespace"] = "new"
    applied = cluster.apply([inner, RUN.namespace("new")])
    assert [one["metadata"]["name"] for one in applied] == ["new", "inner"]


def test_what_is_the_runs_own_is_updated(cluster_api: tuple[Cluster, SimulatedApi]) -> None:
    cluster, _ = cluster_api
    [first] = cluster.apply([config("mine", "old")])
    [second] = cluster.apply([config("mine", "new")])
    assert second["data"] == {"key": "new"}
    assert second["metadata"]["uid"] == first["metadata"]["uid"]


@pytest.mark.parametrize("owner", [None, Run("another")])
def test_what_isnt_stays_untouched(cluster_api: tuple[Cluster, SimulatedApi], owner: Run | None) -> None:
    cluster, _ = cluster_api
    [theirs] = cluster.apply([config("theirs", "precious", owner)])
    with pytest.raises(ClusterError, match="ConfigMap theirs already exists and isn't this run's"):
        cluster.apply([config("theirs", "overwritten")])
    assert cluster.get("v1", "ConfigMap", "theirs", "default") == theirs


def test_a_deletion_spares_a_successor_of_the_same_name(cluster_api: tuple[Cluster, SimulatedApi]) -> None:
    cluster, _ = cluster_api
    [first] = cluster.apply([config("mine", "first")])
    cluster.delete(first)
    assert cluster.get("v1", "ConfigMap", "mine", "default") is None
    cluster.delete(first)
    cluster.apply([config("mine", "second")])
    cluster.delete(first)
    assert cluster.get("v1", "ConfigMap", "mine", "default") is not None


def test_only_what_carries_the_label_is_deleted(cluster_api: tuple[Cluster, SimulatedApi]) -> None:
    cluster, _ = cluster_api
    cluster.apply([config("mine", "1"), config("theirs", "2", Run("another")), config("users", "3", None)])
    cluster.delete_labelled("v1", "ConfigMap", "default", RUN.selector)
    assert sorted(one["metadata"]["name"] for one in cluster.list("v1", "ConfigMap", "default")) == ["theirs", "users"]


def test_an_unknown_kind_is_told(cluster_api: tuple[Cluster, SimulatedApi]) -> None:
    cluster, _ = cluster_api
    with pytest.raises(ClusterError, match="the cluster has no kind CronJob in v1"):
        cluster.list("v1", "CronJob", "default")


def test_a_refusal_is_not_absence(cluster_api: tuple[Cluster, SimulatedApi], monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, api = cluster_api
    cluster.list("v1", "ConfigMap")

    def refuse(*_: object, **__: object) -> None:
        raise ApiError("forbidden", 403)

    monkeypatch.setattr(api, "request", refuse)
    with pytest.raises(ApiError, match="forbidden"):
        cluster.get("v1", "ConfigMap", "mine", "default")
    with pytest.raises(ApiError, match="forbidden"):
        cluster.delete(config("mine", "1") | {"metadata": {"name": "mine", "namespace": "default", "uid": "u"}})


def test_when_a_block_of_workers_fails_their_streams_are_broken(cluster_api: tuple[Cluster, SimulatedApi]) -> None:
    cluster, api = cluster_api
    with cluster.workers(1) as pool:
        assert pool.submit(lambda: 1).result() == 1
    assert not api.streams_broken
    with pytest.raises(KeyboardInterrupt), cluster.workers(1):
        raise KeyboardInterrupt
    assert api.streams_broken


def test_a_worker_that_opens_another_stream_does_not_outlast_a_failed_block(
    cluster_api: tuple[Cluster, SimulatedApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, api = cluster_api
    broken = threading.Semaphore(0)
    monkeypatch.setattr(api, "break_streams", broken.release)
    told: list[bool] = []

    def interrupted() -> None:
        with cluster.workers(1) as pool:
            pool.submit(lambda: told.extend(broken.acquire(timeout=10) for _ in range(3)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert told == [True] * 3


def test_the_label_is_what_marks_a_run() -> None:
    stamped = RUN.stamp(config("mine", "1", None))
    assert stamped["metadata"]["labels"] == {RUN_LABEL: RUN.id}
    assert RUN.selector == f"{RUN_LABEL}={RUN.id}"
