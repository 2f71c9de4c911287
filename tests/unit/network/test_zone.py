"""The cluster's DNS records and the answers made from them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from dnslib import QTYPE, RCODE, DNSRecord

from lateral.lab.images.coredns import Responder
from lateral.lab.images.coredns import Zone as ZoneFile
from lateral.lab.network.zone import Records, Zone, render
from lateral.lab.store import Store


def service(name: str, ip: str, *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": ip, "ports": list(ports), **spec},
    }


def slice_of(service: str, ports: list[dict[str, Any]], *endpoints: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
        "ports": ports,
        "endpoints": list(endpoints),
    }


def pod(name: str, ip: str, phase: str = "Running", **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
        "status": {"podIP": ip, "phase": phase},
    }


def endpoint(ip: str, *, ready: bool = True, **more: Any) -> dict[str, Any]:
    return {"addresses": [ip], "conditions": {"ready": ready}, **more}


HTTP = {"name": "http", "port": 80, "protocol": "TCP"}
NAMESPACE = {"kind": "Namespace", "metadata": {"name": "shop"}}
SHOP = {
    "services": [service("web", "10.102.0.7", HTTP), service("db", "None", {"name": "sql", "port": 3306})],
    "slices": [
        slice_of(
            "db",
            [{"name": "sql", "port": 3306, "protocol": "TCP"}],
            endpoint("10.101.0.1", targetRef={"kind": "Pod", "name": "db-0"}),
            endpoint("10.101.0.2"),
            endpoint("10.101.0.3", ready=False),
        )
    ],
    "pods": [pod("db-0", "10.101.0.1", hostname="first", subdomain="db"), pod("done", "10.101.0.9", "Succeeded")],
    "namespaces": [NAMESPACE, {"kind": "Namespace", "metadata": {"name": "empty"}}],
}


def records(**changes: Any) -> Records:
    return render(**{**SHOP, **changes})


@pytest.mark.parametrize(
    ("name", "type_", "values"),
    [
        pytest.param("web.shop.svc.cluster.local", "A", ["10.102.0.7"], id="a Service by its cluster IP"),
        pytest.param("db.shop.svc.cluster.local", "A", ["10.101.0.1", "10.101.0.2"], id="headless by its ready pods"),
        pytest.param("first.db.shop.svc.cluster.local", "A", ["10.101.0.1"], id="a headless pod by its hostname"),
        pytest.param("10-101-0-2.db.shop.svc.cluster.local", "A", ["10.101.0.2"], id="and by address without one"),
        pytest.param("10-101-0-1.shop.pod.cluster.local", "A", ["10.101.0.1"], id="a pod by its address"),
        pytest.param(
            "_http._tcp.web.shop.svc.cluster.local", "SRV", [[80, "web.shop.svc.cluster.local"]], id="a named port"
        ),
        pytest.param(
            "_sql._tcp.db.shop.svc.cluster.local",
            "SRV",
            [[3306, "first.db.shop.svc.cluster.local"], [3306, "10-101-0-2.db.shop.svc.cluster.local"]],
            id="a named port of a headless Service",
        ),
        pytest.param("7.0.102.10.in-addr.arpa", "PTR", ["web.shop.svc.cluster.local"], id="a cluster IP's name"),
        pytest.param("1.0.101.10.in-addr.arpa", "PTR", ["first.db.shop.svc.cluster.local"], id="an endpoint's name"),
    ],
)
def test_record(name: str, type_: str, values: list[Any]) -> None:
    assert records()[name][type_] == values


def test_endpoints_that_are_not_ready_are_named_where_the_service_wants_it() -> None:
    services = [service("db", "None", publishNotReadyAddresses=True)]
    assert "10.101.0.3" in records(services=services)["db.shop.svc.cluster.local"]["A"]


def test_pods_that_have_ended_have_no_name() -> None:
    assert "10-101-0-9.shop.pod.cluster.local" not in records()


@pytest.fixture
def responder(tmp_path: Path) -> Responder:
    many = slice_of("many", [], *(endpoint(f"10.101.1.{at}") for at in range(100)))
    listed = records(services=[*SHOP["services"], service("many", "None")], slices=[*SHOP["slices"], many])
    (tmp_path / "zone.json").write_text(json.dumps({"serial": 42, "records": listed}))
    return Responder(ZoneFile(tmp_path / "zone.json"))


def resolve(responder: Responder, name: str, type_: str = "A", *, stream: bool = False) -> Any:
    answer = responder.answer(DNSRecord.question(name, type_).pack(), stream=stream)
    assert answer is not None
    return DNSRecord.parse(answer)


def test_answer_holds_the_address_and_the_question(responder: Responder) -> None:
    reply = resolve(responder, "WEB.shop.svc.cluster.local")
    assert (reply.header.rcode, reply.header.aa) == (RCODE.NOERROR, 1)
    assert [str(rr.rdata) for rr in reply.rr] == ["10.102.0.7"]
    assert str(reply.q.qname) == "WEB.shop.svc.cluster.local."


@pytest.mark.parametrize(
    ("name", "type_", "rcode"),
    [
        pytest.param("web.shop.svc.cluster.local", "AAAA", RCODE.NOERROR, id="no IPv6 for a name that exists"),
        pytest.param("shop.svc.cluster.local", "A", RCODE.NOERROR, id="a namespace is no NXDOMAIN"),
        pytest.param("empty.svc.cluster.local", "A", RCODE.NOERROR, id="not even without Services"),
        pytest.param("_tcp.web.shop.svc.cluster.local", "SRV", RCODE.NOERROR, id="what lies between names"),
        pytest.param("nothing.shop.svc.cluster.local", "A", RCODE.NXDOMAIN, id="an unknown Service"),
        pytest.param("web.shop.svc.cluster.local.shop.svc.cluster.local", "A", RCODE.NXDOMAIN, id="a search domain"),
    ],
)
def test_negative_answers_name_the_zone(responder: Responder, name: str, type_: str, rcode: int) -> None:
    reply = resolve(responder, name, type_)
    assert (reply.header.rcode, reply.rr) == (rcode, [])
    assert [QTYPE.get(rr.rtype) for rr in reply.auth] == ["SOA"]
    assert reply.auth[0].rdata.times[0] == 42


@pytest.mark.parametrize("name", ["example.com", "local", "9.9.9.9.in-addr.arpa", "xcluster.local"])
def test_names_outside_of_the_cluster_do_not_exist(responder: Responder, name: str) -> None:
    reply = resolve(responder, name)
    assert (reply.header.rcode, reply.rr, reply.auth) == (RCODE.NXDOMAIN, [], [])


def test_an_answer_too_long_for_a_datagram_says_so_and_comes_whole_by_stream(responder: Responder) -> None:
    short = resolve(responder, "many.shop.svc.cluster.local")
    assert (short.header.tc, short.rr) == (1, [])
    assert len(resolve(responder, "many.shop.svc.cluster.local", stream=True).rr) == 100


def test_endpoints_take_turns_to_be_first(responder: Responder) -> None:
    firsts = {str(resolve(responder, "db.shop.svc.cluster.local").rr[0].rdata) for _ in range(2)}
    assert firsts == {"10.101.0.1", "10.101.0.2"}


def test_what_is_no_query_is_refused_or_ignored(responder: Responder) -> None:
    broken = DNSRecord.question("web.shop.svc.cluster.local").pack()[:-3]
    reply = responder.answer(broken, stream=False)
    assert reply is not None
    assert DNSRecord.parse(reply).header.rcode == RCODE.FORMERR
    assert responder.answer(b"short", stream=False) is None


def test_without_a_zone_file_the_server_fails_rather_than_denies(tmp_path: Path) -> None:
    responder = Responder(ZoneFile(tmp_path / "zone.json"))
    assert resolve(responder, "web.shop.svc.cluster.local").header.rcode == RCODE.SERVFAIL


def test_the_zone_file_follows_the_store(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        responder = Responder(ZoneFile(tmp_path / "zone.json"))
        running = asyncio.create_task(Zone(store, tmp_path).run())

        async def until(addresses: list[str]) -> None:
            async with asyncio.timeout(5):
                while [str(rr.rdata) for rr in resolve(responder, "web.shop.svc.cluster.local").rr] != addresses:
                    await asyncio.sleep(0.005)

        try:
            store.create(service("web", "10.102.0.7"))
            await until(["10.102.0.7"])
            store.remove("Service", "shop", "web")
            await until([])
        finally:
            running.cancel()

    asyncio.run(scenario())
