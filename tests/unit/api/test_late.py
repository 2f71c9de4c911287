"""An API that is told to be slow says all that it would say otherwise, and each word late."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client as official_client
from kubernetes import watch as official_watch
from kubernetes.stream import stream as official_stream

from lateral.lab.faults.effects import effect
from lateral.lab.faults.late import DELAY

from .documents import pod
from .served import Served, serve

client: Any = official_client
watch: Any = official_watch
stream: Any = official_stream
FAR_LATER = 5.0


@pytest.fixture
def slow() -> Iterator[Served]:
    with serve(effect("slow-api").middlewares) as served:
        yield served
    gc.collect()  # what a client left behind is this test's affair


def timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def test_every_answer_is_late_on_a_new_connection_and_on_one_that_was_used(slow: Served) -> None:
    core = client.CoreV1Api(slow.client())
    for _ in range(3):
        assert DELAY <= timed(core.list_namespace) < FAR_LATER
    assert {one.metadata.name for one in core.list_namespace().items} == {"default", "shop"}


def test_a_refusal_is_late_too(slow: Served) -> None:
    assert DELAY <= timed(lambda: slow.ask("GET", "/api/v1/namespaces", token="wrong")) < FAR_LATER  # noqa: S106


def test_what_is_asked_for_is_done_at_once(slow: Served) -> None:
    body = {"metadata": {"name": "new"}}
    asking = threading.Thread(target=slow.ask, args=("POST", "/api/v1/namespaces", body))
    began = time.monotonic()
    asking.start()
    while slow.within(lambda: slow.store.find("Namespace", "", "new")) is None:
        assert time.monotonic() - began < 5
    done = time.monotonic() - began
    asking.join(10)
    assert done < time.monotonic() - began - DELAY / 2


def test_a_watch_tells_of_a_change_late(slow: Served) -> None:
    watching = watch.Watch()
    seen = watching.stream(client.CoreV1Api(slow.client()).list_namespace, timeout_seconds=10)
    assert {next(seen)["object"].metadata.name for _ in range(2)} == {"default", "shop"}
    new = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}}
    began = time.monotonic()
    slow.within(lambda: slow.store.create(new))
    assert next(seen)["object"].metadata.name == "new"
    assert DELAY <= time.monotonic() - began < FAR_LATER
    watching.stop()
    seen.close()


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_the_output_of_exec_is_late_and_whole(slow: Served) -> None:
    spec = {**pod()["spec"], "nodeName": "lab-node"}
    web = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec}
    slow.within(lambda: slow.store.create(web))
    command = ["sh", "-c", "read line; seq 20000; echo err >&2; exit 3"]
    asked = {"command": command, "stdin": True, "stdout": True, "stderr": True, "_preload_content": False}
    ran = stream(client.CoreV1Api(slow.client()).connect_get_namespaced_pod_exec, "web", "shop", **asked)
    slow.cleanup.callback(ran.close)
    began = time.monotonic()
    ran.write_stdin("go\n")
    ran.run_forever(timeout=10)
    assert DELAY <= time.monotonic() - began < FAR_LATER
    assert ran.read_stdout().split() == [str(number) for number in range(1, 20001)]
    assert (ran.read_stderr(), ran.returncode) == ("err\n", 3)
