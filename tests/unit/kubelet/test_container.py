"""Containers get what their spec says, are restarted by policy, and keep what they wrote."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lateral.lab.kubelet import container as container_module
from lateral.lab.status import StatusError

from .fakes import Bench, FakeProcess, Typed, bench, container, ending, pod

if TYPE_CHECKING:
    from lateral.lab.store import Object


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_module, "BACK_OFF", 0.01)


def is_folder(path: str) -> bool:
    return Path(path).is_dir()


def config_map(name: str, **data: str) -> Object:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": data}


def test_command_and_args_stand_over_the_image(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path, {"image": FakeProcess, "args": FakeProcess, "command": FakeProcess}) as node:
            node.store.create(
                pod(
                    containers=[
                        container("image"),
                        container("args", args=["--port", "1"]),
                        container("command", command=["sleep", "$(SECONDS)"], env=[{"name": "SECONDS", "value": "9"}]),
                    ]
                )
            )
            await node.running()
            argv = {spec.name: spec.argv for spec in node.spawner.started}
            assert argv["a/image"][0] == "lateral-image"
            assert argv["a/args"] == (*argv["a/image"], "--port", "1")
            assert argv["a/command"] == ("sleep", "9")

    asyncio.run(scenario())


def test_a_container_sees_its_environment_files_and_folders(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.store.create(config_map("settings", level="debug", size="3"))
            secret = {"name": "keys", "namespace": "shop"}
            node.store.create({"kind": "Secret", "metadata": secret, "data": {"token": "czNjcmV0"}})
            node.store.create(
                pod(
                    hostname="carts",
                    containers=[
                        container(
                            workingDir="/srv",
                            env=[
                                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                                {"name": "ROLE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['name']"}}},
                                {
                                    "name": "LEVEL",
                                    "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}},
                                },
                                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
                            ],
                            envFrom=[{"prefix": "C_", "configMapRef": {"name": "settings"}}],
                            volumeMounts=[
                                {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108  (a path in the container)
                                {"name": "settings", "mountPath": "/etc/app"},
                                {"name": "settings", "mountPath": "/etc/level", "subPath": "level"},
                                {"name": "keys", "mountPath": "/keys", "readOnly": True},
                            ],
                        )
                    ],
                    volumes=[
                        {"name": "scratch", "emptyDir": {}},
                        {"name": "settings", "configMap": {"name": "settings"}},
                        {"name": "keys", "secret": {"secretName": "keys", "items": [{"key": "token", "path": "a"}]}},
                    ],
                )
            )
            await node.running()
            (spec,) = node.spawner.started
            expected = {"IP": "10.101.0.1", "ROLE": "carts", "LEVEL": "debug", "TOKEN": "s3cret", "C_size": "3"}
            assert expected.items() <= spec.env.items()
            assert spec.files["/etc/app/size"] == "3"
            assert spec.files["/etc/level"] == "debug"
            assert spec.files["/keys/a"] == "s3cret"
            assert spec.files["/etc/hostname"] == "carts\n"
            assert "10.101.0.1\tcarts" in spec.files["/etc/hosts"]
            assert "search shop.svc.cluster.local svc.cluster.local cluster.local" in spec.files["/etc/resolv.conf"]
            assert spec.working_dir == "/srv"
            (folder,) = spec.volumes.values()
            assert list(spec.volumes) == ["/tmp"]  # noqa: S108
            assert Path(folder).is_relative_to(tmp_path)
            assert is_folder(folder)

    asyncio.run(scenario())
    assert not list(tmp_path.iterdir())


def test_a_volume_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.store.create(pod(volumes=[{"name": "settings", "configMap": {"name": "settings"}}]))
            await node.until(lambda: node.messages("FailedMount"), "the event")
            assert 'configmap "settings" not found' in node.messages("FailedMount")[0]
            await node.until(lambda: node.phase() == "Pending" and "waiting" in node.container()["state"], "waiting")
            node.store.create(config_map("settings"))
            await node.running()

    asyncio.run(scenario())


@pytest.mark.parametrize("volume", [{"hostPath": {"path": "/"}}, {"nfs": {"server": "x", "path": "/"}}])
def test_volumes_that_the_lab_does_not_have_are_refused(tmp_path: Path, volume: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.store.create(pod(volumes=[{"name": "host", **volume}]))
            await node.until(lambda: node.messages("FailedMount"), "the event")
            assert next(iter(volume)) in node.messages("FailedMount")[0]
            assert not node.spawner.started

    asyncio.run(scenario())


def test_a_missing_key_is_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            reference = {"configMapKeyRef": {"name": "settings", "key": "level"}}
            node.store.create(pod(containers=[container(env=[{"name": "LEVEL", "valueFrom": reference}])]))
            await node.until(lambda: "waiting" in node.container()["state"], "a status")
            await node.until(
                lambda: node.container()["state"]["waiting"]["reason"] == "CreateContainerConfigError", "the reason"
            )
            node.store.create(config_map("settings", level="info"))
            await node.running()
            assert node.spawner.started[0].env["LEVEL"] == "info"

    asyncio.run(scenario())


def test_an_unknown_image_is_told_and_a_known_one_helps(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.store.create(pod(containers=[{"name": "main", "image": "nginx:1.27"}]))

            def reason() -> str | None:
                waiting: dict[str, str] = node.container()["state"].get("waiting", {})
                return waiting.get("reason")

            await node.until(lambda: reason() == "ImagePullBackOff", "the back-off")
            assert any("the lab has no image 'nginx:1.27'" in message for message in node.messages("Failed"))
            assert node.phase() == "Pending"
            node.store.modify("Pod", "shop", "a", lambda new: new["spec"]["containers"][0].update(image="mongo:4.4"))
            await node.running()
            assert node.container()["image"] == "mongo:4.4"

    asyncio.run(scenario())


def test_another_image_restarts_the_container(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.store.create(pod())
            await node.running()
            node.store.modify("Pod", "shop", "a", lambda new: new["spec"]["containers"][0].update(image="mongo:3.2"))
            await node.until(lambda: len(node.spawner.started) == 2, "a second start")
            await node.until(lambda: node.container()["restartCount"] == 1, "a counted restart")
            assert node.spawner.started[1].argv[-1] == "3.2"

    asyncio.run(scenario())


def test_a_crashing_container_is_restarted_with_back_off(tmp_path: Path) -> None:
    async def scenario() -> None:
        codes = iter([7, 7])
        plan = {"main": lambda: ending(code)() if (code := next(codes, None)) else FakeProcess()}
        async with bench(tmp_path, plan) as node:
            seen = node.store.subscribe(("Pod",))
            node.store.create(pod())
            await node.until(lambda: node.container()["restartCount"] == 2, "two restarts")
            await node.until(lambda: node.container()["ready"], "ready again")
            assert node.container()["lastState"]["terminated"]["exitCode"] == 7
            assert node.messages("BackOff")
            states = [change.object["status"].get("containerStatuses") for change in seen.drain()]
            reasons = {status[0]["state"].get("waiting", {}).get("reason") for status in states if status}
            assert "CrashLoopBackOff" in reasons

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("policy", "code", "starts", "phase"),
    [("Never", 1, 1, "Failed"), ("OnFailure", 0, 1, "Succeeded"), ("OnFailure", 1, 2, "Succeeded")],
)
def test_the_restart_policy_decides(tmp_path: Path, policy: str, code: int, starts: int, phase: str) -> None:
    async def scenario() -> None:
        codes = iter([code, 0])
        async with bench(tmp_path, {"main": lambda: ending(next(codes))()}) as node:
            node.store.create(pod(restartPolicy=policy))
            await node.until(lambda: node.phase() == phase, phase)
            assert len(node.spawner.started) == starts

    asyncio.run(scenario())


def test_a_container_that_cannot_be_set_up_is_told_and_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.spawner.refusing = True
            node.store.create(pod())
            await node.until(lambda: node.messages("Failed") == ["Error: no room"], "the event")
            node.spawner.refusing = False
            await node.running()

    asyncio.run(scenario())


async def lines(node: Bench, start: int = 0) -> list[bytes]:
    view = node.kubelet.logs(node.pod(), None)
    view.snapshot()
    return [line async for _, line in view.follow(start)]


def test_logs_are_kept_and_followed_to_the_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.store.create(pod(restartPolicy="Never"))
            process = await node.running()
            process.say(b"one\ntw")
            process.say(b"o\nthree")
            following = asyncio.create_task(lines(node))
            view = node.kubelet.logs(node.pod(), None)
            await node.until(lambda: len(view.snapshot()) == 2, "two lines")
            process.end(0)
            assert await asyncio.wait_for(following, 1) == [b"one", b"two", b"three"]
            assert await asyncio.wait_for(lines(node, 1), 1) == [b"two", b"three"]
            stamp, _ = view.snapshot()[0]
            assert stamp.endswith("Z")
            assert len(stamp) == len("2024-01-01T00:00:00.000000000Z")

    asyncio.run(scenario())


def test_exec_attach_and_dial_reach_the_running_container(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path, programs={"perl": 4}) as node:
            node.store.create(pod())
            process = await node.running()
            program = await node.kubelet.exec(node.pod(), None, ["perl", "-"], tty=False)
            assert await program.wait() == 4
            attached = await node.kubelet.attach(node.pod(), "main", stdin=False)
            process.say(b"hello\n")
            assert await asyncio.wait_for(attached.read_stdout(), 1) == b"hello\n"
            attached.kill(15)
            assert await asyncio.wait_for(attached.read_stdout(), 1) == b""
            assert await asyncio.wait_for(attached.wait(), 1) == 0
            assert not process.signals
            node.kubelet.dial(node.pod(), 27017).close()
            assert node.dialled == [(100, "127.0.0.1", 27017)]
            with pytest.raises(StatusError, match="it has: main"):
                await node.kubelet.exec(node.pod(), "other", ["perl"], tty=False)

    asyncio.run(scenario())


def interactive(**more: Any) -> dict[str, Any]:
    return container(stdin=True, **more)


def test_an_attached_client_types_into_the_container_and_detaching_ends_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path, {"main": Typed}) as node:
            node.store.create(pod(containers=[interactive(tty=True)]))
            process = await node.running()
            assert isinstance(process, Typed)
            assert (node.spawner.started[0].stdin, node.spawner.started[0].tty) == (True, True)
            assert node.spawner.started[0].env["TERM"] == "xterm"
            attached = await node.kubelet.attach(node.pod(), "main", stdin=True)
            await attached.write_stdin(b"ls\n")
            attached.resize(80, 24)
            await attached.close_stdin()
            attached.kill(9)
            assert (process.typed, process.size, process.input_ended) == (b"ls\n", (80, 24), False)
            assert not process.signals

    asyncio.run(scenario())


def test_the_first_client_sees_what_was_written_before_it_came(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path, {"main": Typed}) as node:
            node.store.create(pod(containers=[interactive()]))
            process = await node.running()
            process.say(b"prompt> ")
            process.say(b"\n")
            await node.until(lambda: node.kubelet.logs(node.pod(), None).snapshot(), "the prompt in the log")
            first = await node.kubelet.attach(node.pod(), None, stdin=True)
            assert await asyncio.wait_for(first.read_stdout(), 1) == b"prompt> \n"
            second = await node.kubelet.attach(node.pod(), None, stdin=True)
            process.say(b"more")
            for attached in (first, second):
                assert await asyncio.wait_for(attached.read_stdout(), 1) == b"more"

    asyncio.run(scenario())


def test_input_ends_with_the_first_client_if_the_container_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path, {"main": Typed, "open": Typed, "deaf": Typed}) as node:
            containers = [interactive(stdinOnce=True), {**interactive(), "name": "open"}, container("deaf")]
            node.store.create(pod(containers=containers))
            await node.running()
            await node.until(lambda: len(node.spawner.processes) == 3, "all three run")
            names = [spec.name.rpartition("/")[2] for spec in node.spawner.started]
            processes = dict(zip(names, node.spawner.processes, strict=True))
            for name in names:
                only_reading = await node.kubelet.attach(node.pod(), name, stdin=False)
                await only_reading.close_stdin()
                await only_reading.write_stdin(b"nobody")
            assert not any(process.input_ended for process in processes.values() if isinstance(process, Typed))
            for name in names:
                attached = await node.kubelet.attach(node.pod(), name, stdin=True)
                await attached.write_stdin(b"text")
                await attached.close_stdin()
            found = {name: (p.typed, p.input_ended) for name, p in processes.items() if isinstance(p, Typed)}
            assert found == {"main": (b"text", True), "open": (b"text", False), "deaf": (b"", False)}

    asyncio.run(scenario())


def test_who_attaches_is_not_told_the_exit_status(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            node.store.create(pod(restartPolicy="Never"))
            process = await node.running()
            attached = await node.kubelet.attach(node.pod(), None, stdin=False)
            process.end(3)
            assert await asyncio.wait_for(attached.wait(), 1) == 0
            assert await asyncio.wait_for(attached.read_stdout(), 1) == b""

    asyncio.run(scenario())


def test_arguments_that_begin_with_a_program_run_it(tmp_path: Path) -> None:
    """As the images' entry points have it: `kubectl run --image=mongo:3.2 -- bash`."""

    async def scenario() -> None:
        async with bench(tmp_path, {"program": FakeProcess, "option": FakeProcess, "both": FakeProcess}) as node:
            node.store.create(
                pod(
                    containers=[
                        container("program", args=["/bin/bash", "-i"]),
                        container("option", args=["--port", "1"]),
                        container("both", command=["echo"], args=["bash"]),
                    ]
                )
            )
            await node.until(lambda: len(node.spawner.started) == 3, "all three run")
            argv = {spec.name: spec.argv for spec in node.spawner.started}
            assert argv["a/program"] == ("/bin/bash", "-i")
            assert argv["a/option"][0] == "lateral-image"
            assert argv["a/both"] == ("echo", "bash")

    asyncio.run(scenario())


def test_what_does_not_run_cannot_be_executed_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(tmp_path) as node:
            made = node.store.create(pod(containers=[{"name": "main", "image": "nginx"}]))
            await node.until(lambda: "waiting" in node.container()["state"], "waiting")
            with pytest.raises(StatusError, match="is not running") as refused:
                await node.kubelet.exec(made, None, ["sh"], tty=False)
            assert refused.value.code == 400
            with pytest.raises(StatusError, match="is not running"):
                node.kubelet.require_running(made, None)
            with pytest.raises(StatusError, match="waiting to start"):
                node.kubelet.logs(made, None)

    asyncio.run(scenario())
