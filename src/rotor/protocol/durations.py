"""Durations and instants as people write them: `"1h30m"`, seconds, a timedelta; RFC 3339, an aware datetime.

A duration in text is one or more amounts with a unit, the largest unit first and each at most once: `w`, `d`, `h`, `m`,
`s`, `ms`. A day is 24 hours. Amounts may have decimals. Vectors are in `conformance/durations.json`.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from rotor import limits
from rotor.errors import DurationError

__all__ = ["parse_duration", "parse_instant"]

UNITS: Final = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
TEXT_CHARACTERS: Final = 64
"""More than any duration within the limit needs; keeps a hostile text out of messages."""

_AMOUNTS: Final = re.compile("".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit})?" for unit in UNITS))
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)


def parse_duration(value: str | float | int | timedelta) -> timedelta:
    """`value` as a timedelta; a bare number is seconds.

    Raises `DurationError` for what cannot be read, is negative, or is over `limits.SLEEP`.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else _seconds(value)
    if seconds < 0:
        raise DurationError(f"duration {_shown(value)} is negative")
    if seconds > limits.SLEEP.total_seconds():
        raise DurationError(f"duration {_shown(value)} is over the limit of {limits.SLEEP.days} days (SLEEP)")
    return value if isinstance(value, timedelta) else timedelta(seconds=seconds)


def parse_instant(value: str | datetime) -> datetime:
    """`value`, an aware datetime or RFC 3339 text, as an aware datetime in UTC (to the microsecond).

    Raises `DurationError` for what cannot be read or names no time zone.

    >>> parse_instant("2026-03-01T12:00:00+02:00").isoformat()
    '2026-03-01T10:00:00+00:00'
    """
    instant = value if isinstance(value, datetime) else _instant(value)
    if instant.utcoffset() is None:
        raise DurationError(f"time {_shown(value)} has no time zone: add one, such as Z, or pass an aware datetime")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise DurationError(f"time {_shown(value)} is outside the years 1 to 9999 in UTC") from None


def _seconds(value: object) -> float:
    if isinstance(value, str):
        return _seconds_of_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DurationError(
            f"duration is of type {type(value).__name__}; give text such as 30m, seconds or a timedelta"
        )
    if isinstance(value, float) and math.isnan(value):
        raise DurationError("duration nan is not a number of seconds")
    # An integer too large for a float is over any limit all the same.
    return float(max(min(value, 10**15), -1))


@lru_cache(maxsize=1_024)
def _seconds_of_text(text: str) -> float:
    if text.strip().startswith("-"):
        raise DurationError(f"duration {_shown(text)} is negative")
    found = _AMOUNTS.fullmatch(text) if 0 < len(text) <= TEXT_CHARACTERS else None
    if found is None:
        raise DurationError(
            f"duration {_shown(text)} cannot be read: write amounts with the units w, d, h, m, s, ms, "
            "the largest first, such as 30m, 1h30m or 500ms"
        )
    return math.fsum(float(amount) * UNITS[unit] for unit, amount in zip(UNITS, found.groups(), strict=True) if amount)


def _instant(text: object) -> datetime:
    if not isinstance(text, str):
        raise DurationError(f"time is of type {type(text).__name__}; give RFC 3339 text or an aware datetime")
    try:
        if _INSTANT.fullmatch(text) is None:
            raise ValueError
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise DurationError(
            f"time {_shown(text)} is not RFC 3339, such as 2026-03-01T12:00:00Z or 2026-03-01T12:00:00+02:00"
        ) from None


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= TEXT_CHARACTERS else f'"{value[:TEXT_CHARACTERS]}..."'
    if isinstance(value, int) and abs(value) > limits.SLEEP.total_seconds():
        # Python refuses to write out an integer of thousands of digits.
        return f"of {'-' if value < 0 else ''}2**{abs(value).bit_length() - 1} seconds or more"
    return str(value)
