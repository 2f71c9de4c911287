"""The shop's stand-ins together: the journey that proves the shop works, and what a cut dependency does to it."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from functools import partial

import pytest

from lateral.lab.images.standin import CrashError

from .browser import Browser
from .loopback import STANDINS, Loopback

NERD_LEG = "a0a4f044-b040-410d-8ead-4de0446aec7e"
CUSTOMER = "57a98d98e4b00679b4a830b2"
LOGIN = "user:password"
BACKENDS = {"catalogue", "carts", "orders", "user", "shipping", "queue-master", "payment"}

Eventually = Callable[[Callable[[], bool]], None]


def _start(loopback: Loopback, eventually: Eventually, *, without: str | None = None) -> Browser:
    """The whole shop but one, once everybody has found whom it depends on."""
    loopback.start(*(name for name in STANDINS if name != without))
    if without:
        loopback.cut(without)
    for name in BACKENDS - {without}:
        eventually(partial(_is_well, Browser(loopback.address(name)), without))
    browser = Browser(loopback.address("front-end"))
    if without != "session-db":
        eventually(partial(_has_session, browser))
    return browser


def _is_well(backend: Browser, without: str | None) -> bool:
    parts = backend.get("/health").body["health"]
    return all(part["status"] == "OK" for part in parts if without is None or not part["service"].endswith(without))


def _has_session(browser: Browser) -> bool:
    """Asking is what starts one, once front-end has its Redis."""
    browser.get("/tags")
    return "md.sid" in browser.cookies


def _log_in(browser: Browser) -> None:
    assert browser.get("/login", login=LOGIN).status == 200


def test_the_whole_journey(loopback: Loopback, eventually: Eventually, capfd: pytest.CaptureFixture[str]) -> None:
    """All eight steps pass, with the published status codes, and the shipping task reaches queue-master."""
    browser = _start(loopback, eventually)
    listed = browser.get("/catalogue")
    assert (listed.status, len(listed.body)) == (200, 9)
    login = browser.get("/login", login=LOGIN)
    assert login.status == 200
    assert {"logged_in", "md.sid"} <= set(browser.cookies)
    assert browser.ask("DELETE", "/cart").status == 202
    assert browser.ask("POST", "/cart", {"id": NERD_LEG}).status == 201
    cart = browser.get("/cart")
    assert cart.status == 200
    assert [(item["itemId"], item["quantity"], item["unitPrice"]) for item in cart.body] == [(NERD_LEG, 1, 7.99)]
    ordered = browser.ask("POST", "/orders")
    assert ordered.status == 201
    assert ordered.body["total"] == pytest.approx(7.99 + 4.99)
    assert ordered.body["items"][0]["itemId"] == NERD_LEG
    assert ordered.body["customerId"] == CUSTOMER
    history = browser.get("/orders")
    assert history.status == 201
    assert ordered.body["id"] in [order["id"] for order in history.body]
    assert len(browser.get("/cart").body) == 1, "orders do not empty the cart"
    printed: list[str] = []

    def shipped() -> bool:
        printed.append(capfd.readouterr().out)
        return f"Received shipment task: {CUSTOMER}" in "".join(printed)

    eventually(shipped)


def test_every_card_is_shown_without_a_login(loopback: Loopback, eventually: Eventually) -> None:
    """GET /cards through front-end gives all four cards, whole."""
    cards = _start(loopback, eventually).get("/cards").body["_embedded"]["card"]
    assert {card["longNum"] for card in cards} == {
        "5953580604169678",
        "5544154011345918",
        "0908415193175205",
        "5429804235432",
    }


@pytest.mark.parametrize("login", ["user:wrong", "nobody:password", None])
def test_a_bad_login_is_401(loopback: Loopback, eventually: Eventually, login: str | None) -> None:
    """Only a customer's name with that customer's password logs in."""
    assert _start(loopback, eventually).get("/login", login=login).status == 401


@pytest.mark.parametrize("down", ["user-db", "user"])
def test_login_without_its_backend_is_401(loopback: Loopback, eventually: Eventually, down: str) -> None:
    """A login that can't be checked is refused, and the catalogue still works."""
    browser = _start(loopback, eventually, without=down)
    assert browser.get("/login", login=LOGIN).status == 401
    assert len(browser.get("/catalogue").body) == 9


def test_login_without_sessions_is_401(loopback: Loopback, eventually: Eventually) -> None:
    """Without Redis nobody can be logged in, and nothing else falls over."""
    browser = _start(loopback, eventually, without="session-db")
    assert browser.get("/login", login=LOGIN).status == 401
    assert len(browser.get("/catalogue").body) == 9


def test_catalogue_db_down_puts_an_empty_item_in_the_cart(loopback: Loopback, eventually: Eventually) -> None:
    """Front-end hides the failure: the list is an error with status 200, and an order costs its shipping only."""
    browser = _start(loopback, eventually, without="catalogue-db")
    listed = browser.get("/catalogue")
    assert (listed.status, type(listed.body)) == (200, dict)
    _log_in(browser)
    assert browser.ask("POST", "/cart", {"id": NERD_LEG}).status == 201
    assert browser.ask("POST", "/orders").body["total"] == pytest.approx(4.99)


@pytest.mark.parametrize("down", ["carts-db", "carts"])
def test_carts_down_breaks_the_cart(loopback: Loopback, eventually: Eventually, down: str) -> None:
    """Logging in works, putting something into the cart doesn't."""
    browser = _start(loopback, eventually, without=down)
    _log_in(browser)
    assert browser.ask("POST", "/cart", {"id": NERD_LEG}).status == 500


