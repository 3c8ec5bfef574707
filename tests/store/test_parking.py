"""A quiet run that parks on a sleep goes the short way, and comes to the same as on the long way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from rotor import limits
from rotor.engine.arrivals import FromHolder
from rotor.protocol.messages import DropRun, ResumeRun, RunMessage, StepParked
from rotor.store.cancellation import cancel
from rotor.store.committer import NONE
from rotor.store.database import Connection, WorkspaceConnection
from rotor.store.progress import divide
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, acknowledged, begin, fire_deadlines, hold, rescue, serve
from tests.store.tables import change, locked, lose_answer, run_row, select, status_of, until_blocked, value, waits_of

MINUTE = timedelta(minutes=1)
ROW = "SELECT 1 FROM runs WHERE id = $1 FOR UPDATE"
AS_IT_WRITES_THE_SLEEP = """
    INSERT INTO steps (run_id, id, index, op, status, started_at, settled_group, position)
    VALUES ($1, 'nap', 0, 'sleep', 'waiting', now(), 1, 0)
"""
"""In another connection, and deleted at its end: a sleep waits for that with its run already written."""
LONG_AGO, FAR_AWAY = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
OWN = {"id", "run_id", "event_id"}
"""Columns in which any two runs differ."""
OF_ITS_COMMIT = {"settled_group", "changed_group", "kept_group", "position", "deadline"}
"""Columns in which a batch that is written by one commit differs from one that is written by two."""


def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all statements from now on."""
    asked: list[str] = []

    def noting(run: Callable[..., Any]) -> Callable[..., Any]:
        def noted(self: object, name: str, *arguments: object) -> object:
            asked.append(name)
            return run(self, name, *arguments)

        return noted

    for kind, how in product((Connection, WorkspaceConnection), ("fetch", "fetchrow", "fetchval", "execute")):
        monkeypatch.setattr(kind, how, noting(getattr(kind, how)))
    return asked


def sleeps_until(run_id: str, id: str, until: datetime) -> StepParked:
    return replace(messages.sleeps(run_id, id), seconds=None, until=until)


Said = Callable[[str], list[RunMessage]]
PARKS: dict[str, Said] = {
    "a sleep": lambda run: [messages.sleeps(run, "nap"), messages.parked(run)],
    "its body is kept": lambda run: [messages.sleeps(run, "nap"), messages.parked(run, kept=True)],
    "the third of its id": lambda run: [messages.sleeps(run, "nap", index=2), messages.parked(run)],
    "until an instant": lambda run: [sleeps_until(run, "nap", FAR_AWAY), messages.parked(run, kept=True)],
    "until an instant long ago": lambda run: [sleeps_until(run, "nap", LONG_AGO), messages.parked(run)],
    "for no time": lambda run: [messages.sleeps(run, "nap", 0), messages.parked(run)],
}


async def rows(store: Store, run_id: str) -> list[dict[str, Any]]:
    """All that is recorded of a run, without what differs between any two: commits are counted from its last."""
    run = await run_row(store.database, run_id)
    found = [dict(run)]
    for table in ("steps", "waits"):
        found += map(
            dict, await select(store.database, f"SELECT * FROM {table} WHERE run_id = $1 ORDER BY 2", run["id"])
        )
    began = {row["id"]: row["started_at"] for row in found[1:] if "op" in row}
    for row in found:
        for column in {"changed_group", "settled_group", "kept_group"} & row.keys():
            row[column] = row[column] and row[column] - run["changed_group"]
        for column, content in row.items():
            if column == "deadline" and content not in (None, LONG_AGO, FAR_AWAY):
                row[column] -= began[row["step_id"] if "step_id" in row else row["id"]]
            elif isinstance(content, datetime) and content not in (LONG_AGO, FAR_AWAY):
                row[column] = "an instant"
        row.update(dict.fromkeys(OWN & row.keys()))
    return found


async def seen(store: Store, holder: Holder, run_id: str, said: list[RunMessage]) -> dict[str, Any]:
    """What comes of what a holder says: on record, told, and known to this server."""
    store.holders.hungry.add(holder.lease_id)
    followed = store.changes.listen(UUID(run_id))
    ended = store.changes.listen(UUID(run_id), end_only=True)
    for nudge in (store.changes.queued, store.changes.deadline):
        nudge.clear()
    answer = await holder.say(*said)
    return {
        "rows": await rows(store, run_id),
        "answer": [type(told) for told in answer],
        "acknowledged": [said.index(one) for one in said if one.n in acknowledged(answer)],
        "held": store.holders.held_by(holder.lease_id),
        "kept": store.holders.keeps(holder.lease_id, UUID(run_id)),
        "queued": store.changes.queued.is_set(),
        "deadline": store.changes.deadline.is_set(),
        "followed": followed.is_set(),
        "ended": ended.is_set(),
    }


async def held_twice(store: Store) -> tuple[Holder, list[str]]:
    """Two fresh runs, of which the second goes the long way."""
    await serve(store, "f")
    holder = await Holder.connect(store)
    runs = []
    for _ in range(2):
        await begin(store)
        runs.append((await holder.take()).run_id)
    store.holders.opens(holder.lease_id, runs[1])
    return holder, runs


