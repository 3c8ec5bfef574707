"""Cron dates against a second library: croniter knows the calendar, docs/how-to/cron.md the changes of the clock.

Where croniter itself reads a schedule otherwise, the difference is stated here, and ours is what the page promises.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from croniter import CroniterBadDateError, croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from rotor.engine.cron import next_fire
from rotor.errors import ConfigError

COUNT = 5
CHANGES = {
    # Each zone with the instants at which its clock changes, and with the eve of a leap day.
    "Europe/Paris": ("2026-03-29T01:00", "2026-10-25T01:00", "2028-02-28T23:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00", "2028-02-29T05:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30", "2028-02-28T13:00"),  # by half an hour
    "America/Sao_Paulo": ("2018-02-18T02:00", "2018-11-04T03:00", "2020-02-29T03:00"),  # at midnight
    "UTC": ("2026-03-29T01:00", "2028-02-29T00:00", "2100-02-28T12:00"),  # 2100 has no leap day
}
MONTHS = ["jan", "FEB", "mar", "Apr", "may", "jun", "jul", "aug", "sep", "oct", "NOV", "dec"]
DAYS = ["sun", "MON", "tue", "Wed", "thu", "fri", "SAT"]


@st.composite
def fields(draw: st.DrawFn, first: int, last: int, names: list[str] | None = None) -> str:
    """One field of a schedule: a star, a step, or a list of numbers, names, ranges and stepped ranges."""

    def shown(number: int) -> str:
        return names[number - first] if names and draw(st.booleans()) else str(number)

    kind = draw(st.sampled_from(("star", "star", "step", "list", "list")))
    if kind == "star":
        return "*"
    if kind == "step":
        return f"*/{draw(st.integers(1, last))}"
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        low, high = sorted((draw(st.integers(first, last)), draw(st.integers(first, last))))
        part = shown(low) if low == high or draw(st.booleans()) else f"{shown(low)}-{shown(high)}"
        parts.append(f"{part}/{draw(st.integers(1, 9))}" if "-" in part and draw(st.booleans()) else part)
    return ",".join(parts)


DAYS_OF_MONTH = st.one_of(fields(1, 31), st.sampled_from(("*", "*", "L", "29", "31")))
DAYS_OF_WEEK = st.one_of(fields(0, 6, DAYS), st.sampled_from(("*", "*", "7")))
SCHEDULES = st.tuples(fields(0, 59), fields(0, 23), DAYS_OF_MONTH, fields(1, 12, MONTHS), DAYS_OF_WEEK).map(" ".join)
NEAR_THE_CHANGE = st.tuples(st.integers(0, 3), fields(0, 3)).map(lambda at: f"{at[0] * 15} {at[1]} * * *")
STARTS = st.tuples(
    st.sampled_from([(zone, at) for zone, changes in CHANGES.items() for at in changes]), st.integers(-2_000, 600)
).map(lambda drawn: (drawn[0][0], instant(drawn[0][1]) + timedelta(minutes=drawn[1])))


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ours(cron: str, zone: str, after: datetime) -> Iterator[datetime]:
    while True:
        after = next_fire(cron, zone, after)
        yield after


def croniters(cron: str, after: datetime) -> Iterator[datetime]:
    """croniter's own reading from `after` on: of the calendar alone where that is without a zone."""
    days_are_either = not any(field.startswith("*") for field in (cron.split()[2], cron.split()[4]))
    dates = croniter(cron, after, ret_type=datetime, day_or=days_are_either)
    while True:
        yield dates.get_next(datetime)


def promised(cron: str, zone: str, after: datetime) -> list[datetime]:
    """The fires of docs/how-to/cron.md: the calendar's dates by croniter, then the page's rules, each as it is said."""
    local = ZoneInfo(zone)
    counts_real_time = any(field.startswith("*") for field in cron.split()[:2])
    fires: set[datetime] = set()
    for date in croniters(cron, after.astimezone(local).replace(tzinfo=None) - timedelta(hours=3)):
        occurrences = {date.replace(tzinfo=local, fold=fold).astimezone(UTC) for fold in (0, 1)}
        real = {each for each in occurrences if each.astimezone(local).replace(tzinfo=None) == date}
        if counts_real_time:
            fires |= real
        else:
            fires.add(min(real) if real else end_of_gap(date, local))
        later = sorted(fire for fire in fires if fire > after)[:COUNT]
        if len(later) == COUNT and date > later[-1].astimezone(local).replace(tzinfo=None) + timedelta(hours=2):
            return later
    raise AssertionError("croniter ends by an error only")


def end_of_gap(date: datetime, local: ZoneInfo) -> datetime:
    while True:
        date += timedelta(minutes=1)
        found = date.replace(tzinfo=local).astimezone(UTC)
        if found.astimezone(local).replace(tzinfo=None) == date:
            return found


