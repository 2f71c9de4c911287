"""Containers, and programs in them, as the control plane starts and ends them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.lab.in_node import Node, in_node, output

from lateral.lab.spawner import SpawnError

PROMPT = 5.0


@in_node
async def test_a_stand_in_runs_as_the_first_process_of_its_container(node: Node) -> None:
    container = await node.start("lateral-image", "wait", "3.2")
    assert await container.read_stdout() == b"waiting as 1 3.2\n"
    assert container.status is None


@in_node
async def test_sigterm_ends_stand_ins_and_programs_that_know_nothing_of_it(node: Node) -> None:
    for argv in (("lateral-image", "wait"), ("sleep", "infinity")):
        container = await node.start(*argv)
        container.kill(signal.SIGTERM)
        async with asyncio.timeout(PROMPT):
            assert await container.wait() == 128 + signal.SIGTERM


@in_node
async def test_a_program_gets_the_signal_and_may_end_in_its_own_way(node: Node) -> None:
    container = await node.start("bash", "-c", "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.02; done")
    assert await container.read_stdout() == b"ready\n"
    container.kill(signal.SIGTERM)
    assert await output(container) == "bye\n"
    assert await container.wait() == 9


@in_node
async def test_forty_containers_start_at_once(node: Node) -> None:
    argvs = [("sleep", "infinity"), ("lateral-image", "wait")] * 20
    began = time.monotonic()
    containers = await asyncio.gather(*(node.start(*argv) for argv in argvs))
    assert time.monotonic() - began < PROMPT
    assert len({container.pid for container in containers}) == 40
    for container in containers:
        container.kill(signal.SIGKILL)
    assert {await container.wait() for container in containers} == {128 + signal.SIGKILL}


@in_node
async def test_what_a_stand_in_dies_of_is_in_its_log(node: Node) -> None:
    container = await node.start("lateral-image", "crash")
    printed = await output(container)
    assert "Traceback" in printed
    assert "ValueError: nobody expected this" in printed
    assert await container.wait() == 1


@in_node
async def test_a_stand_in_returns_its_exit_status(node: Node) -> None:
    container = await node.start("lateral-image", "return", "5")
    assert await container.wait() == 5


@in_node
async def test_a_program_that_is_not_there_is_status_127_and_says_so(node: Node) -> None:
    container = await node.start("no-such-program", "x")
    assert await output(container) == "no-such-program: no such program\n"
    assert await container.wait() == 127


@in_node
async def test_programs_ignore_no_signal_that_whoever_started_the_lab_ignored(node: Node) -> None:
    show = ("grep", "SigIgn", "/proc/self/status")
    container = await node.start(*show)
    assert await output(container) == "SigIgn:\t0000000000000000\n"
    running = await node.start("sleep", "infinity")
    program = await node.spawner.exec(running, show)
    assert await output(program) == "SigIgn:\t0000000000000000\n"


@in_node
async def test_trouble_in_setting_up_is_an_error_that_names_it(node: Node) -> None:
    with pytest.raises(SpawnError, match="No such file"):
        await node.spawner.start(node.spec("true", binds={"/data": "/run/missing"}))
    with pytest.raises(SpawnError, match="Read-only file system: '/mnt/usr/data'"):
        await node.spawner.start(node.spec("true", files={"/usr/data/file": "text"}))
    container = await node.start("true")
    assert await container.wait() == 0


@in_node
async def test_files_of_any_size_arrive(node: Node) -> None:
    large = "0123456789abcdef" * 100_000
    container = await node.spawner.start(node.spec("cat", "/etc/large/file", files={"/etc/large/file": large}))
    assert await output(container) == large


@in_node
async def test_a_volume_is_shared_and_writable_and_a_bind_is_not(node: Node) -> None:
    script = "echo text >/data/file && ! echo text >/fixed/file"
    folders = {"volumes": {"/data": "/run"}, "binds": {"/fixed": "/run"}}
    writer = await node.spawner.start(node.spec("bash", "-c", script, **folders))
    assert await writer.wait() == 0
    reader = await node.spawner.start(node.spec("cat", "/fixed/file", **folders))
    assert await output(reader) == "text\n"


@in_node
async def test_orphans_are_collected(node: Node) -> None:
    zombies = "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ' || true"
    for argv in (("sleep", "infinity"), ("lateral-image", "wait")):
        container = await node.start(*argv)
        orphans = await node.spawner.exec(container, ["bash", "-c", "(sleep 0.05 & exec true) & (sleep 0.01 &); wait"])
        assert await orphans.wait() == 0
        for _ in range(100):
            left = await node.spawner.exec(container, ["bash", "-c", "ls -d /proc/[0-9]*/ | wc -l; " + zombies])
            processes, dead = (await output(left)).split()
            if int(processes) <= 5 and dead == "0":
                break
        assert dead == "0"


@in_node
async def test_exec_runs_beside_the_containers_program_with_its_environment(node: Node) -> None:
    container = await node.start("sleep", "infinity")
    process = await node.spawner.exec(
        container, ["bash", "-c", "cat; echo $COLOUR $SIZE $(hostname); echo wrong >&2; exit 3"], env={"SIZE": "42"}
    )
    await process.write_stdin(b"given\n")
    await process.close_stdin()
    assert await output(process) == "given\ngreen 42 pod-1\n"
    assert await process.read_stderr() == b"wrong\n"
    assert await process.read_stderr() == b""
    assert await process.wait() == 3


@in_node
async def test_an_executed_program_can_be_killed(node: Node) -> None:
    container = await node.start("lateral-image", "wait")
    process = await node.spawner.exec(container, ["sleep", "infinity"])
    process.kill(signal.SIGTERM)
    assert await process.wait() == 128 + signal.SIGTERM
    process.kill(signal.SIGTERM)
    assert container.status is None


@in_node
async def test_a_terminal_is_a_terminal(node: Node) -> None:
    container = await node.start("sleep", "infinity")
    script = "read -r line; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && stty size && echo $line >/dev/tty"
    process = await node.spawner.exec(container, ["bash", "-c", script], tty=True)
    process.resize(132, 43)
    await process.write_stdin(b"typed\n")
    assert (await output(process)).split("\r\n") == ["typed", "43 132", "typed", ""]
    assert await process.read_stderr() == b""
    assert await process.wait() == 0


@in_node
async def test_a_container_reads_what_is_written_to_it(node: Node) -> None:
    container = await node.spawner.start(replace(node.spec("cat"), stdin=True))
    await container.write_stdin(b"given\n")
    await container.close_stdin()
    assert await output(container) == "given\n"
    assert await container.wait() == 0


@in_node
async def test_a_container_without_input_reads_its_end(node: Node) -> None:
    container = await node.start("cat")
    assert await container.wait() == 0


@in_node
async def test_a_containers_terminal_is_its_programs_own(node: Node) -> None:
    """What is typed there signals the program, not the process that supervises it."""
    script = (
        "trap 'hit=yes' INT; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && stty size; echo ready >/dev/tty;"
        # A shell that has just begun to read would run its trap after a line only.
        " until [ $hit ]; do sleep 0.05; done; echo interrupted; read -r line; read -r line; echo got $line; exit 5"
    )
    container = await node.spawner.start(replace(node.spec("bash", "-c", script), stdin=True, tty=True))
    container.resize(132, 43)
    seen = b""
    while b"ready" not in seen:
        seen += await container.read_stdout()
    await container.write_stdin(b"\x03")
    while b"interrupted" not in seen:
        seen += await container.read_stdout()
    await container.write_stdin(b"one\ntwo\n")
    async with asyncio.timeout(PROMPT):
        assert (await output(container)).endswith("got two\r\n")
        assert await container.wait() == 5


@in_node
async def test_a_stand_in_may_have_a_terminal(node: Node) -> None:
    container = await node.spawner.start(replace(node.spec("lateral-image", "wait"), tty=True))
    assert await container.read_stdout() == b"waiting as 1 \r\n"
    await container.write_stdin(b"\x03")
    async with asyncio.timeout(PROMPT):
        assert await container.wait() == 128 + signal.SIGINT


@in_node
async def test_nothing_is_executed_in_a_container_that_has_ended(node: Node) -> None:
    container = await node.start("true")
    await container.wait()
    with pytest.raises(SpawnError, match="has ended"):
        await node.spawner.exec(container, ["true"])


@in_node
async def test_much_output_waits_for_its_reader(node: Node) -> None:
    container = await node.start("perl", "-e", "print 'x' x 3_000_000")
    assert len(await output(container)) == 3_000_000
    assert await container.wait() == 0


@in_node
async def test_no_descriptor_is_left_behind(node: Node) -> None:
    async def cycle() -> None:
        container = await node.start("sleep", "infinity")
        for tty in (False, True):
            process = await node.spawner.exec(container, ["true"], tty=tty)
            await process.wait()
            process.close()
        container.kill(signal.SIGKILL)
        await container.wait()
        assert await container.read_stdout() == b""
        for stdin, tty in ((False, False), (True, False), (True, True)):
            with pytest.raises(SpawnError):
                await node.spawner.start(
                    replace(node.spec("true", binds={"/data": "/run/missing"}), stdin=stdin, tty=tty)
                )
            typed = await node.spawner.start(replace(node.spec("true"), stdin=stdin, tty=tty))
            await typed.wait()
            typed.close()

    await cycle()
    here, there = (_descriptors(pid) for pid in ("self", node.server))
    for _ in range(5):
        await cycle()
    assert _descriptors("self") == here
    assert _descriptors(node.server) == there


def _descriptors(process: int | str) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


@in_node
async def test_the_end_of_the_fork_server_is_noticed(node: Node) -> None:
    container = await node.start("sleep", "infinity")
    os.kill(node.server, signal.SIGKILL)
    async with asyncio.timeout(PROMPT):
        await node.spawner.lost()
        assert await container.wait() == 128 + signal.SIGKILL
    with pytest.raises(SpawnError, match="fork server has ended"):
        await node.start("true")
