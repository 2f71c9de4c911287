"""The shop's front page, as a person uses it in a browser, by way of the API's port-forward."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.lab.browser import Tab, found, tab

from lateral import application, policy, topology
from lateral.cli.forwarding import forwarded
from lateral.providers.lab import lab
from lateral.resources import Run

TOPOLOGY = topology.load("sock-shop")
FRONT_END = next(workload for workload in TOPOLOGY.workloads if workload.name == "front-end")
NERD_LEG = "a0a4f044-b040-410d-8ead-4de0446aec7e"
SOCKS = "document.querySelectorAll('.sock').length"


@pytest.fixture(scope="module")
def program() -> str:
    program = found()
    if program is None:
        pytest.skip("no Chromium or Chrome is installed here: the front page is tried in one where there is")
    return program


@pytest.fixture(scope="module", params=["none", "tutorial", "kubernetes"])
def address(program: str, request: pytest.FixtureRequest) -> Iterator[str]:  # noqa: ARG001  (no lab for nothing)
    """Where the front page of a shop in a lab is, under each set of policies."""
    run = Run("0c0ffee1")
    with lab() as cluster:
        cluster.apply(application.documents(TOPOLOGY, run))
        application.wait_ready(cluster, TOPOLOGY, lambda _: None, 0.0)
        policy.apply(cluster, policy.load_policies(request.param, TOPOLOGY), run)
        with forwarded(cluster, TOPOLOGY.namespace, FRONT_END.labels, FRONT_END.ports[0].pod_port) as port:
            yield f"http://127.0.0.1:{port}"


@pytest.fixture
def page(program: str, address: str) -> Iterator[Tab]:
    """The page in a browser without a past; at the end it has complained of nothing and fetched from nowhere else."""
    with tab(program) as opened:
        opened.open(f"{address}/")
        opened.until(f"{SOCKS} === 9 && document.getElementById('no-orders').innerText")
        yield opened
        assert opened.complaints == []
        assert [request for request in opened.requests if not request.startswith((address, "data:"))] == []


def count(page: Tab, wanted: int) -> None:
    page.until(f"document.getElementById('count').innerText === '{wanted}'")


def log_in(page: Tab, password: str, name: str = "user") -> None:
    page.type("#username", name)
    page.type("#password", password)
    page.click("#login-send")


def test_socks_are_browsed_without_a_login(page: Tab) -> None:
    """Nine socks with pictures and prices, chosen by tag and sorted by price."""
    assert page.evaluate("[...document.querySelectorAll('.sock .stage svg')].every(svg => svg.getBBox().width > 50)")
    assert "$7.99" in page.text(f"[data-sock='{NERD_LEG}']")
    page.evaluate("[...document.querySelectorAll('.chip')].find(chip => chip.innerText === 'skin').click()")
    page.until(f"{SOCKS} === 1")
    assert "Nerd leg" in page.text("#socks")
    page.evaluate("document.querySelector('.chip').click()")
    page.type("#sort", "price")
    page.evaluate("document.getElementById('sort').dispatchEvent(new Event('change'))")
    page.until("document.querySelector('.sock h3').innerText === 'Nerd leg'")


def test_a_cart_is_filled_before_and_ordered_after_the_login(page: Tab) -> None:
    """What was chosen before the login is bought after it, for the socks' price and the shipping."""
    page.click(f"[data-sock='{NERD_LEG}'] button")
    count(page, 1)
    page.click("#open-cart")
    page.click(f"[data-item='{NERD_LEG}'] [aria-label='One Nerd leg more']")
    count(page, 2)
    assert (page.text("#subtotal"), page.text("#shipping"), page.text("#total")) == ("$15.98", "$4.99", "$20.97")
    page.click(f"[data-item='{NERD_LEG}'] [aria-label='One Nerd leg less']")
    count(page, 1)
    page.click("#order")
    page.until("document.getElementById('login').open")
    log_in(page, "wrong")
    page.until("!document.getElementById('login-trouble').hidden")
    assert "(401)" in page.text("#login-trouble")
    log_in(page, "password")
    page.until("document.getElementById('who').innerText === 'Hello, user'")
    count(page, 1)
    page.click("#open-cart")
    page.until("!document.getElementById('destination').hidden")
    assert page.text("#destination") == "To 246 Whitelees Road, Glasgow, G67 3DL; paid by the card ending in 5918."
    page.click("#order")
    page.until("document.querySelectorAll('#order-list li').length === 1")
    assert page.text("#order-list .sum") == "$12.98"
    assert "1 \N{MULTIPLICATION SIGN} Nerd leg" in page.text("#order-list")
    count(page, 0)
    page.evaluate("location.reload()")
    page.until("document.querySelectorAll('#order-list li').length === 1")
    page.click("#leave")
    page.until("document.querySelectorAll('#order-list li').length === 0")
    assert page.text("#enter") == "Log in"


def test_what_the_shop_refuses_is_said(page: Tab) -> None:
    """Payment declines more than 100: the cart says so, and keeps what is in it."""
    page.click("#enter")
    log_in(page, "password", "user1")
    page.until("document.getElementById('who').innerText === 'Hello, user1'")
    page.click("[data-sock='03fef6ac-1896-4ce8-bd69-b798f85c6e0b'] button")
    count(page, 1)
    page.click("#open-cart")
    page.click("#order")
    page.until("!document.getElementById('order-trouble').hidden")
    assert "answered 406: Payment declined" in page.text("#order-trouble")
    count(page, 1)
