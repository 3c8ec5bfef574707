"""When a cron schedule fires next, in its time zone, over changes of the clock as well.

A schedule has five fields (minute, hour, day of month, month, day of week) or is one of the names in `NAMES`. Without a
time zone it is read in UTC. Where a zone's clock changes, the rules are those of Debian's cron:

- A schedule whose minute and hour fields are both given (`30 2 * * *`, `0 9-17 * * 1-5`) fires once a local time. A
  time that the clock skips fires at the first minute after the gap, and all that are skipped together fire once there;
  a time that the clock repeats fires at its first occurrence only.
- A schedule whose minute or hour field starts with a star (`*/15 * * * *`, `0 * * * *`) counts real time: it fires in
  both occurrences of an hour that the clock repeats, and not at all in one that the clock skips.

Where the day of month and the day of week are both restricted, either suffices, as in every cron; where one of them
begins with a star (`*/2`), both must hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from rotor import limits
from rotor.errors import ConfigError

__all__ = ["check_cron", "next_fire"]

NAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIELDS: Final = {
    "minute": ("minute", "0 to 59"),
    "hour": ("hour", "0 to 23"),
    "day-of-month": ("day of month", "1 to 31 or L"),
    "month": ("month", "1 to 12 or JAN to DEC"),
    "day-of-week": ("day of week", "0 to 7 or SUN to SAT"),
}
"""By cronsim's words for them: ours, and what may stand there."""
CHANGE_MAX: Final = timedelta(hours=3)
"""By how much a clock is changed at most."""
EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Any fixed instant does to find out whether a schedule ever fires."""


def next_fire(cron: str, timezone: str | None, after: datetime) -> datetime:
    """The first instant later than `after` at which `cron` fires; both are aware, the result is in UTC.

    Raises `ConfigError` for a schedule or a time zone that cannot be used.

    >>> next_fire("0 9 * * 1", "Europe/Paris", datetime(2026, 7, 1, tzinfo=UTC)).isoformat()
    '2026-07-06T07:00:00+00:00'
    """
    fields, zone = _fields(cron), _zone(timezone)
    counts_real_time = any(field.startswith("*") for field in fields[:2])
    fire = (_next_in_real_time if counts_real_time else _next_local_time)(fields, zone, after)
    if fire is None:
        raise ConfigError(f'cron "{cron}" never fires: its dates or times do not exist')
    return fire


def check_cron(cron: str, timezone: str | None) -> None:
    """Raise `ConfigError` that names cron or timezone, whichever cannot be used."""
    next_fire(cron, timezone, EPOCH)


def _next_local_time(fields: Sequence[str], zone: tzinfo, after: datetime) -> datetime | None:
    """The first of the calendar's dates after `after`, each once; None: there is none."""
    # Around a repeated hour the calendar's next date may be one that has passed: its first occurrence.
    fires = (date.astimezone(UTC) for date in CronSim(" ".join(fields), after.astimezone(zone)))
    return next((fire for fire in fires if fire > after), None)


def _next_in_real_time(fields: Sequence[str], zone: tzinfo, after: datetime) -> datetime | None:
    """The first of the calendar's dates after `after`, in each of its occurrences; None: there is none.

    Its dates are those of a clock that is never changed: cronsim goes on by whole hours, and so would pass over dates
    where a clock is changed by half of one. Which of them there are, and when, is looked at where a change is near.
    """
    begin = _shown(after, zone)
    date = next(_dates(fields, begin), None)
    if date is None:
        return None
    if not _is_changed_near(zone, after) and _is_plain(date, zone):
        return date.replace(tzinfo=zone).astimezone(UTC)
    fire = None
    for date in _dates(fields, begin - CHANGE_MAX):
        if fire is not None and date > _shown(fire, zone) + CHANGE_MAX:
            break
        fire = min((each for each in (fire, *_occurrences(date, zone)) if each and each > after), default=None)
    return fire


def _dates(fields: Sequence[str], after: datetime) -> CronSim:
    """The dates of the calendar, as a clock shows them that is never changed. They stand as if they were UTC."""
    return CronSim(" ".join(fields), after)


def _shown(instant: datetime, zone: tzinfo) -> datetime:
    """What the zone's clock shows, as if it were UTC."""
    return instant.astimezone(zone).replace(tzinfo=UTC)


def _occurrences(date: datetime, zone: tzinfo) -> set[datetime]:
    """When the zone's clock shows `date`: once, twice, or never."""
    both = {date.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return {one for one in both if _shown(one, zone) == date}


def _is_plain(date: datetime, zone: tzinfo) -> bool:
    """Whether the zone's clock shows it once, and is not changed near that."""
    occurrences = _occurrences(date, zone)
    return len(occurrences) == 1 and not _is_changed_near(zone, *occurrences)


def _is_changed_near(zone: tzinfo, instant: datetime) -> bool:
    before, later = (instant + by for by in (-CHANGE_MAX, CHANGE_MAX))
    return before.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset()


def _fields(cron: str) -> list[str]:
    """The five fields of a schedule. Raises `ConfigError`."""
    if len(cron) > limits.CRON_CHARACTERS:
        raise ConfigError(f"cron is {len(cron)} characters; the limit is {limits.CRON_CHARACTERS} (CRON_CHARACTERS)")
    text = NAMES.get(cron.strip().lower(), cron)
    if text.strip().startswith("@"):
        raise ConfigError(f'cron "{cron}" is not one of the names {", ".join(NAMES)}')
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise ConfigError(f'cron "{cron}" has {len(fields)} fields, not the five from minute to day of week')
    try:
        CronSim(text, EPOCH)
    except CronSimError as error:
        raise ConfigError(f'cron "{cron}": {_fault(fields, error)}') from None
    return fields


def _fault(fields: Sequence[str], error: CronSimError) -> str:
    """What is wrong with a schedule that cronsim does not read, as the end of a sentence."""
    named = str(error).removeprefix("Bad ")
    place, (name, range_) = next((place, words) for place, (key, words) in enumerate(FIELDS.items()) if key == named)
    if named == "day-of-month":
        try:
            CronSim(" ".join([*fields[:3], "*", fields[4]]), EPOCH)
        except CronSimError:
            pass
        else:
            return f"it never fires, since no month {fields[3]} has a day {fields[2]}"
    return f"the {name} cannot be {fields[place]!r}: it is {range_}, a list such as 1,2, a range such as 1-5, or *"


def _zone(timezone: str | None) -> tzinfo:
    if timezone is None:
        return UTC
    try:
        return ZoneInfo(timezone)
    except (LookupError, ValueError, OSError):
        # A folder ("Europe"), an overlong name and a path each fail in a way of their own.
        raise ConfigError(
            f'timezone "{timezone[: limits.CRON_CHARACTERS]}" is not an IANA time zone such as "Europe/Paris"'
        ) from None
