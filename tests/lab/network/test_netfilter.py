"""Tables of rules, as the kernel takes them."""

from __future__ import annotations

import asyncio

import pytest
from tests.lab.network.node import TestNode, TestPod, ask, in_namespaces

from lateral.lab.network import netfilter
from lateral.lab.network.netfilter import DROP, Attachment, Chain, Hook, RangeSet, Set, Table, VerdictMap, decide, jump
from lateral.lab.network.netlink import NETFILTER, NetlinkSocket
from lateral.lab.network.ranges import number

FORWARD = Attachment("filter", Hook.FORWARD, 0)


def dropping(*expressions: netfilter.Expression, sets: tuple[Set | RangeSet | VerdictMap, ...] = ()) -> Table:
    """Drop what is forwarded and matches."""
    return Table("test", (Chain("forward", ((*expressions, decide(DROP)),), FORWARD),), sets)


async def outcomes(clients: list[TestPod], target: TestPod) -> list[str]:
    return await asyncio.gather(*(ask(client, target.ip, 80) for client in clients))


def test_a_set_of_ranges_holds_their_ends_and_nothing_beyond() -> None:
    async def scenario() -> None:
        lab = TestNode()
        web = lab.pod("web", listens=[("TCP", 80)])
        clients = [lab.pod(f"client-{at}") for at in range(2, 9)]
        ranges = RangeSet("ranges", ((number("10.101.0.3"), number("10.101.0.4")), (number("10.101.0.6"),) * 2))
        netfilter.replace(
            NetlinkSocket(NETFILTER), dropping(netfilter.source(), netfilter.lookup("ranges"), sets=(ranges,))
        )
        found = dict(zip([client.ip for client in clients], await outcomes(clients, web), strict=True))
        assert [ip for ip, outcome in found.items() if outcome == "dropped"] == [
            "10.101.0.3",
            "10.101.0.4",
            "10.101.0.6",
        ]

    in_namespaces(scenario)


@pytest.mark.parametrize("ranges", [((0, 0xFFFFFFFF),), ((0, 5), (number("10.0.0.0"), 0xFFFFFFFF))])
def test_a_range_may_reach_to_the_end_of_all_addresses(ranges: tuple[tuple[int, int], ...]) -> None:
    async def scenario() -> None:
        lab = TestNode()
        web, client = lab.pod("web", listens=[("TCP", 80)]), lab.pod("client")
        table = dropping(netfilter.source(), netfilter.lookup("ranges"), sets=(RangeSet("ranges", ranges),))
        netfilter.replace(NetlinkSocket(NETFILTER), table)
        assert await outcomes([client], web) == ["dropped"]

    in_namespaces(scenario)


def test_a_large_set_is_sent_in_parts() -> None:
    async def scenario() -> None:
        lab = TestNode()
        web, client = lab.pod("web", listens=[("TCP", 80)]), lab.pod("client")
        keys = tuple((number("10.101.0.2") + at).to_bytes(4, "big") for at in range(4000))
        table = dropping(netfilter.source(), netfilter.lookup("many"), sets=(Set("many", 4, keys),))
        netfilter.replace(NetlinkSocket(NETFILTER), table)
        assert await outcomes([client], web) == ["dropped"]

    in_namespaces(scenario)


def test_a_table_that_the_kernel_refuses_leaves_the_one_before() -> None:
    async def scenario() -> None:
        lab = TestNode()
        web, client = lab.pod("web", listens=[("TCP", 80)]), lab.pod("client")
        netlink = NetlinkSocket(NETFILTER)
        netfilter.replace(netlink, dropping())
        bad = [
            Table("test", (Chain("forward", ((decide(jump("nowhere")),),), FORWARD),)),
            dropping(netfilter.source(), netfilter.lookup("nothing")),
            dropping(sets=(VerdictMap("map", 4, ((bytes(4), jump("nowhere")),)),)),
            Table("test", (Chain("a", ((decide(jump("b")),),), FORWARD), Chain("b", ((decide(jump("b")),),)))),
        ]
        for table in bad:
            with pytest.raises(OSError, match="netlink message"):
                netfilter.replace(netlink, table)
            assert await outcomes([client], web) == ["dropped"]
        netfilter.replace(netlink, Table("test", ()))
        assert await outcomes([client], web) == [f"web {client.ip}"]

    in_namespaces(scenario)
