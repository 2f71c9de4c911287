"""What the kubelet's probes say of a source's network."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lateral import attacker
from lateral.errors import ClusterError
from lateral.foothold import Foothold
from lateral.model import Source, SourceKind
from lateral.placement import pod_spec
from lateral.reachability import link
from lateral.resources import Run
from lateral.topology import Topology, load

SOURCE = Source("carts-db", "sock-shop", SourceKind.TWIN, {})
ASKED = {"tcpSocket": {"port": 7219}}
PROBES: dict[str, Any] = {"startupProbe": ASKED, "livenessProbe": ASKED}
CROWDED = """
application: shop
namespace: shop
workloads:
  - name: db
    labels: {app: db}
    ports: [{port: 7219, speaks: tcp}, {port: 80, podPort: 7220, speaks: http}, {port: 7221, speaks: tcp}]
"""
GET = {"httpGet": {"port": 15020}}


def pod(uid: str = "1", started: bool | None = True, restarts: int = 0, **probes: Any) -> dict[str, Any]:
    statuses = [] if started is None else [{"name": "rogue", "started": started, "restartCount": restarts}]
    return {
        "metadata": {"name": "twin-carts-db", "namespace": "sock-shop", "uid": uid},
        "spec": {"containers": [{"name": "rogue", **probes}]},
        "status": {"containerStatuses": statuses},
    }


class Pods:
    """One pod, as the API has it now; what it says may be an error."""

    def __init__(self, now: dict[str, Any] | ClusterError | None) -> None:
        self._now = now

    @contextmanager
    def workers(self, count: int) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(count) as pool:
            yield pool

    def get(self, version: str, kind: str, name: str, namespace: str) -> Any:
        assert (version, kind, name, namespace) == ("v1", "Pod", "twin-carts-db", "sock-shop")
        if isinstance(self._now, ClusterError):
            raise self._now
        return self._now


@pytest.mark.parametrize(
    ("now", "trouble"),
    [
        pytest.param(pod(**PROBES), "", id="reached"),
        pytest.param(pod(started=False, **PROBES), "has not connected", id="never reached"),
        pytest.param(pod(started=False, restarts=1, **PROBES), "ceased to reach it", id="reached no more"),
        pytest.param(pod(restarts=1, **PROBES), "ceased to reach it", id="reached again, but not throughout"),
        pytest.param(pod(started=None, **PROBES), "has not connected", id="not yet told"),
        pytest.param(pod(), "changed the probes", id="started as whoever isn't asked"),
        pytest.param(pod(startupProbe=GET, livenessProbe=ASKED), "changed the probes", id="asked a sidecar instead"),
        pytest.param(pod(startupProbe=ASKED), "changed the probes", id="asked no more"),
        pytest.param(pod(uid="2", **PROBES), "its pod is gone", id="another pod"),
        pytest.param(None, "its pod is gone", id="no pod"),
        pytest.param(ClusterError("refused (403)"), "can't be looked at: refused (403)", id="no answer"),
    ],
)
def test_the_node_must_have_connected(now: dict[str, Any] | ClusterError | None, trouble: str) -> None:
    """A container that is asked nothing has `started` as well, and shows nothing."""
    [found] = link.take(Pods(now), [Foothold(SOURCE, pod())], 1).values()  # type: ignore[arg-type]
    assert trouble in found
    assert bool(trouble) is bool(found)


def asked(topology: Topology) -> dict[str, dict[str, Any]]:
    """The containers of sources that are asked, by their objects' names: of first pods, and of further ones."""
    run, found = Run("1"), {}
    further = attacker.further(topology, run, {one.key: ("b",) for one in topology.sources()}, asked=True)
    for one in (*attacker.documents(topology, run, asked=True), *further):
        for container in (pod_spec(one) or {}).get("containers", ()):
            if "startupProbe" in container:
                found[one["metadata"]["name"]] = container
    return found


def test_only_who_may_dial_nothing_is_asked() -> None:
    """By its node alone: the port is none of the application's, and what says nothing of policies ends no pod."""
    found = asked(load("sock-shop"))
    assert {"rogue-1", "rogue-1-2", "twin-payment-1", "twin-payment-1-2", "twin-carts-db-1"} <= found.keys()
    assert not {"twin-front-end-1", "twin-carts-1", "spoof-1", "listener"} & found.keys()
    [port] = {container[kind]["tcpSocket"]["port"] for container in found.values() for kind in PROBES}
    assert all(container["command"][-1] == str(port) for container in found.values())
    assert all(container["startupProbe"]["failureThreshold"] > 3600 for container in found.values())


def test_the_port_is_none_of_the_applications(tmp_path: Path) -> None:
    """Some applications find their own pods by labels, and would take a twin for one that serves."""
    file = tmp_path / "topology.yaml"
    file.write_text(CROWDED)
    ports = {container["startupProbe"]["tcpSocket"]["port"] for container in asked(load(file)).values()}
    assert len(ports) == 1
    assert not ports & {7219, 7220, 7221}
