"""On which nodes a source gets pods: each target is dialled on its own node and from another one."""

from __future__ import annotations

import argparse
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lateral.siting import Sites, at_most

NODES = [f"node-{number}" for number in range(6)]
node = st.sampled_from(NODES)
sites = st.builds(
    Sites,
    st.dictionaries(st.sampled_from("abcdef"), node, min_size=1),
    st.just({}),
    st.dictionaries(st.sampled_from("uvwxyz"), st.frozensets(node, min_size=1), min_size=1),
)


def dialled(pods: tuple[str, ...], target: frozenset[str]) -> set[bool]:
    """Whether a target's pods are dialled between nodes (True), and on one (False)."""
    return {here != there for here in pods for there in target}


@settings(deadline=None)
@given(sites)
def test_with_enough_pods_every_target_is_dialled_in_both_ways(found: Sites) -> None:
    for source, first in found.sources.items():
        pods = (first, *found.further(len(NODES))[source])
        for target in found.targets.values():
            assert dialled(pods, target) >= ({True, False} if len(found.nodes) > 1 and target != {first} else {False})
            if target == {first} and len(pods) == 1:
                assert found.nodes == {first}


@settings(deadline=None)
@given(sites, st.integers(1, 4))
def test_no_source_has_more_pods_than_it_may_and_none_has_two_on_a_node(found: Sites, most: int) -> None:
    for source, further in found.further(most).items():
        pods = (found.sources[source], *further)
        assert len(pods) <= most
        assert len(set(pods)) == len(pods)
        assert set(pods) <= found.nodes


@settings(deadline=None)
@given(sites, st.integers(2, 4))
def test_every_pod_shows_something_new(found: Sites, most: int) -> None:
    for source, further in found.further(most).items():
        for at, one in enumerate(further):
            before = (found.sources[source], *further[:at])
            assert any(dialled(before, target) != dialled((*before, one), target) for target in found.targets.values())


def test_two_nodes_take_two_pods() -> None:
    found = Sites({"rogue": "a"}, {}, {"store": frozenset("a"), "queue": frozenset("b")})
    assert found.further(3) == {"rogue": ("b",)}


def test_one_node_takes_one() -> None:
    assert Sites({"rogue": "a"}, {}, {"store": frozenset("a")}).further(3) == {"rogue": ()}


def test_further_pods_are_spread() -> None:
    """Nodes that are worth the same take turns."""
    found = Sites(dict.fromkeys("klmnop", "a"), {}, {"u": frozenset("a"), "v": frozenset("b"), "w": frozenset("c")})
    assert Counter(node for nodes in found.further(2).values() for node in nodes) == {"b": 4, "c": 2}


def test_all_means_every_node_where_anybody_is() -> None:
    """Also those that have only replicas of a workload in whose name somebody dials."""
    found = Sites({"user": "a", "rogue": "b"}, {"user": frozenset("ac")}, {"store": frozenset("a")})
    assert found.further(at_most("all")) == {"user": ("b", "c"), "rogue": ("a", "c")}


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", ""])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number above 0 or all, found"):
        at_most(text)
