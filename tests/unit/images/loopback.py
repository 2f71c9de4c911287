"""Stand-ins on loopback: each in a thread and loop of its own, at a port of its own, ended with the test."""

from __future__ import annotations

import asyncio
import socket
import threading

from lateral.lab.images import (
    carts,
    catalogue,
    catalogue_db,
    front_end,
    mongo,
    mongo_server,
    orders,
    payment,
    queue_master,
    rabbitmq,
    rabbitmq_exporter,
    session_db,
    shipping,
    user,
    user_db,
)
from lateral.lab.images.standin import Address, Serve, Site

_SECONDS = 10.0

STANDINS: dict[str, tuple[Serve, tuple[int, ...]]] = {
    "front-end": (front_end.run, (8079,)),
    "catalogue": (catalogue.run, (80,)),
    "catalogue-db": (catalogue_db.serve, (3306,)),
    "user": (user.run, (80,)),
    "user-db": (user_db.serve, (27017,)),
    "carts": (carts.run, (80,)),
    "carts-db": (lambda site: mongo.serve(site, mongo_server.V4_4), (27017,)),
    "orders": (orders.run, (80,)),
    "orders-db": (lambda site: mongo.serve(site, mongo_server.V4_4), (27017,)),
    "payment": (payment.run, (80,)),
    "shipping": (shipping.run, (80,)),
    "queue-master": (queue_master.run, (80,)),
    "rabbitmq": (rabbitmq.run, (5672, 15672)),
    "session-db": (session_db.serve, (6379,)),
    "rabbitmq-exporter": (rabbitmq_exporter.run, (9090,)),
}


class Running:
    """One stand-in, until `stop`. `crash` is what it died of."""

    def __init__(self, serve: Serve, site: Site) -> None:
        self.crash: Exception | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(serve, site))
        self._thread.start()

    def stop(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel)
        self.wait()

    def wait(self) -> None:
        self._thread.join(_SECONDS)
        assert not self._thread.is_alive(), "the stand-in does not end"

    def _cancel(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def _run(self, serve: Serve, site: Site) -> None:
        async def main() -> None:
            await serve(site)

        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(main())
        except asyncio.CancelledError:
            pass
        except Exception as error:
            self.crash = error


class Loopback:
    """The shop's network: every stand-in's ports exist from the start, and those that run answer."""

    def __init__(self) -> None:
        self._sockets = {
            name: {port: socket.create_server(("127.0.0.1", 0), backlog=64) for port in ports}
            for name, (_, ports) in STANDINS.items()
        }
        self._running: dict[str, Running] = {}

    def address(self, name: str, port: int | None = None) -> Address:
        """Where a stand-in's (first) published port is."""
        sockets = self._sockets[name]
        host, number = (sockets[port] if port else next(iter(sockets.values()))).getsockname()
        return host, number

    def start(self, *names: str) -> None:
        peers = {name: self.address(name) for name in STANDINS}
        management = "http://{}:{}".format(*self.address("rabbitmq", 15672))
        for name in names:
            site = Site(
                env={"PUBLISH_PORT": "9090", "RABBIT_URL": management}, sockets=self._sockets[name], peers=peers
            )
            self._running[name] = Running(STANDINS[name][0], site)

    def stop(self, name: str) -> None:
        """End a stand-in: its connections break, its port refuses."""
        self._running.pop(name).stop()
        self._close(name)

    def cut(self, name: str) -> None:
        """Let nothing answer on a stand-in's port, that isn't running, any more."""
        self._close(name)

    def crash_of(self, name: str) -> Exception | None:
        """What a stand-in died of; waits for its end. Whoever doesn't ask expects none."""
        running = self._running.pop(name)
        running.wait()
        return running.crash

    def close(self) -> None:
        for running in self._running.values():
            running.stop()
        for name in self._sockets:
            self._close(name)
        crashes = {name: running.crash for name, running in self._running.items() if running.crash}
        assert not crashes, f"stand-ins died unexpectedly: {crashes}"

    def _close(self, name: str) -> None:
        for listening in self._sockets[name].values():
            listening.close()
