"""Durations and instants: every vector, and what no vector can hold."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotor import limits
from rotor.errors import DurationError
from rotor.protocol.durations import UNITS, parse_duration, parse_instant
from tests.conformance_vectors import shown, vectors

VECTORS = vectors("durations")


@pytest.mark.parametrize("vector", VECTORS["durations"], ids=shown)
def test_durations_are_read_as_the_vectors_say(vector: dict[str, Any]) -> None:
    if "error" in vector:
        with pytest.raises(DurationError):
            parse_duration(vector["input"])
    else:
        assert parse_duration(vector["input"]) == timedelta(milliseconds=vector["milliseconds"])


@pytest.mark.parametrize("vector", VECTORS["instants"], ids=shown)
def test_instants_are_read_as_the_vectors_say(vector: dict[str, Any]) -> None:
    if "error" in vector:
        with pytest.raises(DurationError):
            parse_instant(vector["input"])
    else:
        expected = datetime.fromisoformat(vector["utc"])
        assert abs(parse_instant(vector["input"]) - expected) < timedelta(milliseconds=1)
        assert parse_instant(vector["input"]).tzinfo is UTC


def test_a_timedelta_is_kept_exactly() -> None:
    assert parse_duration(timedelta(microseconds=1)) == timedelta(microseconds=1)


@pytest.mark.parametrize("value", [timedelta(seconds=-1), -1, -math.inf, -(10**400), "-1h"])
def test_a_negative_duration_is_refused_as_such(value: Any) -> None:
    with pytest.raises(DurationError, match="negative"):
        parse_duration(value)


@pytest.mark.parametrize("value", [limits.SLEEP + timedelta(seconds=1), math.inf, 10**400, "9" * 40 + "w"])
def test_a_duration_over_the_limit_names_it(value: Any) -> None:
    with pytest.raises(DurationError, match=r"1830 days \(SLEEP\)"):
        parse_duration(value)


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(DurationError, match="nan"):
        parse_duration(math.nan)


def test_the_longest_sleep_is_allowed() -> None:
    assert parse_duration(limits.SLEEP) == parse_duration("1830d") == limits.SLEEP


def test_a_hostile_text_does_not_fill_the_message() -> None:
    with pytest.raises(DurationError) as caught:
        parse_duration("x" * 1_000_000)
    assert len(str(caught.value)) < 400


def test_an_instant_without_a_time_zone_is_refused_with_what_to_do() -> None:
    with pytest.raises(DurationError, match="no time zone: add one"):
        parse_instant(datetime(2026, 3, 1))


def test_an_aware_datetime_is_turned_to_utc() -> None:
    instant = parse_instant(datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    assert instant == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert instant.tzinfo is UTC


@given(amounts=st.lists(st.integers(0, 99), min_size=len(UNITS), max_size=len(UNITS)).filter(any))
def test_amounts_add_up(amounts: list[int]) -> None:
    text = "".join(f"{amount}{unit}" for amount, unit in zip(amounts, UNITS, strict=True) if amount)
    seconds = sum(amount * size for amount, size in zip(amounts, UNITS.values(), strict=True))
    assert parse_duration(text).total_seconds() == pytest.approx(seconds, abs=1e-6)


@given(text=st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_duration, parse_instant):
        try:
            parse(text)
        except DurationError:
            continue
