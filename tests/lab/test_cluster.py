"""The suite's cluster against a real API: streams are binary-safe, concurrent and bounded, and can be cut short."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from lateral.connection import ApiError
from lateral.errors import ClusterError
from lateral.listener import listener, listener_script
from lateral.model import Outcome, Protocol, Speaks, Via
from lateral.pods import is_ready
from lateral.policy import PolicySet, idle
from lateral.probe import Dial, Prober, Tunnel
from lateral.providers.lab import lab
from lateral.resources import Run, template
from lateral.waiting import until

if TYPE_CHECKING:
    from lateral.cluster import Cluster

RUN = Run("cafe0001")
NAMESPACE = RUN.own("test")
READY = 20.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A lab with one pod to run commands in, and one that listens."""
    with lab() as started:
        started.apply(
            [
                RUN.namespace(NAMESPACE),
                listener_script(NAMESPACE, RUN),
                RUN.stamp(template("rogue"), name="shell", namespace=NAMESPACE),
                listener("server", NAMESPACE, {"app": "server"}, [(8080, Speaks.HTTP), (53, Speaks.DNS)], RUN),
            ]
        )
        yield started


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> str:
    """The listening pod's address, once both pods are ready."""

    def ready() -> str | None:
        pods = {pod["metadata"]["name"]: pod for pod in cluster.list("v1", "Pod", NAMESPACE)}
        return str(pods["server"]["status"]["podIP"]) if all(map(is_ready, pods.values())) else None

    return until("the test's pods", ready, timeout=READY)


@pytest.mark.usefixtures("server")
def test_every_byte_comes_through_an_exec(cluster: Cluster) -> None:
    data = os.urandom(300_000)
    ran = cluster.exec(NAMESPACE, "shell", ["head", "-c", str(len(data))], data)
    assert (ran.stdout == data, ran.stderr, ran.failure) == (True, b"", "")


@pytest.mark.usefixtures("server")
def test_output_errors_and_status_are_told_apart(cluster: Cluster) -> None:
    ran = cluster.exec(NAMESPACE, "shell", ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (ran.stdout, ran.stderr) == (b"out\n", b"err\n")
    assert "7" in ran.failure


@pytest.mark.usefixtures("server")
def test_a_command_that_does_not_exist_is_a_failure(cluster: Cluster) -> None:
    ran = cluster.exec(NAMESPACE, "shell", ["no-such-command"])
    assert ran.stdout == b""
    assert ran.failure


def test_a_pod_that_does_not_exist_is_told(cluster: Cluster) -> None:
    with pytest.raises(ApiError, match="absent") as caught:
        cluster.exec(NAMESPACE, "absent", ["true"])
    assert caught.value.status == 404


@pytest.mark.usefixtures("server")
def test_twenty_execs_at_a_time_keep_their_output_apart(cluster: Cluster) -> None:
    def run(number: int) -> bytes:
        return cluster.exec(
            NAMESPACE, "shell", ["sh", "-c", f"read line; echo {number} $line"], b"%d\n" % number
        ).stdout

    with ThreadPoolExecutor(max_workers=20) as pool:
        assert list(pool.map(run, range(40))) == [b"%d %d\n" % (number, number) for number in range(40)]


@pytest.mark.usefixtures("server")
def test_an_exec_ends_at_its_timeout(cluster: Cluster) -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        cluster.exec(NAMESPACE, "shell", ["sleep", "60"], timeout=0.3)
    assert time.monotonic() - started < 5


@pytest.mark.usefixtures("server")
def test_a_failing_block_cuts_its_workers_short(cluster: Cluster) -> None:
    reading = threading.Event()
    errors: list[Exception] = []

    def wait_for_nothing() -> None:
        try:
            with cluster.open(NAMESPACE, "shell", ["sh", "-c", "echo started; sleep 60"]) as channel:
                channel.receive(30)
                reading.set()
                assert channel.receive(60) == b""
        except ClusterError as error:
            errors.append(error)

    def interrupted() -> None:
        with cluster.workers(1) as pool:
            workers.append(pool.submit(wait_for_nothing))
            assert reading.wait(30)
            raise KeyboardInterrupt

    workers: list[Future[None]] = []
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert workers[0].exception() is None
    assert len(errors) <= 1
    assert time.monotonic() - started < 10


def test_probes_reach_the_listener_by_every_protocol(cluster: Cluster, server: str) -> None:
    dials = [
        Dial(server, 8080, Protocol.TCP, Speaks.HTTP, Via.POD),
        Dial(server, 53, Protocol.TCP, Speaks.DNS, Via.POD),
        Dial(server, 53, Protocol.UDP, Speaks.DNS, Via.POD),
        Dial(server, 8081, Protocol.TCP, Speaks.HTTP, Via.POD),
    ]
    samples = Prober(cluster).probe(NAMESPACE, "shell", dials)
    assert [(sample.outcome, sample.replied) for sample in samples] == [
        (Outcome.OPEN, True),
        (Outcome.OPEN, True),
        (Outcome.OPEN, True),
        (Outcome.REFUSED, False),
    ]


def test_a_tunnel_and_a_port_forward_speak_with_the_same_server(cluster: Cluster, server: str) -> None:
    streams: list[Any] = [
        Tunnel(cluster, NAMESPACE, "shell", server, 8080),
        cluster.port_forward(NAMESPACE, "server", 8080),
    ]
    for stream in streams:
        with stream:
            stream.send(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while chunk := stream.receive(10):
                answer += chunk
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n\r\nok\n")


def test_a_forward_to_a_closed_port_says_so(cluster: Cluster, server: str) -> None:
    assert server
    with cluster.port_forward(NAMESPACE, "server", 8081) as forward, pytest.raises(ClusterError, match="8081"):
        forward.receive(10)


def test_an_unknown_field_is_refused(cluster: Cluster) -> None:
    pod = RUN.stamp(template("rogue"), name="odd", namespace=NAMESPACE)
    pod["spec"]["containres"] = []
    with pytest.raises(ApiError, match="containres"):
        cluster.apply([pod])


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("selector", "selects"),
    [
        ({}, True),
        ({"matchLabels": {"app": "server"}}, True),
        ({"matchLabels": {"app": "served"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["server", "other"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["another", "other"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["server"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "nothing", "operator": "Exists"}]}, False),
        (
            {"matchLabels": {"app": "server"}, "matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]},
            False,
        ),
    ],
)
def test_the_cluster_tells_which_policies_select_no_pod(
    cluster: Cluster, selector: dict[str, Any], selects: bool
) -> None:
    policy = {"metadata": {"name": "one", "namespace": NAMESPACE}, "spec": {"podSelector": selector}}
    told = idle(cluster, PolicySet("mine", (policy,), ("mine.yaml:1",)))
    assert [one.startswith("NetworkPolicy one (mine.yaml:1) selects no pod of ") for one in told] == [True] * (
        not selects
    )
