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


def test_a_chosen_address_is_not_given_again() -> None:
    addresses = Addresses("10.0.0.0/29")
    addresses.take("10.0.0.1")
    assert addresses.allocate() == "10.0.0.2"


@pytest.mark.parametrize("ip", ["10.0.0.0", "10.0.0.7", "10.0.1.1"])
def test_addresses_that_no_host_of_the_range_can_have_are_refused(ip: str) -> None:
    with pytest.raises(ValueError, match=f"{ip} is not an address of"):
        Addresses("10.0.0.0/29").take(ip)


def test_a_chosen_address_must_be_free() -> None:
    addresses = Addresses("10.0.0.0/29")
    addresses.take("10.0.0.2")
    with pytest.raises(ValueError, match=r"10\.0\.0\.2 is already taken"):
        addresses.take("10.0.0.2")
