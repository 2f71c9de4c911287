"""The tutorial's own steps, word for word, with a stock kubectl: the shop, the rogue pod, the policy, and a login."""

from __future__ import annotations

import base64
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import resources
from typing import TYPE_CHECKING

import pytest
from tests.kubectl import Kubectl, kubectl_and_lab

from lateral.waiting import until

if TYPE_CHECKING:
    from tests.terminal import Terminal

SECONDS = 60.0
SHELL = "root@rogue-1:/# "
MONGO = "\n> "
ROGUE = ("run", "rogue-1", "--image=mongo:3.2", "--restart=Never", "--rm", "-it", "--", "/bin/bash")
SERVER = "user-db.sock-shop.svc.cluster.local:27017"
WORKLOADS = (
    "carts",
    "carts-db",
    "catalogue",
    "catalogue-db",
    "front-end",
    "orders",
    "orders-db",
    "payment",
    "queue-master",
    "rabbitmq",
    "session-db",
    "shipping",
    "user",
    "user-db",
)
CARDS = """\
{ "_id" : ObjectId("57a98d98e4b00679b4a830ae"), "longNum" : "5953580604169678", "expires" : "08/19", "ccv" : "678" }
{ "_id" : ObjectId("57a98d98e4b00679b4a830b1"), "longNum" : "5544154011345918", "expires" : "08/19", "ccv" : "958" }
{ "_id" : ObjectId("57a98d98e4b00679b4a830b4"), "longNum" : "0908415193175205", "expires" : "08/19", "ccv" : "280" }
{ "_id" : ObjectId("57a98ddce4b00679b4a830d2"), "longNum" : "5429804235432", "expires" : "04/16", "ccv" : "432" }
"""
AS_PRINTED = """\
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata:
  name: user-db-allow-from-user
  namespace: sock-shop
spec:
  policyTypes:
  - Ingress
  PodSelector:
    matchLabels:
      name: user-db
  ingress:
  - from:
    - PodSelector:
        matchLabels:
          name: user
"""
SPELLED_RIGHT = AS_PRINTED.replace("PodSelector", "podSelector")


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """kubectl with a lab of its own."""
    with kubectl_and_lab(tmp_path_factory.mktemp("kubectl")) as (told, _):
        yield told


@pytest.fixture(scope="module")
def shop(kubectl: Kubectl) -> list[list[str]]:
    """The shop, deployed as the tutorial does; the pods as `kubectl get po` shows them once all are running."""
    assert kubectl.says("create", "namespace", "sock-shop") == "namespace/sock-shop created\n"
    with resources.as_file(resources.files("lateral.manifests") / "sock-shop") as folder:
        applied = kubectl.run("apply", "-f", str(folder))
    assert applied.returncode == 0, applied.stderr
    assert {f"deployment.apps/{name} created" for name in WORKLOADS} < set(applied.stdout.splitlines())
    seen: list[list[str]] = []

    def running() -> list[list[str]] | None:
        seen[:] = kubectl.table("get", "po", "-n", "sock-shop")
        complete = [row for row in seen if row[2] == "Running" and row[1].split("/")[0] == row[1].split("/")[1]]
        return seen if len(complete) == len(WORKLOADS) else None

    return until("the shop's pods", running, timeout=SECONDS, state=lambda: str(seen))


@pytest.fixture
def policy(kubectl: Kubectl, shop: list[list[str]]) -> Iterator[None]:
    """The tutorial's policy, in the spelling that Kubernetes has."""
    assert shop
    name = "networkpolicy.networking.k8s.io/user-db-allow-from-user"
    assert kubectl.says("apply", "-f-", typed=SPELLED_RIGHT) == f"{name} created\n"
    yield
    kubectl.says("delete", "networkpolicy", "user-db-allow-from-user", "-n", "sock-shop")


def open_mongo(rogue: Terminal) -> None:
    """From inside the container, as printed."""
    rogue.until(SHELL)
    rogue.type(f"mongo --host {SERVER}\r")
    rogue.until(f"MongoDB shell version: 3.2.21\nconnecting to: {SERVER}/test\n")


def answer(rogue: Terminal, statement: str) -> str:
    """What the mongo session prints after `statement`."""
    rogue.type(f"{statement}\r")
    shown = rogue.until(MONGO)
    assert shown.startswith(f"{statement}\n")
    return shown.removeprefix(f"{statement}\n").removesuffix(MONGO[1:])


def test_the_context_and_the_nodes(kubectl: Kubectl) -> None:
    assert kubectl.says("config", "current-context").strip()
    nodes = kubectl.table("get", "nodes", "-o", "wide")
    assert [node[1] for node in nodes] == ["Ready", "Ready"]


