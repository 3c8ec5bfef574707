"""When a schedule fires: over changes of the clock, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotor.engine.cron import NAMES, check_cron, next_fire
from rotor.errors import ConfigError

BERLIN = "Europe/Berlin"  # 2026: 29 March 02:00 -> 03:00, 25 October 03:00 -> 02:00


def fires(cron: str, timezone: str | None, start: str, count: int) -> list[str]:
    after = datetime.fromisoformat(start).replace(tzinfo=UTC)
    found = []
    for _ in range(count):
        after = next_fire(cron, timezone, after)
        found.append(f"{after:%m-%d %H:%M}")
    return found


def test_a_schedule_is_read_in_its_time_zone() -> None:
    assert fires("0 9 * * 1", "Europe/Paris", "2026-07-01", 2) == ["07-06 07:00", "07-13 07:00"]
    assert fires("0 9 * * MON", None, "2026-07-01", 1) == ["07-06 09:00"]


def test_the_fire_is_later_than_the_instant_given() -> None:
    assert fires("0 9 * * *", None, "2026-07-01T09:00:00", 1) == ["07-02 09:00"]
    assert fires("0 9 * * *", None, "2026-07-01T08:59:59.999999", 1) == ["07-01 09:00"]


def test_a_time_that_the_clock_skips_fires_at_the_first_minute_after() -> None:
    assert fires("30 2 * * *", BERLIN, "2026-03-28T00:00", 3) == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_times_that_are_skipped_together_fire_once() -> None:
    assert fires("0,30 2 * * *", BERLIN, "2026-03-29T00:00", 2) == ["03-29 01:00", "03-30 00:00"]


def test_a_time_that_the_clock_repeats_fires_at_its_first_occurrence_only() -> None:
    assert fires("30 2 * * *", BERLIN, "2026-10-24T12:00", 2) == ["10-25 00:30", "10-26 01:30"]


def test_a_schedule_read_within_the_repeated_hour_goes_forward() -> None:
    assert fires("50 2 * * *", BERLIN, "2026-10-25T01:20", 1) == ["10-26 01:50"]


def test_every_so_many_minutes_counts_real_time() -> None:
    assert fires("*/30 * * * *", BERLIN, "2026-10-25T00:00", 4) == [
        "10-25 00:30",
        "10-25 01:00",
        "10-25 01:30",
        "10-25 02:00",
    ]
    assert fires("0 * * * *", BERLIN, "2026-03-29T00:00", 2) == ["03-29 01:00", "03-29 02:00"]
    assert fires("*/30 2 * * *", BERLIN, "2026-03-29T00:00", 1) == ["03-30 00:00"]


def test_either_day_suffices_where_both_are_restricted() -> None:
    assert fires("0 0 13 * 5", None, "2026-02-01", 3) == ["02-06 00:00", "02-13 00:00", "02-20 00:00"]


def test_the_29th_of_february_waits_for_its_year() -> None:
    assert next_fire("0 0 29 2 *", None, datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2028, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize("name", [*NAMES, "@DAILY", " @hourly "])
def test_names_stand_for_schedules(name: str) -> None:
    check_cron(name, BERLIN)
    assert fires("@daily", None, "2026-07-01T12:00", 1) == ["07-02 00:00"]


@pytest.mark.parametrize(
    "cron",
    [
        *[
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
        ],
        *["5-1 * * * *", "a * * * *", "@reboot", "@every 5m", "0 0 30 2 *", "0 0 31 4,6 *", "- * * * *", "é * * * *"],
        *["0 " * 100, "0 0 * * " + "1," * 100],
    ],
)
def test_a_schedule_that_cannot_be_used_is_refused_by_name(cron: str) -> None:
    with pytest.raises(ConfigError, match=r"^cron "):
        check_cron(cron, None)


@pytest.mark.parametrize(
    "timezone", ["", "Mars/Olympus", "Europe", "../etc/passwd", "/etc/localtime", "x" * 5_000, "a\0b"]
)
def test_a_time_zone_that_does_not_exist_is_refused_by_name(timezone: str) -> None:
    with pytest.raises(ConfigError, match=r"^timezone "):
        check_cron("@daily", timezone)


FIELDS = st.tuples(
    st.sampled_from(["*", "*/7", "0", "30", "59", "10-20/5"]),
    st.sampled_from(["*", "*/5", "0", "2", "1-3", "23"]),
    st.sampled_from(["*", "1", "29", "L", "31"]),
    st.sampled_from(["*", "3", "10", "1,2"]),
    st.sampled_from(["*", "0", "7", "MON-FRI", "5L", "2#1"]),
).map(" ".join)
ZONES = st.sampled_from(
    [None, "UTC", BERLIN, "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]
)
INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(cron=FIELDS, timezone=ZONES, after=INSTANTS)
def test_every_fire_is_later_and_none_between_is_passed_over(cron: str, timezone: str | None, after: datetime) -> None:
    try:
        fire = next_fire(cron, timezone, after)
    except ConfigError:
        assert " 31 1,2 " not in cron
        return
    assert fire > after
    assert (fire.second, fire.microsecond, fire.tzinfo) == (0, 0, UTC)
    assert next_fire(cron, timezone, fire - timedelta(seconds=1)) == fire
    assert next_fire(cron, timezone, after + (fire - after) / 2) == fire


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("0 0 31 2 *", "it never fires, since no month 2 has a day 31"),
        ("0 0 31 4,6 *", "it never fires, since no month 4,6 has a day 31"),
        ("99 * * * *", "the minute cannot be '99': it is 0 to 59"),
        ("0 9 * * FUNDAY", "the day of week cannot be 'FUNDAY': it is 0 to 7 or SUN to SAT"),
        ("0 0 32 1 *", "the day of month cannot be '32': it is 1 to 31 or L"),
    ],
)
def test_a_schedule_that_cannot_be_is_told_by_its_field(cron: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        next_fire(cron, None, datetime(2026, 1, 1, tzinfo=UTC))
    assert message in str(refused.value)
