"""An event wakes a run whose body a worker here keeps the short way, and it comes to the same as on the long way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from rotor.engine.arrivals import EventArrived
from rotor.engine.run import StepKey
from rotor.protocol.messages import Goodbye, ResumeRun
from rotor.store import functions, leases
from rotor.store.cancellation import cancel
from rotor.store.holders import Holders
from rotor.store.progress import divide
from rotor.store.statements import workspace_statement
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, begin, fire_deadlines, hold, match, send, serve
from tests.store.tables import (
    change,
    locked,
    lose_answer,
    run_row,
    select,
    status_of,
    step_row,
    until_blocked,
    waits_of,
)
from tests.store.test_parking import ROW, rows, statements

LOCKS = {"lock_runs", "put_batch"}


async def parked(store: Store, *, slots: int = 1, also: str | None = None) -> tuple[Holder, str]:
    """A run that waits for an event of its own, and the holder that keeps its body."""
    holder, run_id = await hold(store)
    holder.slots = slots
    await park(store, holder, run_id, also=also)
    return holder, run_id


async def park(store: Store, holder: Holder, run_id: str, *, also: str | None = None) -> None:
    waits = [messages.awaits_event(run_id, "w", "opened", equals={"data.run": run_id})]
    waits += [messages.awaits_event(run_id, "other", also)] if also else []
    await holder.say(*waits, messages.parked(run_id, kept=True))
    await match(store)


async def comes(store: Store, run_id: str) -> str:
    event_id = await send(store, "opened", {"run": run_id})
    await match(store)
    return event_id


def resumed(holder: Holder) -> list[ResumeRun]:
    return [message for message in holder.told if isinstance(message, ResumeRun)]


def the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nobody is known to keep a body when an event comes; the long way reads it."""
    monkeypatch.setattr(Holders, "keepers_of", lambda *_: {})


async def seen(store: Store, holder: Holder, run_id: str) -> dict[str, Any]:
    """What comes of an event: on record, told, and known to this server."""
    followed, ended = store.changes.listen(UUID(run_id)), store.changes.listen(UUID(run_id), end_only=True)
    holder.told.clear()
    await comes(store, run_id)
    return {
        "rows": [{**row, "output": None} for row in await rows(store, run_id)],
        "event": (await step_row(store.database, run_id, "w"))["output"] is not None,
        "told": [
            (message.settled, [(memo.id, memo.op, memo.status, memo.group > 0) for memo in message.memo])
            for message in resumed(holder)
        ],
        "others told": len(holder.told) - len(resumed(holder)),
        "kept": store.holders.keeps(holder.lease_id, UUID(run_id)),
        "held": store.holders.held_by(holder.lease_id),
        "quiet": store.holders.is_quiet(holder.lease_id, run_id),
        "followed": followed.is_set(),
        "ended": ended.is_set(),
    }


@pytest.mark.parametrize("also", [None, "closed"], ids=["it waits for nothing else", "it goes on beside another wait"])
async def test_an_event_wakes_a_run_the_same_either_way(
    store: Store, monkeypatch: pytest.MonkeyPatch, also: str | None
) -> None:
    holder, first = await parked(store, also=also)
    asked = statements(monkeypatch)
    short = await seen(store, holder, first)
    assert "put_wakes" in asked
    assert LOCKS.isdisjoint(asked)
    await holder.say(messages.completed(first))
    await begin(store)
    second = (await holder.take()).run_id
    await park(store, holder, second, also=also)
    the_long_way(monkeypatch)
    asked = statements(monkeypatch)
    long = await seen(store, holder, second)

    assert "put_wakes" not in asked
    assert set(asked) > LOCKS
    assert short == long
    assert short["rows"][0]["status"] == "running"
    assert (short["quiet"], short["told"]) == (also is None, [(1, [("w", "wait_for_event", "completed", True)])])