def test_all_pods_are_running(shop: list[list[str]]) -> None:
    """Fourteen, each ready with all its containers, named as a Deployment's pods are, never restarted."""
    ready = {}
    for name, containers, status, restarts, *_ in shop:
        match = re.fullmatch(r"(.+)-[a-z0-9]+-[a-z0-9]{5}", name)
        assert match
        ready[match[1]] = containers
        assert (status, restarts) == ("Running", "0")
    assert ready == {**dict.fromkeys(WORKLOADS, "1/1"), "rabbitmq": "2/2"}


@pytest.mark.usefixtures("shop")
def test_the_services(kubectl: Kubectl) -> None:
    """user-db responds on 27017."""
    services = {row[0]: row for row in kubectl.table("get", "svc", "-n", "sock-shop")}
    assert set(services) == set(WORKLOADS)
    assert services["user-db"][4] == "27017/TCP"
    assert (services["front-end"][1], services["front-end"][4]) == ("NodePort", "80:30001/TCP")


@pytest.mark.usefixtures("shop")
def test_a_rogue_pod_reads_every_card(kubectl: Kubectl) -> None:
    """The session of the tutorial, as it is printed there; the pod goes with its shell."""
    with kubectl.terminal(*ROGUE) as rogue:
        open_mongo(rogue)
        rogue.until(MONGO)
        assert answer(rogue, "show dbs") == "local  0.000GB\nusers  0.000GB\n"
        assert answer(rogue, "use users") == "switched to db users\n"
        assert answer(rogue, "show collections") == "addresses\ncards\ncustomers\n"
        assert answer(rogue, "db.cards.find()") == CARDS
        rogue.type("exit\r")
        rogue.until(SHELL)
        rogue.type("exit\r")
        rogue.until('pod "rogue-1" deleted')
        assert rogue.wait() == 0
    assert kubectl.says("get", "po", "-o", "name") == ""


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("name", ["user-db", "user"])
def test_the_labels_are_described(kubectl: Kubectl, name: str) -> None:
    described = kubectl.says("describe", "deploy", name, "-n", "sock-shop")
    assert re.search(rf"^Name: +{name}\nNamespace: +sock-shop\n", described)
    assert re.search(rf"\nPod Template:\n  Labels: +name={name}\n", described)


@pytest.mark.usefixtures("shop")
def test_the_policy_as_printed_is_refused(kubectl: Kubectl) -> None:
    """Both capital letters are named; nothing is created."""
    refused = kubectl.run("apply", "-f-", typed=AS_PRINTED)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert 'unknown field "spec.PodSelector"' in refused.stderr
    assert 'unknown field "spec.ingress[0].from[0].PodSelector"' in refused.stderr
    assert kubectl.says("get", "networkpolicy", "-n", "sock-shop", "-o", "name") == ""


@pytest.mark.usefixtures("policy")
def test_under_the_policy_a_new_rogue_fails(kubectl: Kubectl) -> None:
    """Dropped in silence: the mongo shell gives up by itself, and the pod's shell goes on."""
    with kubectl.terminal(*ROGUE) as rogue:
        open_mongo(rogue)
        failed = rogue.until(SHELL)
        assert re.search(
            r" W NETWORK  \[thread1\] Failed to connect to [\d.]+:27017 after 5000 milliseconds, giving up\.", failed
        )
        assert f"Error: couldn't connect to server {SERVER}, connection attempt failed :" in failed
        assert "exception: connect failed" in failed
        rogue.type("echo status $?\r")
        rogue.until("status 1\n")
        rogue.type("exit\r")
        rogue.until('pod "rogue-1" deleted')


@pytest.mark.usefixtures("policy")
def test_under_the_policy_the_shop_works(kubectl: Kubectl) -> None:
    """The page by port-forward, and a login as user / password, which user reads from user-db."""
    with kubectl.forward("service/front-end", "-n", "sock-shop", port=80) as address:
        with urllib.request.urlopen(address, timeout=SECONDS) as page:  # noqa: S310  (ours)
            assert "<title>WeaveSocks" in page.read().decode()
        assert login(address, "user:password") == 200
        assert login(address, "user:wrong") == 401


def login(address: str, credentials: str) -> int:
    """The front page's own request for a login; its status."""
    basic = base64.b64encode(credentials.encode()).decode()
    request = urllib.request.Request(f"{address}/login", headers={"Authorization": f"Basic {basic}"})  # noqa: S310  (ours)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answered:  # noqa: S310  (ours)
            return int(answered.status)
    except urllib.error.HTTPError as error:
        return error.code
