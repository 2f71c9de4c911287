"""Image names, and a stand-in as a container runs it: forked from a warmed process, ended by a signal."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib import resources

import pytest
import yaml

from lateral.lab import images


def _shop_images() -> list[str]:
    found = []
    for file in resources.files("lateral.manifests").joinpath("sock-shop").iterdir():
        for document in yaml.safe_load_all(file.read_text()):
            if document.get("kind") == "Deployment":
                found += [container["image"] for container in document["spec"]["template"]["spec"]["containers"]]
    return found


def test_every_image_of_the_shop_is_known() -> None:
    """Fifteen containers, each with a stand-in."""
    shop = _shop_images()
    assert len(shop) == 15
    for image in shop:
        assert images.resolve(image).entrypoint[0] == images.ENTRYPOINT


@pytest.mark.parametrize(
    "image",
    [
        "weaveworksdemos/user:0.4.7",
        "registry.example.org/weaveworksdemos/user:0.4.7",
        "localhost:5000/weaveworksdemos/user:0.4.7",
        "mirror.example.org/hub/weaveworksdemos/user",
        "registry.example.org/weaveworksdemos/user@sha256:" + 64 * "0",
    ],
)
def test_the_registry_does_not_matter(image: str) -> None:
    """A rewritten registry, a digest or no tag names the same image."""
    assert images.resolve(image).entrypoint == ("lateral-image", "user")


@pytest.mark.parametrize(
    "prefix", ["", "registry.example.org/", "registry.example.org/library/", "mirror.example.org:5000/library/"]
)
@pytest.mark.parametrize("tag", ["3.2", "4.4"])
def test_mongo_is_of_its_tags_generation(prefix: str, tag: str) -> None:
    """The tag decides which wire is spoken."""
    assert images.resolve(f"{prefix}mongo:{tag}").entrypoint == ("lateral-image", "mongo", tag)


@pytest.mark.parametrize("image", ["nginx", "mongo", "mongo:7", "someone/mongo-express:1", "someone/mongo:4.4", ""])
def test_an_unknown_image_is_refused(image: str) -> None:
    """The message lists what there is."""
    with pytest.raises(LookupError, match=r"mongo:3\.2.*weaveworksdemos/user"):
        images.resolve(image)


_FORK = """
import os, signal, sys
from lateral.lab import images
images.warm()
cold = sorted({"mysql_mimic", "fakeredis"} & set(sys.modules))
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.dup2(writing, 1)
    os._exit(images.run("rabbitmq_exporter", []))
os.close(writing)
with open(reading) as log:
    for line in log:
        print(line, end="")
        if "listening on port" in line:
            os.kill(child, signal.SIGTERM)
print(cold, os.waitpid(child, 0)[1])
"""


def test_a_forked_stand_in_ends_on_sigterm() -> None:
    """It starts in a process forked from a warmed one, says so in its log, and ends at once with status 0."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = subprocess.run(
        [sys.executable, "-c", _FORK],
        env={**os.environ, "PUBLISH_PORT": str(port), "RABBIT_URL": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "rabbitmq-exporter: starting" in done.stdout
    assert f"listening on port {port}" in done.stdout
    assert done.stdout.endswith("[] 0\n"), done.stdout + done.stderr
