"""What a container can run: the programs that its image brings, and the machine's, whatever volumes it has."""

from __future__ import annotations

from dataclasses import replace

from tests.lab.in_node import Node, in_node, output

from lateral.lab import rootfs
from lateral.lab.images import programs, resolve


@in_node
async def test_an_images_program_wins_over_the_machines(node: Node) -> None:
    """It comes first on the image's PATH, and can be executed."""
    scripts = {f"{programs.FOLDER}/ls": "#!/bin/sh\necho ours $1\n"}
    env = {"PATH": resolve("mongo:3.2").env["PATH"]}
    for command in (["ls", "well"], ["bash", "-c", "ls well"]):
        container = await node.spawner.start(replace(node.spec(*command), env=env, programs=scripts))
        assert await output(container) == "ours well\n"


@in_node
async def test_the_mongo_shell_runs_in_a_container(node: Node) -> None:
    """With nothing but what the container's root shows."""
    image = resolve("mongo:3.2")
    spec = replace(node.spec("mongo", "--version"), env=image.env, programs=image.programs)
    assert await output(await node.spawner.start(spec)) == "MongoDB shell version: 3.2.21\n"


@in_node
async def test_a_volume_hides_no_program(node: Node) -> None:
    """An environment of Python below /tmp, say, stays where it is under a volume at /tmp."""
    below = "; ".join(f"[ -e {tree} ]" for tree in rootfs.shared_trees() if tree.startswith("/etc/"))
    script = f"set -e; {below}; [ ! -e /etc/passwd ]; touch /etc/new"
    container = await node.spawner.start(node.spec("bash", "-c", script, volumes={"/etc": "/run"}))
    assert await container.wait() == 0
