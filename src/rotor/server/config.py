"""The settings of one server, validated once at start."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from rotor import limits
from rotor.errors import ConfigError, DurationError
from rotor.protocol.durations import parse_duration
from rotor.store.destinations import ALLOW_OUTBOUND, Destinations
from rotor.store.retention import Retention
from rotor.store.vault import ENCRYPTION_KEYS, Vault

__all__ = ["ServerConfig", "retention_from_environment"]

Kept = TypeVar("Kept", timedelta, timedelta | None)


def retention_from_environment() -> Retention:
    """`ROTOR_KEEP_RUNS`, `_EVENTS`, `_LOGS` and `_AUDIT`, as in "30d". Raises `ConfigError` that names the variable."""
    kept = Retention()
    return Retention(
        runs=_duration("ROTOR_KEEP_RUNS", kept.runs),
        events=_duration("ROTOR_KEEP_EVENTS", kept.events),
        logs=_duration("ROTOR_KEEP_LOGS", kept.logs),
        audit=_duration("ROTOR_KEEP_AUDIT", kept.audit),
    )


def payload_bytes_from_environment() -> int:
    """`ROTOR_PAYLOAD_BYTES`: the largest event, result or signal. Raises `ConfigError` that names it."""
    text = os.environ.get("ROTOR_PAYLOAD_BYTES")
    if not text:
        return limits.PAYLOAD_BYTES
    if not text.isascii() or not text.isdigit() or not 1_024 <= int(text) <= limits.REQUEST_BYTES:
        raise ConfigError(f"ROTOR_PAYLOAD_BYTES must be a number from 1024 to {limits.REQUEST_BYTES} (REQUEST_BYTES)")
    return int(text)


def rate_limit_from_environment() -> float | None:
    """`ROTOR_RATE_LIMIT`: calls a second of each API key on each server. Raises `ConfigError` that names it."""
    text = os.environ.get("ROTOR_RATE_LIMIT")
    if not text:
        return None
    try:
        per_second = float(text)
    except ValueError:
        per_second = 0.0
    if not 0.01 <= per_second <= 1_000_000:
        raise ConfigError("ROTOR_RATE_LIMIT must be a number of calls a second, from 0.01 to 1000000")
    return per_second


def destinations_from_environment() -> Destinations:
    """`ROTOR_ALLOW_OUTBOUND`: where serve apps may be beside the internet. Raises `ConfigError` that names it."""
    text = os.environ.get(ALLOW_OUTBOUND)
    return Destinations.parse(text) if text else Destinations()


def vault_from_environment() -> Vault | None:
    """`ROTOR_ENCRYPTION_KEYS`: what payloads are encrypted with. Raises `ConfigError` that names it."""
    text = os.environ.get(ENCRYPTION_KEYS)
    return Vault.parse(text) if text else None


def _duration(name: str, otherwise: Kept) -> timedelta | Kept:
    text = os.environ.get(name)
    try:
        return parse_duration(text) if text else otherwise
    except DurationError as error:
        raise ConfigError(f"{name}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """What one server is told. `dev` asks no keys on the loopback address, refuses every other, and calls serve apps on
    this machine.
    """

    database_url: str
    schema: str = "rotor"
    host: str = "127.0.0.1"
    port: int = 8484
    dev: bool = False
    public_url: str | None = None
    """Where serve apps reach this server for their call-backs; None: `http://HOST:PORT`."""
    connections_max: int = 10
    payload_bytes_max: int = field(default_factory=payload_bytes_from_environment)
    requests_per_second: float | None = field(default_factory=rate_limit_from_environment)
    """How often each API key may call this server; None: as often as it likes."""
    retention: Retention = field(default_factory=retention_from_environment)
    destinations: Destinations = field(default_factory=destinations_from_environment)
    vault: Vault | None = field(default_factory=vault_from_environment, repr=False)

    def __post_init__(self) -> None:
        if self.dev and self.host not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigError(
                f"development mode asks for no keys, so it listens on 127.0.0.1 alone, not on {self.host}"
            )

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - names it, binds nothing  # nosec B104
        return self.public_url or f"http://{host}:{self.port}"
