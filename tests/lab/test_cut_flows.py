"""Every intended flow of the shop carries something: cut, it breaks the journey at its own step and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from lateral import application, journey, topology
from lateral.model import Outcome, Phase, Protocol, Sample, Via
from lateral.pods import is_ready
from lateral.probe import Dial, Prober
from lateral.providers.lab import lab
from lateral.resources import Document, Run
from lateral.waiting import until

if TYPE_CHECKING:
    from lateral.cluster import Cluster
    from lateral.model import JourneyStep

TOPOLOGY = topology.load("sock-shop")
NAMESPACE = TOPOLOGY.namespace
READY, WHOLE_AGAIN = 30.0, 30.0

FOREVER = 3.0
"""Patience where front-end waits without a bound of its own, until the kernel gives the connection up."""

BROWSING, LOGIN, CART = ["catalogue"], ["login"], ["empty-cart"]
ORDER = ["order", "list-orders", "shipment"]
FILLED = ["fill-cart", "show-cart", *ORDER]


@dataclass(frozen=True)
class Cut:
    """What a cut flow does: the steps that don't work, the first of them of itself, and how that one fails."""

    source: str
    target: str
    broken: list[str]
    how: str
    patience: float = journey.PATIENCE

    @property
    def flow(self) -> str:
        return f"{self.source}-to-{self.target}"


CUTS = [
    Cut("front-end", "catalogue", BROWSING + FILLED, "GET /catalogue: no answer within 3 s", FOREVER),
    # A login asks carts to merge what was chosen before it.
    Cut("front-end", "carts", LOGIN + CART + FILLED, "GET /login: no answer within 3 s", FOREVER),
    Cut("front-end", "orders", ORDER, "POST /orders: no answer within 3 s", FOREVER),
    Cut("front-end", "user", LOGIN + CART + FILLED, "GET /login: no answer within 3 s", FOREVER),
    Cut("front-end", "session-db", LOGIN + CART + FILLED, "GET /login: HTTP 401"),
    # The status is 200: only the list tells.
    Cut(
        "catalogue", "catalogue-db", BROWSING + FILLED, "GET /catalogue: no list of socks: .*database connection error"
    ),
    Cut("user", "user-db", LOGIN + CART + FILLED, "GET /login: HTTP 401"),
    # The login works, though what carts answers to its merging is an error.
    Cut("carts", "carts-db", CART + FILLED, "DELETE /cart: HTTP 500"),
    Cut("orders", "orders-db", ORDER, "POST /orders: HTTP 500"),
    Cut("orders", "user", ORDER, "POST /orders: HTTP 500.*user"),
    Cut("orders", "carts", ORDER, "POST /orders: HTTP 500.*carts"),
    Cut("orders", "payment", ORDER, "POST /orders: HTTP 500.*payment"),
    Cut("orders", "shipping", ORDER, "POST /orders: HTTP 500.*shipping"),
    # Shipping accepts what it can't queue: the order stands, and nobody ever ships it.
    Cut("shipping", "rabbitmq", ["shipment"], "queue-master to log the shipment in vain"),
    Cut("queue-master", "rabbitmq", ["shipment"], "queue-master to log the shipment in vain"),
]


