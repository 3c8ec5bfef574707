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

from datetime import UTC, datetime, tzinfo
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
EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Any fixed instant does to find out whether a schedule ever fires."""


def next_fire(cron: str, timezone: str | None, after: datetime) -> datetime:
    """The first instant later than `after` at which `cron` fires; both are aware, the result is in UTC.

    Raises `ConfigError` for a schedule or a time zone that cannot be used.

    >>> next_fire("0 9 * * 1", "Europe/Paris", datetime(2026, 7, 1, tzinfo=UTC)).isoformat()
    '2026-07-06T07:00:00+00:00'
    """
    dates = _dates(cron, _zone(timezone), after)
    for date in dates:
        # Around a repeated hour the calendar's next date may be one that has passed: its first occurrence.
        fire = date.astimezone(UTC)
        if fire > after:
            return fire
    raise ConfigError(f'cron "{cron}" never fires: its dates or times do not exist')


def check_cron(cron: str, timezone: str | None) -> None:
    """Raise `ConfigError` that names cron or timezone, whichever cannot be used."""
    next_fire(cron, timezone, EPOCH)


def _dates(cron: str, zone: tzinfo, after: datetime) -> CronSim:
    if len(cron) > limits.CRON_CHARACTERS:
        raise ConfigError(f"cron is {len(cron)} characters; the limit is {limits.CRON_CHARACTERS} (CRON_CHARACTERS)")
    fields = NAMES.get(cron.strip().lower(), cron)
    if fields.strip().startswith("@"):
        raise ConfigError(f'cron "{cron}" is not one of the names {", ".join(NAMES)}')
    if len(fields.split()) != 5:
        raise ConfigError(f'cron "{cron}" has {len(fields.split())} fields, not the five from minute to day of week')
    try:
        return CronSim(fields, after.astimezone(zone))
    except CronSimError as error:
        raise ConfigError(f'cron "{cron}" cannot be read: {str(error).lower()} field') from None


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