@pytest.mark.parametrize("said", PARKS.values(), ids=PARKS.keys())
async def test_a_run_parks_the_same_either_way(store: Store, monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    holder, (quiet, other) = await held_twice(store)
    asked = statements(monkeypatch)
    short = await seen(store, holder, quiet, said(quiet))
    assert asked == ["put_parks"]
    long = await seen(store, holder, other, said(other))

    assert "lock_runs" in asked
    assert {**short, "held": 0} == {**long, "held": 0}
    assert (short["held"], long["held"]) == (1, 0)
    assert short["rows"][0]["status"] == "waiting"
    assert short["queued"]
    assert short["deadline"]


@pytest.mark.parametrize(
    "before",
    [
        "UPDATE runs SET cancel_requested_at = now() WHERE id = $1",
        "UPDATE runs SET settled = settled + 1 WHERE id = $1",
        "INSERT INTO steps (run_id, id, index, op, status, started_at, settled_group, position) "
        "VALUES ($1, 'nap', 0, 'sleep', 'waiting', now(), 0, 0)",
        "UPDATE runs SET status = 'queued', due_at = now(), lease_id = NULL WHERE id = $1",
    ],
    ids=["cancellation is asked for", "it has not heard all", "the step is there", "the lease is over"],
)
async def test_where_something_does_not_stand_it_comes_to_the_same_too(store: Store, before: str) -> None:
    holder, runs = await held_twice(store)
    for run_id in runs:
        await change(store.database, before, UUID(run_id))
    short, long = [await seen(store, holder, run_id, PARKS["its body is kept"](run_id)) for run_id in runs]
    for one in (short, long):
        one["rows"] = [{**row, **dict.fromkeys(OF_ITS_COMMIT)} for row in one["rows"]]
        one["answer"] = set(one["answer"])

    assert {**short, "held": 0} == {**long, "held": 0}
    assert short["held"] == long["held"] + (short["rows"][0]["status"] != "running")


@pytest.mark.parametrize(
    "said",
    [
        lambda run: [messages.sleeps(run, "nap")],
        lambda run: [messages.done(run, "a"), messages.sleeps(run, "nap"), messages.parked(run)],
        lambda run: [messages.parked(run)],
        lambda run: [messages.sleeps(run, "nap"), messages.sleeps(run, "other"), messages.parked(run)],
        lambda run: [messages.parked(run), messages.sleeps(run, "nap")],
        lambda run: [messages.sleeps(run, "nap"), messages.parked(run), messages.done(run, "a")],
        lambda run: [messages.sleeps(run, "nap"), messages.completed(run), messages.parked(run)],
        lambda run: [messages.sleeps(run, "nap"), messages.parked(run), messages.parked(run)],
        lambda run: [messages.awaits_event(run, "w", "opened"), messages.parked(run)],
        lambda run: [messages.awaits_signal(run, "w", "s"), messages.parked(run)],
        lambda run: [messages.invokes(run, "w", "f"), messages.parked(run)],
    ],
    ids=[
        "it goes on beside the sleep",
        "a result came with it",
        "it waits for nothing",
        "two sleeps",
        "parked before it sleeps",
        "more is said after that",
        "it has ended",
        "said twice",
        "an event",
        "a signal",
        "a child",
    ],
)
async def test_only_a_run_that_does_nothing_but_one_sleep_parks_the_short_way(store: Store, said: Said) -> None:
    holder, run_id = await hold(store)
    arrivals = [FromHolder(UUID(run_id), 1, holder.lease_id, one, NONE, connection=1) for one in said(run_id)]

    assert divide(arrivals, store.holders) == ([], [], [], arrivals)


@pytest.mark.parametrize(("first", "connection"), [(None, None), (uuid4(), 1), (None, 2)])
async def test_a_park_of_two_holders_or_over_http_goes_the_long_way(
    store: Store, first: UUID | None, connection: int | None
) -> None:
    holder, run_id = await hold(store)
    nap, parked = messages.sleeps(run_id, "nap"), messages.parked(run_id)
    arrivals = [
        FromHolder(UUID(run_id), 1, first or holder.lease_id, nap, NONE, connection=connection),
        FromHolder(UUID(run_id), 1, holder.lease_id, parked, NONE, connection=connection and 1),
    ]

    assert divide(arrivals, store.holders) == ([], [], [], arrivals)


async def test_a_run_that_goes_on_beside_a_sleep_is_not_quiet(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap"))

    assert not store.holders.is_quiet(holder.lease_id, run_id)


async def test_many_runs_that_park_are_one_statement_beside_that_of_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(store, "f")
    runs = [str(await begin(store)) for _ in range(9)]
    holder = await Holder.connect(store)
    await holder.claim()
    asked = statements(monkeypatch)
    async with locked(store.database, "SELECT 1 FROM leases FOR UPDATE") as other:
        first = asyncio.create_task(holder.say(messages.done(runs[0], "a")))
        await until_blocked(other)
        rest = [asyncio.create_task(holder.say(messages.completed(run, 1))) for run in runs[1:4]]
        rest += [asyncio.create_task(holder.say(messages.done(run, "a"))) for run in runs[4:6]]
        rest += [asyncio.create_task(holder.say(*PARKS["its body is kept"](run))) for run in runs[6:]]
        await asyncio.sleep(0)
    await asyncio.gather(first, *rest)

    assert asked == ["put_result", "put_progress", "put_parks"]
    assert [await status_of(store.database, run) for run in runs] == (
        ["running"] + ["completed"] * 3 + ["running"] * 2 + ["waiting"] * 3
    )
    assert [await waits_of(store.database, run) for run in runs] == [[]] * 6 + [["nap"]] * 3
    assert await value(store.database, "SELECT count(*) FROM steps WHERE op = 'sleep'") == 3


async def test_a_run_wakes_parks_again_and_wakes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    holder, run_id = await hold(store)
    holder.slots = 1
    for number in range(3):
        asked = statements(monkeypatch)
        await holder.say(messages.sleeps(run_id, "nap", index=number), messages.parked(run_id, number, kept=True))
        assert set(asked) == {"put_parks"}
        await fire_deadlines(store, MINUTE)

    resumed = [message for message in holder.told if isinstance(message, ResumeRun)]
    assert [[(memo.id, memo.index) for memo in one.memo] for one in resumed] == [[("nap", n)] for n in range(3)]


# --- two connections


async def test_a_cancellation_that_comes_before_the_park_cancels(store: Store, second_store: Store) -> None:
    holder, run_id = await hold(store)
    async with locked(store.database, ROW, UUID(run_id)) as other:
        cancelling = asyncio.create_task(cancel(second_store, 1, UUID(run_id)))
        await until_blocked(other)
        parking = asyncio.create_task(holder.say(*PARKS["its body is kept"](run_id)))
        await until_blocked(other, 2)
    await cancelling

    assert await parking
    assert await status_of(store.database, run_id) == "cancelled"
    assert await waits_of(store.database, run_id) == []


async def test_a_cancellation_that_comes_as_the_park_is_being_written_cancels(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(store)
    async with locked(store.database, AS_IT_WRITES_THE_SLEEP, UUID(run_id)) as other:
        parking = asyncio.create_task(holder.say(*PARKS["its body is kept"](run_id)))
        await until_blocked(other)
        cancelling = asyncio.create_task(cancel(second_store, 1, UUID(run_id)))
        await until_blocked(other, 2)
        await other.execute("DELETE FROM steps")
    await cancelling

    assert len(acknowledged(await parking)) == 2
    assert await status_of(store.database, run_id) == "cancelled"
    assert await waits_of(store.database, run_id) == []


async def test_a_run_that_is_taken_away_as_it_parks_is_parked_or_taken(store: Store, second_store: Store) -> None:
    await serve(store, "f")
    holder = await Holder.connect(store, lasting=False)
    parked, taken = [str(await begin(store)) for _ in range(2)]
    await holder.claim()
    second_store.database.advance(limits.LEASE)
    async with locked(store.database, AS_IT_WRITES_THE_SLEEP, UUID(parked)) as other:
        parking = asyncio.create_task(holder.say(*PARKS["its body is kept"](parked)))
        await until_blocked(other)
        losing = asyncio.create_task(rescue(second_store))
        await until_blocked(other, 2)
        await other.execute("DELETE FROM steps")
    await losing

    assert len(acknowledged(await parking)) == 2
    assert {type(told) for told in await holder.say(*PARKS["its body is kept"](taken))} == {DropRun}
    assert [await status_of(store.database, run) for run in (parked, taken)] == ["waiting", "queued"]
    assert await waits_of(store.database, taken) == []


async def test_a_deadline_that_passes_as_the_park_is_being_written_is_due_at_once(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(store)
    async with locked(store.database, AS_IT_WRITES_THE_SLEEP, UUID(run_id)) as other:
        parking = asyncio.create_task(holder.say(*PARKS["until an instant long ago"](run_id)))
        await until_blocked(other)
        await fire_deadlines(second_store)
        assert await status_of(second_store.database, run_id) == "running"
        await other.execute("DELETE FROM steps")
    await parking

    assert store.changes.deadline.is_set()
    await fire_deadlines(second_store)
    assert (await run_row(store.database, run_id))["settled"] == 1
    assert await status_of(store.database, run_id) == "queued"


async def test_a_park_whose_commit_is_not_answered_stands(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    holder, run_id = await hold(store)
    lose_answer(store.database, monkeypatch, "connection")
    answer = await holder.say(*PARKS["its body is kept"](run_id))

    assert {type(told) for told in answer} == {DropRun}
    assert await status_of(store.database, run_id) == "waiting"
    assert await waits_of(store.database, run_id) == ["nap"]
    assert store.holders.held_by(holder.lease_id) == 0
    await fire_deadlines(store, MINUTE)
    assert [memo.id for memo in (await holder.take()).memo] == ["nap"]
