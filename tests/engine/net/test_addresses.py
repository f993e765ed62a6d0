"""Pools, addresses and MACs: values in, values out; no kernel."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerlab.engine.model.network import Subnet
from dockerlab.engine.net import addresses
from dockerlab.errors import Forbidden, InvalidRequest, Unavailable


def networks(*texts):
    return [ipaddress.ip_network(text) for text in texts]


def test_pools_come_in_dockers_order_and_avoid_what_is_there():
    assert addresses.next_pool([]) == "172.17.0.0/16"
    assert addresses.next_pool(networks("0.0.0.0/0")) == "172.17.0.0/16"
    assert addresses.next_pool(networks("172.17.0.0/24", "172.18.5.0/30")) == "172.19.0.0/16"
    assert addresses.next_pool(networks("172.16.0.0/12")) == "192.168.0.0/20"
    assert addresses.next_pool(networks("172.16.0.0/12", "192.168.0.0/18")) == "192.168.64.0/20"
    with pytest.raises(InvalidRequest, match="all predefined address pools have been fully"):
        addresses.next_pool(networks("172.16.0.0/12", "192.168.0.0/16", "fd00::/8"))


def test_all_31_pools_are_different():
    taken = []
    for _ in range(15 + 16):
        taken.append(ipaddress.ip_network(addresses.next_pool(taken)))
    assert str(taken[-1]) == "192.168.240.0/20"


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (("10.0.0.0/24", "", "", {}), []),
        (("10.0.0.1/24", "", "", {}), ["invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24"]),
        (("x", "", "", {}), ["invalid subnet x: invalid CIDR block notation"]),
        (("10.0.0.0", "", "", {}), ["invalid subnet 10.0.0.0: invalid CIDR block notation"]),
        (
            ("10.0.0.0/24", "", "10.0.1.1", {}),
            ["invalid gateway 10.0.1.1: parent subnet 10.0.0.0/24 doesn't contain this address"],
        ),
        (
            ("10.0.0.0/24", "10.0.0.128/24", "fd00::1", {"a": "z"}),
            [
                "invalid ip-range 10.0.0.128/24: it should be 10.0.0.0/24",
                "invalid gateway fd00::1: parent subnet is an IPv4 block",
                "invalid auxiliary address a: invalid address",
            ],
        ),
        (
            ("10.0.0.0/24", "10.1.0.0/25", "", {}),
            ["invalid ip-range 10.1.0.0/25: parent subnet 10.0.0.0/24 doesn't contain ip-range"],
        ),
    ],
)
def test_what_is_wrong_with_a_pool(pool, expected):
    assert addresses.problems(*pool) == expected


def test_addresses_are_serial_and_released_ones_come_late():
    subnet = Subnet(cidr="10.0.0.0/29", gateway="10.0.0.1", reserved={"printer": "10.0.0.4"})
    given_out, taken, last = [], set(), ""
    for _ in range(4):
        last = addresses.next_address(subnet, taken, last)
        given_out.append(last)
        taken.add(last)
    assert given_out == ["10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.6"]
    with pytest.raises(Unavailable):
        addresses.next_address(subnet, taken, last)
    assert addresses.next_address(subnet, taken - {"10.0.0.3"}, last) == "10.0.0.3"


@given(
    prefix=st.integers(24, 30),
    taken=st.sets(st.integers(0, 255)),
    last=st.integers(0, 255),
)
def test_an_address_is_always_free_and_never_special(prefix, taken, last):
    subnet = Subnet(cidr=f"10.0.0.0/{prefix}", gateway="10.0.0.1")
    busy = {f"10.0.0.{one}" for one in taken}
    whole = ipaddress.ip_network(subnet.cidr)
    free = {str(one) for one in whole.hosts()} - busy - {subnet.gateway}
    try:
        found = addresses.next_address(subnet, busy, f"10.0.0.{last}")
    except Unavailable:
        assert not free
    else:
        assert found in free


def test_addresses_of_ones_choice():
    given_pool = Subnet(cidr="10.0.0.0/24", gateway="10.0.0.1", given=True)
    ours = Subnet(cidr="172.18.0.0/16", gateway="172.18.0.1")
    assert addresses.check_asked("10.0.0.9", [given_pool], set()) is given_pool
    for address in ("10.0.0.9", "10.0.0.1"):
        with pytest.raises(Forbidden, match="Address already in use"):
            addresses.check_asked(address, [given_pool], {"10.0.0.9"})
    with pytest.raises(InvalidRequest, match=r"contains IP address 10\.1\.0\.1"):
        addresses.check_asked("10.1.0.1", [given_pool], set())
    with pytest.raises(InvalidRequest, match="only when connecting to networks with user config"):
        addresses.check_asked("172.18.0.5", [ours], set())


def test_overlaps():
    with pytest.raises(Forbidden, match="Pool overlaps with other one on this address space"):
        addresses.check_overlap(ipaddress.ip_network("10.0.0.0/25"), networks("10.0.0.0/8"))
    addresses.check_overlap(ipaddress.ip_network("fd00::/64"), networks("10.0.0.0/8"))


def test_mac_addresses():
    assert addresses.mac_of("172.17.0.2") == "02:42:ac:11:00:02"
    assert addresses.checked_mac("02-42-AC-11-0-2") == "02:42:ac:11:00:02"
    for wrong in ("", "02:42", "02:42:ac:11:00:gg", "02:42:ac:11:00:123"):
        with pytest.raises(InvalidRequest, match="invalid MAC address"):
            addresses.checked_mac(wrong)