async def test_it_goes_on_with_the_event_and_ends(store: Store) -> None:
    holder, run_id = await parked(store)
    event_id = await comes(store, run_id)
    (resume,) = resumed(holder)
    await holder.say(messages.completed(run_id, 1))

    assert bytes(resume.memo[0].output) == (await step_row(store.database, run_id, "w"))["output"]
    assert event_id.encode() in bytes(resume.memo[0].output)
    assert (await step_row(store.database, run_id, "w"))["event_id"] == event_id
    assert await status_of(store.database, run_id) == "completed"
    assert await waits_of(store.database, run_id) == []


async def test_many_runs_that_one_event_wakes_are_one_statement(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await serve(store, "f")
    holder = await Holder.connect(store, slots=2)
    runs = [str(await begin(store)) for _ in range(4)]
    await holder.claim()
    for run_id in runs:
        await holder.say(messages.awaits_event(run_id, "w", "opened"), messages.parked(run_id, kept=run_id != runs[3]))
    await match(store)
    asked = statements(monkeypatch)
    await comes(store, runs[0])

    assert [asked.count(name) for name in ("put_wakes", "lock_runs")] == [1, 1]
    assert sorted([await status_of(store.database, run_id) for run_id in runs]) == ["queued"] * 2 + ["running"] * 2
    assert len(resumed(holder)) == 2
    assert await waits_of(store.database, runs[3]) == []


async def test_a_run_that_wakes_while_its_function_is_being_paused_does_not_go_on(store: Store) -> None:
    holder, run_id = await parked(store)
    async with locked(store.database, workspace_statement("pause_function"), 1, "f", True) as pausing:
        waking = asyncio.create_task(comes(store, run_id))
        await until_blocked(pausing)
    await waking

    assert (await status_of(store.database, run_id), resumed(holder)) == ("queued", [])


async def test_a_pause_is_answered_once_what_is_just_waking_goes_on(store: Store) -> None:
    holder, run_id = await parked(store)
    async with locked(store.database, "SELECT FROM runs FOR NO KEY UPDATE") as other:
        waking = asyncio.create_task(comes(store, run_id))
        await until_blocked(other)
        pausing = asyncio.create_task(functions.pause(store.database, 1, "f"))
        await until_blocked(other, 2)
    await asyncio.gather(waking, pausing)

    assert (await status_of(store.database, run_id), len(resumed(holder))) == ("running", 1)


async def paused(store: Store, _: str) -> None:
    await functions.pause(store.database, 1, "f")


async def served(store: Store, _: str) -> None:
    await serve(store, "f", serve_url="https://app.example.com/api/rotor")


async def came_back(store: Store, _: str) -> None:
    (row,) = await select(store.database, "SELECT id FROM leases")
    await leases.resume(store.database, 1, row["id"])


async def ran_out(store: Store, _: str) -> None:
    await change(store.database, "UPDATE leases SET expires_at = rotor_now()")


async def taken_away(store: Store, _: str) -> None:
    await change(store.database, "UPDATE leases SET taken_at = rotor_now()")


async def kept_elsewhere(store: Store, run_id: str) -> None:
    await change(store.database, "UPDATE runs SET kept_by = gen_random_uuid() WHERE id = $1", UUID(run_id))


@pytest.mark.parametrize("before", [paused, served, came_back, ran_out, taken_away, kept_elsewhere])
async def test_where_its_keeper_cannot_go_on_it_is_queued(store: Store, before: Callable[..., Any]) -> None:
    holder, run_id = await parked(store)
    await before(store, run_id)
    event_id = await comes(store, run_id)

    assert (await status_of(store.database, run_id), resumed(holder)) == ("queued", [])
    assert (await step_row(store.database, run_id, "w"))["event_id"] == event_id
    assert (await run_row(store.database, run_id))["settled"] == 1


@pytest.mark.parametrize("why", ["no slot", "others wait for their turn", "its slot is just being filled"])
async def test_a_keeper_without_room_gets_it_in_its_turn(store: Store, why: str) -> None:
    holder, run_id = await parked(store, slots=0 if why == "no slot" else 1)
    if why == "others wait for their turn":
        store.holders.hungry.add(holder.lease_id)
    with store.holders.reserve({holder.lease_id: 1 if why == "its slot is just being filled" else 0}):
        await comes(store, run_id)

    assert await status_of(store.database, run_id) == "queued"


async def test_two_events_for_one_run_at_once_go_the_long_way(store: Store) -> None:
    _, run_id = await parked(store)
    arrivals = [EventArrived(StepKey(UUID(run_id), "w", 0), f"e-{n}", b"{}", 1) for n in range(2)]

    assert divide(arrivals, store.holders) == ([], [], [], arrivals)
    assert [await store.committer.submit(arrival) for arrival in arrivals] == [True, False]


async def test_an_event_that_another_wait_of_the_run_has_taken_wakes_nothing(store: Store) -> None:
    holder, run_id = await parked(store, also="closed")
    event_id = await comes(store, run_id)
    await holder.say(messages.parked(run_id, 1, kept=True))

    assert not await store.committer.submit(EventArrived(StepKey(UUID(run_id), "other", 0), event_id, b"{}", 1))
    assert await status_of(store.database, run_id) == "waiting"
    assert await waits_of(store.database, run_id) == ["other"]


async def test_a_wait_that_is_over_is_not_ended_again(store: Store) -> None:
    holder, run_id = await parked(store, also="closed")
    await comes(store, run_id)
    await holder.say(messages.parked(run_id, 1, kept=True))

    assert not await store.committer.submit(EventArrived(StepKey(UUID(run_id), "w", 0), "e-2", b"{}", 1))
    assert (await run_row(store.database, run_id))["settled"] == 1


async def test_a_keeper_connects_again_where_it_may_have_a_run_that_nobody_told_it_of(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await parked(store)
    event = EventArrived(StepKey(UUID(run_id), "w", 0), "e-1", b"{}", 1)
    lose_answer(store.database, monkeypatch, "connection")

    assert not await store.committer.submit(event)
    assert (await run_row(store.database, run_id))["lease_id"] == holder.lease_id
    assert resumed(holder) == []
    assert isinstance(holder.told[-1], Goodbye)


# --- two connections


async def test_a_run_whose_keeper_leaves_as_it_wakes_is_given_to_others_at_once(store: Store) -> None:
    holder, run_id = await parked(store)
    async with locked(store.database, ROW, UUID(run_id)) as other:
        waking = asyncio.create_task(comes(store, run_id))
        await until_blocked(other)
        store.holders.remove(holder.lease_id)
    await waking
    await store.committer.stop()

    row = await run_row(store.database, run_id)
    assert (row["status"], row["losses"], resumed(holder)) == ("queued", 0, [])


@pytest.mark.parametrize("first", ["cancelled", "timed out"])
async def test_of_an_event_and_what_ends_its_wait_the_first_counts(
    store: Store, second_store: Store, first: str
) -> None:
    holder, run_id = await parked(store)
    second_store.database.advance(timedelta(days=365))
    async with locked(store.database, ROW, UUID(run_id)) as other:
        ends = cancel(second_store, 1, UUID(run_id)) if first == "cancelled" else fire_deadlines(second_store)
        ending = asyncio.create_task(ends)
        await until_blocked(other)
        waking = asyncio.create_task(comes(store, run_id))
        await until_blocked(other, 2)
    await asyncio.gather(ending, waking)

    assert (await step_row(store.database, run_id, "w"))["event_id"] is None
    assert await status_of(store.database, run_id) == ("cancelled" if first == "cancelled" else "queued")
    assert resumed(holder) == []


async def test_a_cancellation_that_comes_as_the_run_is_being_woken_reaches_its_holder(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await parked(store)
    async with locked(store.database, "SELECT 1 FROM steps WHERE run_id = $1 FOR UPDATE", UUID(run_id)) as other:
        waking = asyncio.create_task(comes(store, run_id))
        await until_blocked(other)
        cancelling = asyncio.create_task(cancel(second_store, 1, UUID(run_id)))
        await until_blocked(other, 2)
    await asyncio.gather(waking, cancelling)

    assert len(resumed(holder)) == 1
    row = await run_row(store.database, run_id)
    assert (row["status"], row["cancel_requested_at"] is not None) == ("running", True)
