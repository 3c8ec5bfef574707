"""How one server's API is set up."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ApiSettings"]


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """One frozen object, made once at start."""

    keys_required: bool = True
    """False only where the server listens on the loopback address for its developer: a call without a valid key then
    speaks for the workspace `default`, and calls from foreign web pages are refused."""
    requests_per_second: float | None = None
    """How often each API key may call this server; None: as often as it likes."""
    public_url: str = "http://127.0.0.1:8484"
    """Where people reach this server, for the links that it makes."""
