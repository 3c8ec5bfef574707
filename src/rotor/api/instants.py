"""Instants as the API takes them: RFC 3339, or milliseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from rotor import limits
from rotor.errors import DurationError
from rotor.protocol.durations import parse_instant

__all__ = ["Instant", "read_event_time", "read_instant"]

Instant: TypeAlias = str | int | float
"""RFC 3339 with an offset, as in `2026-01-31T09:00:00Z`, or milliseconds since 1970."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 30, tzinfo=UTC)
MILLISECONDS_MAX = (LAST - EPOCH) // timedelta(milliseconds=1)


def read_instant(given: Instant) -> datetime:
    """The instant that is meant. Raises `ValueError` whose message says what is wrong with it."""
    instant = _read_text(given) if isinstance(given, str) else _read_number(given)
    if not EPOCH <= instant <= LAST:
        raise ValueError("is not between 1970 and 9999")
    return instant


def read_event_time(given: Instant) -> datetime:
    """The instant of an event, which may lie ahead as far as a sleep may last. Raises `ValueError`."""
    instant = read_instant(given)
    # Only a bound on what is asked for: when the event is due is decided by the database's clock.
    if instant - datetime.now(UTC) > limits.SLEEP + timedelta(days=1):
        raise ValueError(f"is more than {limits.SLEEP.days:,} days ahead (SLEEP)")
    return instant


def _read_text(given: str) -> datetime:
    try:
        return parse_instant(given)
    except (DurationError, OverflowError):
        raise ValueError("is not RFC 3339 with an offset, as in 2026-01-31T09:00:00Z, nor epoch milliseconds") from None


def _read_number(given: float) -> datetime:
    if not 0 <= given <= MILLISECONDS_MAX:
        raise ValueError("is not between 1970 and 9999 in epoch milliseconds")
    return EPOCH + timedelta(milliseconds=given)
