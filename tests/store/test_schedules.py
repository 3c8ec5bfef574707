"""A cron fires once a time, whoever is there to see to it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from rotor.protocol import json
from rotor.protocol.messages import FunctionSpec, Trigger
from rotor.store import functions
from rotor.store.database import Database
from rotor.store.schedules import CRON_EVENT, fire_due
from rotor.store.store import Store
from tests.store.actors import Holder
from tests.store.rows import BEGINNING
from tests.store.tables import change, select, value


async def schedule(store: Store, function_id: str, cron: str, timezone: str | None = None) -> None:
    spec = FunctionSpec(id=function_id, triggers=[Trigger(cron=cron, timezone=timezone)])
    await functions.register(store.database, 1, [spec])


async def set_clock(database: Database, instant: datetime) -> None:
    now = await value(database, "SELECT rotor_now()")
    database.advance(instant - now)


async def next_at(store: Store) -> datetime:
    instant: datetime = await value(store.database, "SELECT next_at FROM triggers")
    return instant


async def fired(store: Store) -> list[datetime]:
    """The instants that runs were scheduled for."""
    rows = await select(store.database, "SELECT data FROM events WHERE name = $1 ORDER BY ts", CRON_EVENT)
    return [datetime.fromisoformat(json.decode(row["data"])["scheduled_at"]) for row in rows]


async def test_a_cron_fires_at_its_time_and_says_for_when(store: Store) -> None:
    await set_clock(store.database, BEGINNING)
    await schedule(store, "f", "*/5 * * * *")
    due = await next_at(store)
    assert await fire_due(store.database) == 0
    await set_clock(store.database, due)
    assert await fire_due(store.database) == 1
    start = await (await Holder.connect(store)).take()

    assert start.event.name == CRON_EVENT
    data = json.decode(start.event.data)
    assert (data["cron"], data["timezone"]) == ("*/5 * * * *", "UTC")
    assert await fired(store) == [due]
    assert await next_at(store) == due + timedelta(minutes=5)


async def test_two_servers_fire_once(store: Store, second_store: Store) -> None:
    for each in (store, second_store):
        await set_clock(each.database, BEGINNING)
    for number in range(10):
        await schedule(store, f"f{number}", "*/5 * * * *")
    for each in (store, second_store):
        each.database.advance(timedelta(minutes=5))
    counts = await asyncio.gather(*(fire_due(each.database) for each in (store, second_store) * 3))

    assert sum(counts) == 10
    assert await value(store.database, "SELECT count(*) FROM runs") == 10


async def test_fires_that_were_missed_are_caught_up_by_one_run_for_the_earliest(store: Store) -> None:
    await schedule(store, "f", "0 * * * *")
    earliest = await next_at(store)
    await set_clock(store.database, earliest + timedelta(hours=5, minutes=30))
    assert await fire_due(store.database) == 1
    assert await fire_due(store.database) == 0

    assert await fired(store) == [earliest]
    assert await next_at(store) == earliest + timedelta(hours=6)


async def test_the_fires_of_a_paused_function_are_skipped(store: Store) -> None:
    await schedule(store, "f", "0 * * * *")
    await functions.pause(store.database, 1, "f")
    due = await next_at(store)
    await set_clock(store.database, due)
    await fire_due(store.database)
    await functions.resume(store.database, 1, "f")

    assert await fired(store) == []
    assert await next_at(store) == due + timedelta(hours=1)


@pytest.mark.parametrize(
    ("cron", "begin", "expected"),
    [
        # 02:30 does not exist on 29 March 2026: it fires where the clock has skipped it, at 03:00 (01:00 UTC).
        ("30 2 * * *", "2026-03-28", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        # 02:30 comes twice on 25 October 2026: it fires the first time alone.
        ("30 2 * * *", "2026-10-24", ["2026-10-25 00:30", "2026-10-26 01:30"]),
        # Nine in the morning stays nine in the morning.
        ("0 9 * * *", "2026-10-23", ["2026-10-24 07:00", "2026-10-25 08:00"]),
    ],
    ids=["skipped hour", "repeated hour", "over the change"],
)
async def test_a_cron_keeps_to_its_time_zone_over_changes_of_the_clock(
    store: Store, cron: str, begin: str, expected: list[str]
) -> None:
    await set_clock(store.database, datetime.fromisoformat(f"{begin} 12:00+00:00"))
    await schedule(store, "f", cron, "Europe/Paris")
    for _ in expected:
        await set_clock(store.database, await next_at(store))
        await fire_due(store.database)

    assert [f"{instant:%Y-%m-%d %H:%M}" for instant in await fired(store)] == expected


async def test_a_cron_that_is_registered_again_unchanged_keeps_its_next_fire(store: Store) -> None:
    await schedule(store, "f", "0 * * * *")
    due = await next_at(store)
    await set_clock(store.database, due + timedelta(minutes=1))
    await schedule(store, "f", "0 * * * *")
    await fire_due(store.database)

    assert await fired(store) == [due]


async def test_a_cron_that_this_server_cannot_read_holds_up_no_other(store: Store) -> None:
    await schedule(store, "f", "0 * * * *")
    await change(store.database, "UPDATE triggers SET timezone = 'Mars/Olympus'")
    await schedule(store, "g", "0 * * * *")
    store.database.advance(timedelta(hours=1))

    assert await fire_due(store.database) == 1
    assert [row["function_id"] for row in await select(store.database, "SELECT function_id FROM runs")] == ["g"]


async def test_a_crons_event_starts_nothing_else(store: Store) -> None:
    await schedule(store, "f", "0 * * * *")
    await change(store.database, "INSERT INTO functions (workspace_id, id) VALUES (1, 'spy')")
    await change(
        store.database,
        "INSERT INTO triggers (workspace_id, function_id, position, event_name) VALUES (1, 'spy', 0, $1)",
        CRON_EVENT,
    )
    store.database.advance(timedelta(hours=1))
    await fire_due(store.database)

    assert [row["function_id"] for row in await select(store.database, "SELECT function_id FROM runs")] == ["f"]
