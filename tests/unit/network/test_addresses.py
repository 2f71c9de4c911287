"""Addresses are given once and come back last."""

from __future__ import annotations

import pytest

from lateral.lab.network.addresses import Addresses


def test_addresses_are_given_in_order_and_released_ones_after_all_others() -> None:
    addresses = Addresses("10.0.0.0/29")
    assert [addresses.allocate() for _ in range(3)] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    addresses.release("10.0.0.1")
    assert [addresses.allocate() for _ in range(4)] == ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.1"]


def test_a_full_range_says_so() -> None:
    addresses = Addresses("10.0.0.0/30")
    addresses.allocate()
    addresses.allocate()
    with pytest.raises(LookupError, match=r"no free address is left in 10\.0\.0\.0/30"):
        addresses.allocate()
