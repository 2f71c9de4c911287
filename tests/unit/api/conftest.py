"""A server for each test, pods in it, and something to connect to."""

from __future__ import annotations

import gc
import socketserver
import threading
from collections.abc import Iterator

import pytest

from .documents import pod
from .served import Served, serve


@pytest.fixture
def served() -> Iterator[Served]:
    with serve() as running:
        yield running
    gc.collect()  # what a client left behind is this test's affair


@pytest.fixture
def with_pod(served: Served) -> Served:
    side = {"name": "side", "image": "side:1"}
    spec = {**pod()["spec"], "nodeName": "lab-node"}

    def create() -> None:
        meta = {"name": "web", "namespace": "shop"}
        served.store.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        two = {**spec, "containers": [*spec["containers"], side]}
        served.store.create({"apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "name": "two"}, "spec": two})
        unbound = pod("unbound")
        unbound["metadata"]["namespace"] = "shop"
        served.store.create({"apiVersion": "v1", "kind": "Pod", **unbound})

    served.within(create)
    return served


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets, and closes after `bye`."""

    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)
            if data.endswith(b"bye"):
                return


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 64  # with fewer, many connections at once are a matter of luck


@pytest.fixture
def echo() -> Iterator[int]:
    with Server(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(10)