@settings(max_examples=250, derandomize=True)
@given(st.one_of(SCHEDULES, NEAR_THE_CHANGE), STARTS)
def test_any_schedule_fires_when_croniters_calendar_and_our_rules_say(cron: str, start: tuple[str, datetime]) -> None:
    zone, after = start
    try:
        expected = promised(cron, zone, after)
    except CroniterBadDateError:
        with pytest.raises(ConfigError):
            next_fire(cron, zone, after)
        return
    assert list(islice(ours(cron, zone, after), COUNT)) == expected


@settings(max_examples=120, derandomize=True)
@given(NEAR_THE_CHANGE, STARTS)
def test_croniter_in_the_zone_itself_differs_over_changes_of_the_clock_alone(
    cron: str, start: tuple[str, datetime]
) -> None:
    zone, after = start
    local = ZoneInfo(zone)
    theirs = (date.astimezone(UTC) for date in croniters(cron, after.astimezone(local)))
    kept = (date for date in theirs if not differs(cron, date.astimezone(local)))
    assert list(islice(ours(cron, zone, after), COUNT)) == list(islice(kept, COUNT))


def differs(cron: str, fire: datetime) -> bool:
    """Whether croniter alone fires then: at a repeated time for a second time, or in place of a skipped one though the
    schedule counts real time."""
    if cron.split()[1].startswith("*"):
        return not croniter.match(cron, fire.replace(tzinfo=None))
    return bool(fire.fold)


def test_croniter_fires_twice_at_a_time_that_the_clock_repeats_and_we_once() -> None:
    zone, after = "America/New_York", instant("2026-11-01T00:00")
    theirs = islice(croniters("30 1 * * *", after.astimezone(ZoneInfo(zone))), 2)
    assert [date.astimezone(UTC) for date in theirs] == [instant("2026-11-01T05:30"), instant("2026-11-01T06:30")]
    assert list(islice(ours("30 1 * * *", zone, after), 2)) == [
        instant("2026-11-01T05:30"),
        instant("2026-11-02T06:30"),
    ]


def test_a_day_field_that_begins_with_a_star_narrows_the_other_where_croniter_by_itself_adds_to_it() -> None:
    after = instant("2026-02-01T00:00")
    theirs = croniter("0 0 */2 * 1", after, ret_type=datetime)
    assert [theirs.get_next(datetime).day for _ in range(3)] == [2, 3, 5]
    assert [fire.day for fire in islice(ours("0 0 */2 * 1", "UTC", after), 3)] == [9, 23, 9]


def test_the_nth_weekday_of_a_month_beside_a_day_of_the_month_is_an_either_where_croniter_demands_both() -> None:
    after = instant("2026-01-01T00:00")
    assert next(croniters("0 0 29 2 1#5", after)) == instant("2044-02-29T00:00")
    assert next(ours("0 0 29 2 1#5", "UTC", after)) == instant("2028-02-29T00:00")
    assert (
        next(croniters("0 0 * * 5#2", after)) == next(ours("0 0 * * 5#2", "UTC", after)) == instant("2026-01-09T00:00")
    )


@pytest.mark.parametrize("cron", ["30 * * * *", "*/30 * * * *", "*/30 2 * * *", "0 */2 * * *", "*/7 1-2 * * *"])
def test_no_fire_is_missed_where_a_clock_repeats_half_an_hour_only(cron: str) -> None:
    zone = "Australia/Lord_Howe"
    for minutes in range(0, 240, 15):
        after = instant("2026-04-04T13:00") + timedelta(minutes=minutes)
        assert list(islice(ours(cron, zone, after), COUNT)) == promised(cron, zone, after)


@pytest.mark.parametrize("cron", ["* 23 * 10 0", "* 3 * */9 *", "*/30 2 4 10 *", "0 * 4 10 *", "59 */2 3-5 10 *"])
@pytest.mark.parametrize("start", ["2025-02-28T13:00", "2026-02-28T13:00", "2026-07-01T00:00"])
def test_the_day_of_a_change_by_half_an_hour_is_the_same_from_however_far_before(cron: str, start: str) -> None:
    zone, after = "Australia/Lord_Howe", instant(start)
    assert list(islice(ours(cron, zone, after), COUNT)) == promised(cron, zone, after)


def test_a_day_that_a_zone_skipped_has_no_fires() -> None:
    after = instant("2011-12-29T00:00")
    assert list(islice(ours("0 */12 * * *", "Pacific/Apia", after), 4)) == [
        instant("2011-12-29T10:00"),
        instant("2011-12-29T22:00"),
        instant("2011-12-30T10:00"),
        instant("2011-12-30T22:00"),
    ]
