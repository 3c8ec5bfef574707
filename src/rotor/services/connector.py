"""Connects to serve apps at the addresses that the server may call, and to no other."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.tracing import Trace

from rotor.store.destinations import ALLOW_OUTBOUND, Destinations

__all__ = ["GuardedConnector", "RefusedAddressError"]


KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds of silence before the other machine is asked for a sign of life, between two questions, and how many."""


class RefusedAddressError(aiohttp.ClientError):
    """A host leads only to addresses that the server may not call."""


class GuardedConnector(aiohttp.TCPConnector):
    """Judges the very addresses that are connected to next, whether they stood in the URL or a name led to them: no
    name can lead elsewhere in between.
    """

    def __init__(self, destinations: Destinations, **options: Any) -> None:
        super().__init__(socket_factory=_lively_socket, **options)
        self._destinations = destinations

    async def _resolve_host(self, host: str, port: int, traces: Sequence[Trace] | None = None) -> list[ResolveResult]:
        found = await super()._resolve_host(host, port, traces)
        reachable = set(self._destinations.reachable(host, [one["host"] for one in found]))
        if not reachable:
            raise RefusedAddressError(f"{host} leads to a special address, which {ALLOW_OUTBOUND} does not allow")
        return [one for one in found if one["host"] in reachable]


def _lively_socket(address: tuple[Any, ...]) -> socket.socket:
    """One that breaks a minute after the machine at its other end has vanished: an invocation may be silent."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEP_ALIVE.items():
        if hasattr(socket, name):  # macOS lacks one of them
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