@pytest.mark.parametrize("down", ["orders-db", "orders", "payment", "shipping"])
def test_an_order_fails_without_its_parts(loopback: Loopback, eventually: Eventually, down: str) -> None:
    """Everything up to the cart works; the order is an error page."""
    browser = _start(loopback, eventually, without=down)
    _log_in(browser)
    assert browser.ask("POST", "/cart", {"id": NERD_LEG}).status == 201
    assert browser.ask("POST", "/orders").status == 500


def test_an_order_succeeds_without_rabbitmq(loopback: Loopback, eventually: Eventually) -> None:
    """Shipping accepts what it can't queue: only queue-master's silence tells."""
    browser = _start(loopback, eventually, without="rabbitmq")
    _log_in(browser)
    assert browser.ask("POST", "/cart", {"id": NERD_LEG}).status == 201
    assert browser.ask("POST", "/orders").status == 201


def test_a_cart_is_changed(loopback: Loopback, eventually: Eventually) -> None:
    """More or fewer of a kind, and none at all; the price comes from the catalogue."""
    browser = _start(loopback, eventually)
    _log_in(browser)
    browser.ask("DELETE", "/cart")
    assert browser.ask("POST", "/cart", {"id": NERD_LEG}).status == 201
    assert browser.ask("POST", "/cart/update", {"id": NERD_LEG, "quantity": "3"}).status == 202
    assert [(item["quantity"], item["unitPrice"]) for item in browser.get("/cart").body] == [(3, 7.99)]
    assert browser.ask("POST", "/cart/update", {"id": NERD_LEG}).status == 500
    assert browser.ask("DELETE", f"/cart/{NERD_LEG}").status == 202
    assert browser.get("/cart").body == []


def test_a_customer_sees_where_an_order_goes(loopback: Loopback, eventually: Eventually) -> None:
    """Card and address are the customer's own; a stranger has none."""
    browser = _start(loopback, eventually)
    assert browser.get("/card").body == {"status_code": 500}
    _log_in(browser)
    assert browser.get("/card").body == {"number": "5918"}
    assert browser.get("/address").body["postcode"] == "G67 3DL"


def test_payment_declines_more_than_100(loopback: Loopback, eventually: Eventually) -> None:
    """Orders answers 406, which front-end hands on."""
    browser = _start(loopback, eventually)
    _log_in(browser)
    holy = "03fef6ac-1896-4ce8-bd69-b798f85c6e0b"
    assert browser.ask("POST", "/cart", {"id": holy}).status == 201
    declined = browser.ask("POST", "/orders")
    assert declined.status == 406
    assert "exceeds 100" in declined.body["message"]


@pytest.mark.parametrize(
    ("down", "method", "path", "body"),
    [
        ("catalogue", "POST", "/cart", {"id": NERD_LEG}),
        ("orders-db", "GET", "/orders", None),
        ("user-db", "POST", "/orders", None),
    ],
)
def test_front_end_crashes_where_the_original_does(
    loopback: Loopback, eventually: Eventually, down: str, method: str, path: str, body: object
) -> None:
    """An answer it doesn't expect ends the process, and the browser's connection with it."""
    browser = _start(loopback, eventually)
    _log_in(browser)
    loopback.stop(down)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        browser.ask(method, path, body)
    assert isinstance(loopback.crash_of("front-end"), CrashError)


def test_health_names_the_dependency_that_is_down(loopback: Loopback, eventually: Eventually) -> None:
    """/health is 200 whatever happens, and says what is broken."""
    loopback.start("user", "user-db")
    backend = Browser(loopback.address("user"))

    def statuses() -> dict[str, str]:
        page = backend.get("/health")
        assert page.status == 200
        return {part["service"]: part["status"] for part in page.body["health"]}

    eventually(lambda: statuses() == {"user": "OK", "user-db": "OK"})
    loopback.stop("user-db")
    eventually(lambda: statuses() == {"user": "OK", "user-db": "err"})


def test_a_silent_dependency_does_not_make_its_user_look_dead(loopback: Loopback) -> None:
    """/health answers within the kubelet's patience although the database accepts and then says nothing."""
    loopback.start("user")
    page = Browser(loopback.address("user")).ask("GET", "/health", seconds=2)
    assert page.status == 200
    assert [part["status"] for part in page.body["health"]] == ["OK", "err"]


def test_shipping_accepts_while_the_broker_is_silent(loopback: Loopback) -> None:
    """201 comes before orders would give up, which is after 5 s."""
    loopback.start("shipping")
    page = Browser(loopback.address("shipping")).ask("POST", "/shipping", {"id": "1", "name": "x"}, seconds=4)
    assert page.status == 201


def test_the_journey_may_start_before_connections_are_up(loopback: Loopback) -> None:
    """A dependency that came after its user is dialled when it is needed, not only when its turn comes."""
    databases = {"session-db", "user-db", "carts-db", "orders-db", "catalogue-db"}
    loopback.start(*(set(STANDINS) - databases))
    loopback.start(*databases)
    browser = Browser(loopback.address("front-end"))
    _log_in(browser)
    assert browser.ask("POST", "/cart", {"id": NERD_LEG}).status == 201
    assert browser.ask("POST", "/orders").status == 201


def test_the_front_page_is_static_and_whole(loopback: Loopback) -> None:
    """GET / needs no other service, and the page fetches nothing from elsewhere: a policy even forbids it to."""
    loopback.start("front-end")
    page = Browser(loopback.address("front-end")).get("/")
    assert page.status == 200
    assert set(re.findall(r"https?://[^'\"<>\s]+", page.text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|script|img|iframe)[^>]+(src|href)=(?!\"data:)", page.text)
    policy = {part.split()[0]: part.split()[1:] for part in page.headers["Content-Security-Policy"].split(";")}
    assert policy["default-src"] == ["'none'"]
    assert policy["connect-src"] == ["'self'"]
