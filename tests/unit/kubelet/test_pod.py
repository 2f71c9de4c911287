"""A pod comes up inside the rules, tells its state, and goes down gracefully."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lateral.lab.conditions import set_condition
from lateral.lab.deletion import delete, finalize
from lateral.lab.kubelet import container as container_module
from lateral.lab.kubelet import kubelet as kubelet_module
from lateral.lab.kubelet import pod as pod_module

from .fakes import HOST, FakeProcess, bench, container, ending, pod, stubborn

if TYPE_CHECKING:
    from lateral.lab.store import Object


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_module, "BACK_OFF", 0.01)
    monkeypatch.setattr(pod_module, "AGAIN", 0.01)


def test_a_pod_becomes_ready(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.store.create(pod())
            await node.until(lambda: node.condition("Ready") == "True", "ready")
            status = node.status()
            assert status["podIP"] == "10.101.0.1"
            assert status["podIPs"] == [{"ip": "10.101.0.1"}]
            assert status["hostIP"] == "10.100.0.1"
            assert status["qosClass"] == "BestEffort"
            assert status["startTime"]
            shown = node.container()
            assert (shown["ready"], shown["started"], shown["restartCount"]) == (True, True, 0)
            assert set(shown["state"]) == {"running"}
            for type_ in ("PodScheduled", "Initialized", "ContainersReady"):
                assert node.condition(type_) == "True"
            for reason in ("Pulled", "Created", "Started"):
                assert len(node.messages(reason)) == 1

    asyncio.run(scenario())


def test_nothing_runs_before_the_rules_know_the_pod(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.network.held = asyncio.Event()
            node.store.create(pod())
            await node.until(lambda: node.network.asked, "the network was asked")
            assert node.status()["podIP"] == "10.101.0.1"
            assert int(node.pod()["metadata"]["resourceVersion"]) <= node.network.asked[0]
            assert not node.spawner.started
            node.network.held.set()
            await node.running()

    asyncio.run(scenario())


def test_a_pod_on_the_hosts_network_has_the_nodes_address(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.store.create(pod(hostNetwork=True))
            await node.running()
            assert node.status()["podIP"] == "10.100.0.1"
            assert node.spawner.started[0].netns == HOST
            assert node.spawner.started[0].hostname == "lab-node"
            assert not node.sandboxes.alive

    asyncio.run(scenario())


def test_a_deleted_pod_ends_gracefully_and_then_goes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            made = node.store.create(pod())
            process = await node.running()
            delete(node.store, made)
            await node.until(node.gone, "the pod's end")
            assert process.signals == [signal.SIGTERM]
            assert process.closed
            assert not node.sandboxes.alive
            assert node.messages("Killing") == ["Stopping container main"]

    asyncio.run(scenario())


def test_the_grace_period_ends_with_sigkill(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path, {"main": stubborn}) as node:
            made = node.store.create(pod())
            process = await node.running()
            delete(node.store, made)
            await node.until(lambda: process.signals, "SIGTERM")
            assert not node.gone()
            delete(node.store, made, grace=1)
            await node.until(node.gone, "the pod's end")
            assert process.signals == [signal.SIGTERM, signal.SIGKILL]

    asyncio.run(scenario())


def test_a_forced_deletion_does_not_wait(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path, {"main": stubborn}) as node:
            made = node.store.create(pod())
            process = await node.running()
            delete(node.store, made, grace=0)
            assert node.gone()
            await node.until(lambda: not node.sandboxes.alive, "the sandbox's end")
            assert signal.SIGKILL in process.signals

    asyncio.run(scenario())


def test_a_finalizer_holds_the_object_but_not_the_processes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            held = pod()
            held["metadata"]["finalizers"] = ["example.com/hold"]
            made = node.store.create(held)
            await node.running()
            delete(node.store, made)
            await node.until(lambda: not node.sandboxes.alive, "the sandbox's end")
            assert set(node.container()["state"]) == {"terminated"}
            finalize(node.store, made, "example.com/hold")
            assert node.gone()

    asyncio.run(scenario())


def test_a_pod_deleted_while_it_waits_for_the_network_goes_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.network.held = asyncio.Event()
            made = node.store.create(pod())
            await node.until(lambda: node.network.asked, "the network was asked")
            delete(node.store, made)
            await node.until(node.gone, "the pod's end")
            assert not node.spawner.started
            assert not node.sandboxes.alive

    asyncio.run(scenario())


def test_a_pod_deleted_while_its_container_backs_off_goes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_module, "BACK_OFF", 600.0)

    async def scenario() -> None:
        async with bench(tmp_path) as node:
            made = node.store.create(pod())
            (await node.running()).end(1)
            await node.until(lambda: node.messages("BackOff"), "the back-off")
            delete(node.store, made)
            await node.until(node.gone, "the pod's end")

    asyncio.run(scenario())


def test_a_deletion_just_before_a_status_is_written_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubelet_module, "BATCH", 0)
    monkeypatch.setattr(container_module, "BACK_OFF", 600.0)

    async def scenario() -> None:
        class Last(FakeProcess):
            """Has the pod deleted between its end and the status that tells it."""

            def close(self) -> None:
                asyncio.get_running_loop().call_soon(delete, node.store, node.pod())

        async with bench(tmp_path, {"main": Last}) as node:
            node.store.create(pod())
            (await node.running()).end(1)
            await node.until(node.gone, "the pod's end")

    asyncio.run(scenario())


def test_a_namesake_is_another_pod(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path, {"main": stubborn}) as node:
            first = node.store.create(pod())
            await node.running()
            delete(node.store, first, grace=0)
            node.store.create(pod())
            await node.running()
            assert len(node.spawner.started) == 2
            assert node.status()["podIP"] == "10.101.0.2"

    asyncio.run(scenario())


def test_a_pod_that_ended_has_its_phase_and_frees_its_network(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path, {"main": ending(0), "bad": ending(3)}) as node:
            node.store.create(pod("good", restartPolicy="Never"))
            node.store.create(pod("bad", containers=[container("bad")], restartPolicy="Never"))
            await node.until(lambda: node.phase("good") == "Succeeded", "success")
            await node.until(lambda: node.phase("bad") == "Failed", "failure")
            assert node.container("bad")["state"]["terminated"]["exitCode"] == 3
            assert node.condition("Ready", "good") == "False"
            await node.until(lambda: not node.sandboxes.alive, "no sandbox left")

    asyncio.run(scenario())


def test_init_containers_run_in_order_and_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        plan = {"one": ending(0), "two": FakeProcess, "main": FakeProcess}
        async with bench(tmp_path, plan) as node:
            node.store.create(pod(initContainers=[container("one"), container("two")]))
            await node.until(lambda: len(node.spawner.processes) == 2, "the second init container")
            await node.until(lambda: len(node.status().get("initContainerStatuses") or []) == 2, "a status")
            assert node.phase() == "Pending"
            assert node.condition("Initialized") == "False"
            node.spawner.processes[1].end(0)
            await node.running()
            assert node.condition("Initialized") == "True"
            assert [spec.name for spec in node.spawner.started] == ["a/one", "a/two", "a/main"]

    asyncio.run(scenario())


def test_a_failed_init_container_is_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        codes = iter([1, 0])
        plan = {"one": lambda: ending(next(codes))(), "main": FakeProcess}
        async with bench(tmp_path, plan) as node:
            node.store.create(pod(initContainers=[container("one")]))
            await node.running()
            assert node.status()["initContainerStatuses"][0]["restartCount"] == 1

    asyncio.run(scenario())


def test_readiness_gates_are_somebody_elses_to_set(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.store.create(pod(readinessGates=[{"conditionType": "example.com/go"}]))
            await node.until(lambda: node.condition("ContainersReady") == "True", "ready containers")
            assert node.condition("Ready") == "False"
            node.store.modify("Pod", "shop", "a", lambda new: set_condition(new, "example.com/go", "True"))
            await node.until(lambda: node.condition("Ready") == "True", "ready")
            assert node.condition("example.com/go") == "True"

    asyncio.run(scenario())


def test_labels_change_without_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.store.create(pod())
            await node.until(lambda: node.condition("Ready") == "True", "ready")
            node.store.modify("Pod", "shop", "a", lambda new: new["metadata"]["labels"].update(name="quarantined"))
            node.store.modify("Pod", "shop", "a", lambda new: set_condition(new, "example.com/x", "True"))
            version = node.store.version
            node.store.create(pod("b"))
            await node.running("b")
            changes = node.store.subscribe(("Pod",), since=version).drain()
            assert not [change for change in changes if change.object["metadata"]["name"] == "a"]
            assert len(node.spawner.started) == 2

    asyncio.run(scenario())


def test_a_sandbox_that_fails_is_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.sandboxes.failures = 2
            node.store.create(pod())
            await node.running()
            assert node.messages("FailedCreatePodSandBox") == ["Failed to create pod sandbox: no more namespaces"]

    asyncio.run(scenario())


def test_an_active_deadline_ends_the_pod(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.store.create(pod(activeDeadlineSeconds=1))
            process = await node.running()
            await node.until(lambda: node.phase() == "Failed", "failure")
            assert node.status()["reason"] == "DeadlineExceeded"
            assert process.signals == [signal.SIGTERM]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"hostPID": True}, "spec.hostPID"),
        ({"containers": [container(securityContext={"privileged": True})]}, "privileged"),
        ({"containers": [container(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}})]}, "SYS_ADMIN"),
        ({"containers": [container(ports=[{"containerPort": 80, "hostPort": 80}])]}, "hostPort"),
        ({"containers": [container(lifecycle={"preStop": {"sleep": {"seconds": 1}}})]}, "lifecycle"),
    ],
)
def test_what_the_lab_does_not_have_is_refused_by_name(tmp_path: Path, change: Object, field: str) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.store.create(pod(**change))
            await node.until(lambda: "waiting" in node.container()["state"], "a status")
            assert field in node.container()["state"]["waiting"]["message"]
            assert node.phase() == "Pending"
            assert field in node.messages("Failed")[0]
            assert not node.spawner.started

    asyncio.run(scenario())


def test_sixty_pods_take_few_writes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            for number in range(60):
                node.store.create(pod(f"p{number}"))
            before = node.store.version
            names = [f"p{number}" for number in range(60)]
            await node.until(lambda: all(node.condition("Ready", name) == "True" for name in names), "sixty pods")
            changes = node.store.subscribe(("Pod",), since=before).drain()
            assert len(changes) <= 4 * 60

    asyncio.run(scenario())