class Shop:
    """The whole shop in a lab, and the means to cut one flow of it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.run = Run("0c0ffee0")
        self._prober = Prober(cluster)
        cluster.apply(application.documents(TOPOLOGY, self.run))
        application.wait_ready(cluster, TOPOLOGY, lambda _: None, 0.0)

    def travel(self, patience: float) -> dict[str, JourneyStep]:
        taken = journey.travel(self.cluster, TOPOLOGY, self.run, Phase.ENFORCED, patience=patience)
        assert taken is not None
        return {step.name: step for step in taken.steps}

    def is_whole(self) -> bool | None:
        return True if all(step.ok for step in self.travel(journey.PATIENCE).values()) else None

    def policy(self, cut: Cut) -> Document:
        """Admit every pod but the source's to the target, on all ports; names are still resolved."""
        others = {"matchExpressions": [{"key": "name", "operator": "NotIn", "values": [cut.source]}]}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": cut.flow, "namespace": NAMESPACE},
            "spec": {
                "podSelector": {"matchLabels": {"name": cut.target}},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": others}]}],
            },
        }

    def restart(self, name: str) -> None:
        """Replace a workload's pod.

        Connections that are established survive a policy, and the shop's services hold theirs open: only a new pod
        has to dial anew. It also forgets that its database was away, which catalogue remembers for half a minute.
        """
        [old] = self.pods(name)
        self.cluster.delete(old)

        def replaced() -> bool | None:
            now = self.pods(name)
            fresh = len(now) == 1 and now[0]["metadata"]["uid"] != old["metadata"]["uid"]
            return True if fresh and is_ready(now[0]) else None

        until(f"a new pod of {name}", replaced, timeout=READY, interval=0.05)

    def pods(self, name: str) -> list[Document]:
        found = self.cluster.list("v1", "Pod", NAMESPACE, f"name={name}")
        return [
            {"apiVersion": "v1", "kind": "Pod", **pod} for pod in found if "deletionTimestamp" not in pod["metadata"]
        ]

    def dial(self, source: str, target: str) -> Sample:
        """A new connection from a workload's own pod to a Service."""
        [workload] = [one for one in TOPOLOGY.workloads if one.name == target]
        port = workload.ports[0]
        service: Any = self.cluster.get("v1", "Service", target, NAMESPACE)
        dial = Dial(service["spec"]["clusterIP"], port.port, Protocol.TCP, port.speaks, Via.SERVICE)
        [pod] = self.pods(source)
        [sample] = self._prober.probe(NAMESPACE, pod["metadata"]["name"], [dial])
        return sample


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with lab() as cluster:
        yield Shop(cluster)


@pytest.fixture
def cut(shop: Shop) -> Iterator[Callable[[Cut], None]]:
    """Cut a flow for the rest of the test, and wait until the shop is whole again after it."""
    done: list[tuple[Cut, Document]] = []

    def apply(one: Cut) -> None:
        [policy] = shop.cluster.apply([shop.policy(one)])
        done.append((one, policy))
        shop.restart(one.source)

    yield apply
    for one, policy in done:
        shop.cluster.delete(policy)
        shop.restart(one.source)
    until("the shop to be whole again", shop.is_whole, timeout=WHOLE_AGAIN)


def test_every_intended_flow_is_cut_here() -> None:
    names = ((flow.source.partition(".")[0], flow.target.partition(".")[0]) for flow in TOPOLOGY.intended)
    intended = {f"{source}-to-{target}" for source, target in names if source != "anyone"}
    assert {cut.flow for cut in CUTS} == intended
    assert len(CUTS) == len(intended) == 15


def test_the_whole_journey(shop: Shop) -> None:
    assert {step.name: step.detail for step in shop.travel(journey.PATIENCE).values() if not step.ok} == {}


@pytest.mark.parametrize("wanted", CUTS, ids=lambda cut: cut.flow)
def test_cut(shop: Shop, cut: Callable[[Cut], None], wanted: Cut) -> None:
    cut(wanted)
    with shop.cluster.workers(1) as pool:
        # A dial that is dropped takes its time, so it has it during the journey.
        dialled = pool.submit(shop.dial, wanted.source, wanted.target)
        steps = shop.travel(wanted.patience)
    assert dialled.result().outcome is Outcome.DROPPED
    broken = [name for name, step in steps.items() if not step.ok]
    assert broken == wanted.broken, {name: step.detail for name, step in steps.items()}
    first, *rest = broken
    assert re.search(wanted.how, steps[first].detail), steps[first].detail
    assert all(steps[name].detail.startswith("not tried without") for name in rest)
