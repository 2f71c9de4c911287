"""The journey's steps: what each demands of its answer, what it needs, and that it never raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lateral import application, journey
from lateral import topology as topologies
from lateral.model import Journey, Phase
from lateral.resources import Run

from .simulated import SimulatedApi, simulated
from .simulated_shop import CUSTOMER, SOCK

if TYPE_CHECKING:
    from lateral.cluster import Cluster

TOPOLOGY = topologies.load("sock-shop")
STEPS = ("catalogue", "login", "empty-cart", "fill-cart", "show-cart", "order", "list-orders", "shipment")
ORDER = {"id": "o1", "customerId": CUSTOMER, "total": 12.98, "items": [SOCK]}


@pytest.fixture
def shop() -> tuple[Cluster, SimulatedApi]:
    cluster, api = simulated()
    cluster.apply(application.documents(TOPOLOGY, Run("1f2e3d4c")))
    return cluster, api


def travel(cluster: Cluster) -> Journey:
    taken = journey.travel(cluster, TOPOLOGY, Run("1f2e3d4c"), Phase.BASELINE, patience=0.2)
    assert taken is not None
    return taken


def failed(taken: Journey) -> dict[str, str]:
    return {step.name: step.detail for step in taken.steps if not step.ok}


def test_a_working_shop(shop: tuple[Cluster, SimulatedApi]) -> None:
    """Eight steps, the login's cookies in all that follow, and the pods as they were."""
    cluster, api = shop
    taken = travel(cluster)
    assert tuple(step.name for step in taken.steps) == STEPS == journey.steps(TOPOLOGY)
    assert failed(taken) == {}
    assert api.shop.cookies == ["md.sid=s%3As1.x; logged_in=s1"] * 5
    assert len(taken.pods) == 14
    assert all(pod.ready and pod.restarts == 0 for pod in taken.pods)


@pytest.mark.parametrize(
    ("request_", "answer", "step", "complaint", "untried"),
    [
        ("GET /catalogue", (200, {"error": "database connection error"}), 0, "no list of socks", STEPS[3:]),
        ("GET /catalogue", (200, [{}] * 8), 0, "no list of socks: a list of 8", STEPS[3:]),
        ("GET /login", (401, ""), 1, "HTTP 401 instead of 200", STEPS[2:]),
        ("DELETE /cart", (500, {"status": 500}), 2, "HTTP 500 instead of 202", STEPS[3:]),
        ("POST /cart", (500, {}), 3, "HTTP 500 instead of 201", STEPS[4:]),
        ("GET /cart", (200, []), 4, "not the one sock: a list of 0", STEPS[5:]),
        ("GET /cart", (200, [{**SOCK, "unitPrice": 0.0}]), 4, "not the one sock", STEPS[5:]),
        ("POST /orders", (500, {"message": "no answer"}), 5, "HTTP 500 instead of 201", STEPS[6:]),
        ("POST /orders", (201, {**ORDER, "total": 4.99}), 5, "at 12.98", STEPS[6:]),
        ("POST /orders", (201, {**ORDER, "customerId": "another"}), 5, "not one sock for", STEPS[6:]),
        ("POST /orders", (201, {**ORDER, "items": []}), 5, "not one sock for", STEPS[6:]),
        ("GET /orders", (201, []), 6, "is missing: a list of 0", ()),
        ("GET /orders", (200, [ORDER]), 6, "HTTP 200 instead of 201", ()),
    ],
)
def test_a_step_that_fails(
    shop: tuple[Cluster, SimulatedApi],
    request_: str,
    answer: tuple[int, Any],
    step: int,
    complaint: str,
    untried: tuple[str, ...],
) -> None:
    """The step says what was wrong; only what needs it isn't tried, as that would crash parts of the real shop."""
    cluster, api = shop
    api.shop.answers[request_] = answer
    broken = failed(travel(cluster))
    assert set(broken) == {STEPS[step], *untried}
    assert complaint in broken[STEPS[step]]
    assert all(broken[name].startswith("not tried without") for name in untried)


def test_a_shipment_that_never_comes(shop: tuple[Cluster, SimulatedApi]) -> None:
    """An order whose task doesn't reach queue-master fails the last step, and an earlier order's task doesn't count."""
    cluster, api = shop
    assert failed(travel(cluster)) == {}
    api.shop.ships = False
    assert failed(travel(cluster)) == {"shipment": "waited 0.2 s for queue-master to log the shipment in vain"}


def test_no_card_is_quoted(shop: tuple[Cluster, SimulatedApi]) -> None:
    """What a step complains of shows no card that an answer held."""
    cluster, api = shop
    api.shop.answers["POST /orders"] = (201, {**ORDER, "total": 1.0, "card": {"longNum": "5544154011345918"}})
    assert "5544154011345918" not in failed(travel(cluster))["order"]


def test_an_entry_point_that_is_not_ready(shop: tuple[Cluster, SimulatedApi]) -> None:
    """Without a ready pod nothing is asked, and that is said."""
    cluster, api = shop
    [pod] = [one for one in api.pods() if one["metadata"]["name"].startswith("front-end-")]
    pod["status"]["conditions"][0]["status"] = "False"
    assert failed(travel(cluster))["catalogue"] == "no ready pod of front-end"
    assert api.shop.asked == []
