"""Where the server may call: no address of its own machine or network, unless it is allowed by setting.

A serve_url comes from whoever holds a key, and the server stands where they do not: beside its database, the metadata
service of its cloud and other people's servers. So each address is judged after its name has been looked up: once at
registration, to tell the person who registers, and at each connection, since a name may lead elsewhere by then.

Where clouds keep the metadata of their machines, and with it often their credentials, nothing leads by a large network
or by a name: only a setting that means that very place opens it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from rotor.errors import ConfigError

__all__ = ["ALLOW_OUTBOUND", "Destinations"]

ALLOW_OUTBOUND: Final = "ROTOR_ALLOW_OUTBOUND"
LOOK_UP_SECONDS: Final = 5.0

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

LOOPBACK: Final = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""NAT64: the last four bytes are the IPv4 address that is reached."""
METADATA: Final = (
    IPv4Network("169.254.0.0/16"),  # link-local: most clouds
    IPv6Network("fe80::/10"),  # link-local
    IPv4Network("100.100.100.200/32"),  # Alibaba
    IPv4Network("168.63.129.16/32"),  # Azure's channel between a machine and its host
    IPv4Network("192.0.0.192/32"),  # Oracle
    IPv6Network("fd00:ec2::254/128"),  # Amazon
    IPv6Network("fd20:ce::254/128"),  # Google
)
SPECIAL: Final = (
    IPv4Network("192.0.0.0/24"),  # of the IETF
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv6Network("64:ff9b:1::/48"),  # NAT64 within one network
    IPv6Network("fec0::/10"),  # site-local
)
A_LOOPBACK: Final = "a loopback"
A_PRIVATE: Final = "a private"
OWN: Final = frozenset({A_LOOPBACK, A_PRIVATE})
"""Where people do have serve apps, and are told how to allow them."""
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Destinations:
    """What a server may call beyond the public internet: networks, and names of hosts wherever in private networks they
    lead.
    """

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Destinations:
        """From "127.0.0.1,10.0.0.0/8,app.internal". Raises `ConfigError` that names the setting."""
        networks: list[Network] = []
        hosts: set[str] = set()
        for item in (part.strip().rstrip(".") for part in text.split(",")):
            try:
                networks.append(ipaddress.ip_network(item))
            except ValueError as error:
                if "/" in item or ":" in item or not _HOST.fullmatch(item) or _is_numeric(item):
                    raise ConfigError(
                        f"{ALLOW_OUTBOUND}: {item!r} is no network, address or name of a host ({error}); "
                        "give a list such as 127.0.0.1,10.0.0.0/8,app.internal"
                    ) from None
                hosts.add(item.lower())
        return cls(tuple(networks), frozenset(hosts))

    def with_loopback(self) -> Destinations:
        """The same, and this machine itself."""
        return Destinations((*self.networks, *LOOPBACK), self.hosts)

    def reachable(self, host: str, addresses: Iterable[str]) -> list[str]:
        """Those `addresses` of `host` that may be called."""
        return [address for address in addresses if self._objection(host, address) is None]

    async def problem(self, url: str) -> str | None:
        """What is wrong with a URL to call, as the end of a sentence; None is well, and so is a name that nobody knows
        yet. The address is not told: it is the server's view, and none of the caller's business.
        """
        host = urlsplit(url).hostname or ""
        addresses = await _look_up(host)
        if not addresses or self.reachable(host, addresses):
            return None
        kind = next(filter(None, (self._objection(host, address) for address in addresses)))
        if kind not in OWN:
            return f"leads to {kind} address, which this server does not call"
        return (
            f"leads to {kind} address, which this server does not call unless it is told to: start it with "
            f"{ALLOW_OUTBOUND}={host}, or as rotor server --allow-outbound {host}"
        )

    def _objection(self, host: str, text: str) -> str | None:
        """Of what kind an address of `host` is that may not be called."""
        try:
            address = _meant(ipaddress.ip_address(text))
        except ValueError:
            return "an unreadable"
        allowed = [network for network in self.networks if address in network]
        for place in METADATA:
            if address in place:
                return None if any(_is_within(network, place) for network in allowed) else "a link-local or metadata"
        return None if allowed or host.lower().rstrip(".") in self.hosts else _kind(address)


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it stands for one."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour or address
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in TRANSLATED else address


def _is_within(network: Network, place: Network) -> bool:
    return network.network_address in place and network.prefixlen >= place.prefixlen


def _kind(address: Address) -> str | None:
    """Of which kind a special address is; None is one of the public internet."""
    if address.is_loopback:
        return A_LOOPBACK
    if address.is_multicast:
        return "a multicast"
    if address.is_unspecified or address.is_reserved or any(address in network for network in SPECIAL):
        return "a reserved"
    return None if address.is_global else A_PRIVATE


def _is_numeric(host: str) -> bool:
    """Whether the last part of a name is a number: system resolvers read such a name as an address, each in its way."""
    return re.fullmatch(r"\d+|0x[0-9a-f]*", host.rpartition(".")[2], re.IGNORECASE) is not None


async def _look_up(host: str) -> list[str]:
    """The addresses of a host; none where nobody knows it, or nobody answers in time."""
    try:
        async with asyncio.timeout(LOOK_UP_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(address[4][0]) for address in found]
