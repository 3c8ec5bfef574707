"""Serve apps are called on the internet, and elsewhere only where a setting allows it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotor.errors import ConfigError
from rotor.store.destinations import Destinations

NONE = Destinations()

SPECIAL = {
    "a loopback": ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"],
    "a link-local or metadata": [
        "169.254.169.254",
        "::ffff:a9fe:a9fe",
        "fe80::1",
        "fe80::1%eth0",
        "64:ff9b::a9fe:a9fe",
    ],
    "a private": [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "fd00::254",
        "100.64.0.1",
        "0.1.2.3",
        "198.18.0.1",
        "2001:db8::1",
    ],
    "a multicast": ["224.0.0.1", "ff02::1"],
    "a reserved": ["0.0.0.0", "::", "255.255.255.255", "240.0.0.1", "::127.0.0.1", "fec0::1", "192.88.99.1"],
    "metadata": ["100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "64:ff9b:1::7f00:1"],
    "an unreadable": ["127.1", "0x7f.0.0.1", "2130706433", "localhost", ""],
}
PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", [address for addresses in SPECIAL.values() for address in addresses])
def test_a_special_address_is_not_called_in_whatever_form(address: str) -> None:
    assert NONE.reachable("app.example.com", [address]) == []


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_called(address: str) -> None:
    assert NONE.reachable("app.example.com", [address]) == [address]


def test_of_the_addresses_of_a_name_only_those_are_called_that_may_be() -> None:
    assert NONE.reachable("app.example.com", ["10.0.0.1", "8.8.8.8", "::1"]) == ["8.8.8.8"]


def test_a_network_an_address_or_a_name_is_allowed_by_setting_and_nothing_beside_it() -> None:
    allowed = Destinations.parse("10.1.0.0/16, 127.0.0.1,fd00::/8,App.Internal.")
    assert allowed.reachable("x", ["10.1.2.3", "10.2.0.1", "127.0.0.1", "127.0.0.2"]) == ["10.1.2.3", "127.0.0.1"]
    assert allowed.reachable("x", ["fd00::1", "fe80::1", "::ffff:127.0.0.1"]) == ["fd00::1", "::ffff:127.0.0.1"]
    assert allowed.reachable("app.internal", ["192.168.0.1"]) == ["192.168.0.1"]
    assert allowed.reachable("other.app.internal", ["192.168.0.1"]) == []


METADATA = ["169.254.169.254", "::ffff:a9fe:a9fe", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fe80::1"]


@pytest.mark.parametrize("address", METADATA)
async def test_metadata_is_called_by_its_own_address_alone_and_nobody_is_told_to_allow_it(address: str) -> None:
    wide = Destinations.parse("0.0.0.0/0,::/0,100.64.0.0/10,fd00::/8,app.internal").with_loopback()
    for allowed in (NONE, wide):
        assert allowed.reachable("app.internal", [address, "10.0.0.1"]) == (["10.0.0.1"] if allowed is wide else [])
        problem = await allowed.problem(f"http://[{address}]/" if ":" in address else f"http://{address}/")
        assert problem is not None
        assert problem.startswith("leads to a link-local or metadata address")
        assert "ALLOW_OUTBOUND" not in problem
        assert address not in problem
    named = Destinations.parse(address.replace("::ffff:a9fe:a9fe", "169.254.169.254"))
    assert named.reachable("x", [address]) == [address]


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_an_ipv6_one_is_judged_as_itself(address: IPv4Address) -> None:
    number = int(address)
    carriers = [IPv6Address(prefix | number) for prefix in (0xFFFF << 32, 0x64FF9B << 96)]
    carriers.append(IPv6Address((0x2002 << 112) | (number << 80)))
    plain = bool(NONE.reachable("x", [str(address)]))
    assert [bool(NONE.reachable("x", [str(carrier)])) for carrier in carriers] == [plain] * 3


@given(st.text())
def test_any_text_is_a_setting_or_refused_by_its_name(text: str) -> None:
    try:
        Destinations.parse(text)
    except ConfigError as error:
        assert "ROTOR_ALLOW_OUTBOUND" in str(error)  # noqa: PT017 - either is well


@pytest.mark.parametrize(
    "text", ["", "10.0.0.1/8", "127.1", "0x7f000001", "http://app", "app:8000", "a b", "::g", "*", "a,,b"]
)
def test_a_setting_that_would_not_mean_what_it_says_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="ROTOR_ALLOW_OUTBOUND"):
        Destinations.parse(text)


async def test_a_person_is_told_which_setting_would_allow_it_and_not_where_it_leads() -> None:
    problem = await NONE.problem("http://localhost:8000/api/rotor")
    assert problem is not None
    assert problem.startswith("leads to a loopback address")
    assert "ROTOR_ALLOW_OUTBOUND=localhost" in problem
    assert "127.0.0.1" not in problem
    assert await NONE.with_loopback().problem("http://localhost:8000/api/rotor") is None


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b", "x" * 64 + ".com"])
async def test_a_name_that_nobody_knows_is_left_to_the_call(host: str) -> None:
    assert await NONE.problem(f"http://{host}/") is None
