"""A new run starts at once with a worker that is there and has room, and waits for its turn where anything speaks
against it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec
import pytest

from rotor.engine.arrivals import HolderLost
from rotor.protocol.messages import CancelRun, FunctionSpec, Goodbye, StartRun, Trigger
from rotor.store import functions, intake, leases, starting
from rotor.store.cancellation import cancel
from rotor.store.database import Database
from rotor.store.intake import NewEvent
from rotor.store.statements import workspace_statement
from rotor.store.store import Store
from rotor.store.vault import Vault
from tests import messages
from tests.messages import raw
from tests.store.actors import Holder, begin, hold, match, send, serve
from tests.store.tables import change, locked, lose_answer, run_row, select, status_of, until_blocked, value
from tests.store.test_interleavings import SAME_EVENT

TRACE = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


@pytest.fixture(params=["alone", "in a batch"])
def store(store: Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An event by itself has a statement of its own, which has to do what the one for a batch does."""
    if request.param == "in a batch":
        monkeypatch.setattr(intake._Columns, "alone", None)
    return store


async def statuses(store: Store) -> list[str]:
    return [row["status"] for row in await select(store.database, "SELECT status FROM runs ORDER BY id")]


async def open_to(store: Store, *, slots: int = 10, version: str = "") -> Holder:
    """A function "f", and a worker that takes its new runs."""
    await serve(store, "f")
    return await Holder.connect(store, "f", slots=slots, version=version)


async def claimed(store: Store, function_id: str) -> tuple[Holder, str]:
    """A run of another function, and its holder; the dispatcher has looked at all that was due."""
    holder, run_id = await hold(store, function_id)
    store.changes.queued.clear()
    return holder, run_id


async def test_a_new_run_is_a_workers_in_the_commit_that_writes_it(store: Store) -> None:
    holder = await open_to(store, version="v1")
    run_id = await begin(store, data={"n": 1})

    row = await run_row(store.database, run_id)
    assert (row["status"], row["lease_id"], row["due_at"]) == ("running", holder.lease_id, None)
    assert row["created_at"] == row["started_at"] == row["versions_since"][0]
    assert row["versions"] == ["v1"]
    (start,) = holder.started()
    assert (start.run_id, start.event.name, bytes(start.event.data)) == (str(run_id), "start f", b'{"n":1}')
    assert not store.changes.queued.is_set()
    assert store.holders.is_quiet(holder.lease_id, start.run_id)
    await holder.say(messages.completed(start.run_id))
    assert await status_of(store.database, run_id) == "completed"


async def given_back(store: Store, holder: Holder) -> tuple[StartRun, StartRun]:
    """What it was told of its only new run, and what it is told of the same one by a claim."""
    (start,) = holder.started()
    await store.committer.submit(HolderLost(UUID(start.run_id), holder.lease_id, unreached_seconds=0))
    return start, await holder.take(start.function_id)


async def by_event(store: Store, holder: Holder) -> None:
    happened = datetime.fromisoformat("2026-01-31T09:00:00.5+02:00")
    event = NewEvent("start f", raw({"é": [1.0, None]}), "e", happened, TRACE)
    await store.intake.accept(1, [event])


async def by_step(store: Store, holder: Holder) -> None:
    sender, run_id = await claimed(store, "sender")
    await sender.say(messages.emitted(run_id, "tell", "start f", {"n": 1}))


async def by_invocation(store: Store, holder: Holder) -> None:
    parent, run_id = await claimed(store, "parent")
    await parent.say(messages.invokes(run_id, "sub", "f", {"n": 1}))


@pytest.mark.parametrize("starts", [by_event, by_step, by_invocation])
async def test_a_worker_is_told_what_a_claim_would_tell_it(
    database: Database, starts: Callable[[Store, Holder], Awaitable[None]]
) -> None:
    database.vault = Vault({"a": b"k" * 32})
    sealing = await Database.connect(database.dsn, schema=database.schema, vault=database.vault)
    store = Store.on(sealing)
    store.start()
    holder = await open_to(store, version="v1")
    await starts(store, holder)
    started, claimed = await given_back(store, holder)

    assert msgspec.json.encode(started) == msgspec.json.encode(claimed)
    assert (await run_row(sealing, started.run_id))["versions"] == ["v1"]
    await store.stop()
    await sealing.close()


async def test_a_child_that_starts_at_once_wakes_its_parent_at_its_end(store: Store) -> None:
    await serve(store, "child")
    parent, run_id = await claimed(store, "parent")
    holder = await Holder.connect(store, "child", slots=1)
    await parent.say(messages.invokes(run_id, "sub", "child"), messages.parked(run_id))
    (start,) = holder.started()
    await holder.say(messages.completed(start.run_id, "out"))

    row = await run_row(store.database, start.run_id)
    assert (row["status"], str(row["parent_run_id"]), row["depth"]) == ("completed", run_id, 1)
    assert await status_of(store.database, run_id) == "queued"


async def test_an_event_whose_trigger_asks_for_the_time_starts_a_run_at_once_too(store: Store) -> None:
    trigger = Trigger(event="go", match="ts > timestamp('2020-01-01T00:00:00Z')")
    await functions.register(store.database, 1, [FunctionSpec(id="f", triggers=[trigger])])
    holder = await Holder.connect(store, "f", slots=1)
    await send(store, "go")

    assert len(holder.started()) == 1


# --- where it does not


async def pause(store: Store, holder: Holder) -> None:
    await functions.pause(store.database, 1, "f")


async def serve_over_http(store: Store, holder: Holder) -> None:
    await serve(store, "f", serve_url="https://app.example.com/api/rotor")


async def come_back_elsewhere(store: Store, holder: Holder) -> None:
    await leases.resume(store.database, 1, holder.lease_id)


async def run_out(store: Store, holder: Holder) -> None:
    await change(store.database, "UPDATE leases SET expires_at = rotor_now() WHERE id = $1", holder.lease_id)


async def take_lease(store: Store, holder: Holder) -> None:
    await change(store.database, "UPDATE leases SET taken_at = rotor_now() WHERE id = $1", holder.lease_id)


async def leave(store: Store, holder: Holder) -> None:
    store.holders.remove(holder.lease_id)


async def fill_slots(store: Store, holder: Holder) -> None:
    holder.slots = 0


async def leave_others_waiting(store: Store, holder: Holder) -> None:
    store.holders.hungry.add(holder.lease_id)


async def tell_the_dispatcher(store: Store, holder: Holder) -> None:
    store.changes.queued.set()


AGAINST = [
    pause,
    serve_over_http,
    come_back_elsewhere,
    run_out,
    take_lease,
    leave,
    fill_slots,
    leave_others_waiting,
    tell_the_dispatcher,
]


@pytest.mark.parametrize("against", AGAINST)
async def test_a_run_is_queued_where_anything_speaks_against_a_start_at_once(
    store: Store, against: Callable[[Store, Holder], Awaitable[None]]
) -> None:
    holder = await open_to(store)
    parent, run_id = await claimed(store, "parent")
    for start in (begin(store), parent.say(messages.invokes(run_id, "sub", "f"))):
        store.changes.queued.clear()
        await against(store, holder)
        await start
        assert store.changes.queued.is_set()

    assert await value(store.database, "SELECT count(*) FROM runs WHERE function_id = 'f' AND status = 'queued'") == 2
    assert holder.told == []


async def test_a_lease_that_is_just_being_changed_is_not_waited_for(store: Store) -> None:
    holder = await open_to(store)
    async with locked(store.database, "SELECT 1 FROM leases WHERE id = $1 FOR NO KEY UPDATE", holder.lease_id):
        await begin(store)

    assert (await statuses(store), holder.told) == (["queued"], [])


async def test_a_deferred_event_starts_runs_that_wait_for_their_turn(store: Store) -> None:
    holder = await open_to(store)
    await send(store, "start f", ts=await value(store.database, "SELECT rotor_now() + interval '1 minute'"))
    store.database.advance(timedelta(minutes=2))
    await match(store)

    assert (await statuses(store), holder.told) == (["queued"], [])


async def test_a_worker_gets_runs_of_its_own_workspace_and_functions_alone(store: Store) -> None:
    await change(store.database, "INSERT INTO workspaces (name) VALUES ('other')")
    holder = await open_to(store)
    await serve(store, "g")
    await serve(store, "f", workspace_id=2)
    await begin(store, "g")
    store.changes.queued.clear()
    await begin(store, workspace_id=2)

    assert (await statuses(store), holder.told) == (["queued", "queued"], [])


async def test_a_worker_of_another_server_claims_its_runs(store: Store, second_store: Store) -> None:
    await serve(store, "f")
    holder = await Holder.connect(second_store, "f", slots=10)
    run_id = await begin(store)

    assert (await statuses(store), holder.told) == (["queued"], [])
    assert (await holder.take()).run_id == str(run_id)


async def test_the_same_event_again_starts_nothing_and_takes_no_slot(store: Store) -> None:
    holder = await open_to(store)
    for _ in range(2):
        await send(store, "start f", id="e")

    assert len(holder.started()) == 1
    assert store.holders.room(holder.lease_id) == 9


# --- how many, and with whom


async def burst(store: Store, count: int) -> None:
    await store.intake.accept(1, [NewEvent("start f", raw(n)) for n in range(count)])


async def test_a_burst_is_dealt_to_the_workers_in_turn_the_least_loaded_first(store: Store) -> None:
    few = await open_to(store, slots=2)
    many = await Holder.connect(store, "f", slots=5)
    await burst(store, 1)
    await burst(store, 3)

    assert [len(holder.started()) for holder in (many, few)] == [3, 1]
    assert await statuses(store) == ["running"] * 4


async def test_no_worker_gets_more_runs_than_it_has_slots_nor_a_whole_burst(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "CHUNK", 3)
    workers = [await open_to(store, slots=2), *[await Holder.connect(store, "f", slots=slots) for slots in (4, 20)]]
    await burst(store, 20)

    assert [len(holder.started()) for holder in workers] == [2, 3, 10]
    assert Counter(await statuses(store)) == {"running": 15, "queued": 5}
    assert store.changes.queued.is_set()


async def test_slots_for_a_commit_under_way_are_not_filled_by_another(store: Store) -> None:
    holder = await open_to(store, slots=1)
    parent, run_id = await claimed(store, "parent")
    async with locked(store.database, "LOCK TABLE runs IN SHARE MODE") as other:
        beginning = asyncio.create_task(begin(store))
        await until_blocked(other)
        assert store.holders.room(holder.lease_id) == 0
        invoking = asyncio.create_task(parent.say(messages.invokes(run_id, "sub", "f")))
        await until_blocked(other, 2)
    await asyncio.gather(beginning, invoking)

    assert len(holder.started()) == 1
    assert await value(store.database, "SELECT count(*) FROM runs WHERE function_id = 'f' AND status = 'queued'") == 1


async def test_who_found_no_room_while_slots_were_reserved_in_vain_is_told(store: Store) -> None:
    holder = await open_to(store, slots=1)
    await send(store, "start f", id="e")
    await holder.say(messages.completed(holder.started()[0].run_id))
    async with locked(store.database, "LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE") as other:
        again = asyncio.create_task(burst(store, 1))
        await until_blocked(other)
        store.holders.hungry.add(holder.lease_id)
    await again

    assert store.changes.queued.is_set()


# --- what comes between


async def test_a_run_whose_worker_leaves_before_it_hears_of_it_is_given_to_others_at_once(store: Store) -> None:
    holder = await open_to(store)
    async with locked(store.database, "LOCK TABLE runs IN SHARE MODE") as other:
        beginning = asyncio.create_task(begin(store))
        await until_blocked(other)
        store.holders.remove(holder.lease_id)
    run_id = await beginning
    await store.committer.stop()

    row = await run_row(store.database, run_id)
    assert (row["status"], row["losses"], holder.told) == ("queued", 0, [])


@pytest.mark.parametrize("against", [pause, serve_over_http, come_back_elsewhere, take_lease])
async def test_what_speaks_against_a_start_at_once_may_come_at_the_last_moment(
    store: Store, against: Callable[[Store, Holder], Awaitable[None]]
) -> None:
    holder = await open_to(store)
    async with locked(store.database, "LOCK TABLE events IN SHARE MODE") as other:
        beginning = asyncio.create_task(begin(store))
        await until_blocked(other)
        assert store.holders.room(holder.lease_id) == 9
        await against(store, holder)
    run_id = await beginning

    assert (await status_of(store.database, run_id), holder.told) == ("queued", [])
    assert store.holders.room(holder.lease_id) == 10


async def test_a_pause_is_answered_once_what_is_just_starting_has_started(store: Store, second_store: Store) -> None:
    holder = await open_to(store)
    async with locked(store.database, SAME_EVENT) as other:
        beginning = asyncio.create_task(send(store, "start f", id="e"))
        await until_blocked(other)
        pausing = asyncio.create_task(functions.pause(second_store.database, 1, "f"))
        await until_blocked(other, 2)
        await other.execute("DELETE FROM events")
    await asyncio.gather(beginning, pausing)

    assert (await statuses(store), len(holder.started())) == (["running"], 1)


async def test_a_run_that_starts_while_its_function_is_being_paused_is_queued(store: Store) -> None:
    holder = await open_to(store)
    async with locked(store.database, workspace_statement("pause_function"), 1, "f", True) as pausing:
        beginning = asyncio.create_task(begin(store))
        await until_blocked(pausing)
    await beginning

    assert (await statuses(store), holder.told) == (["queued"], [])


@pytest.mark.parametrize("of", ["connection", "transaction"])
async def test_a_worker_connects_again_where_it_may_have_a_run_that_nobody_told_it_of(
    store: Store, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    holder = await open_to(store)
    parent, run_id = await claimed(store, "parent")
    await send(store, "start f", id="first")
    lose_answer(store.database, monkeypatch, of)
    if of == "connection":
        await send(store, "start f", id="e")
    else:
        await parent.say(messages.invokes(run_id, "sub", "f"))

    assert [type(message) for message in holder.told] == [StartRun, Goodbye]
    rows = await select(store.database, "SELECT lease_id FROM runs WHERE function_id = 'f'")
    assert [row["lease_id"] for row in rows] == [holder.lease_id] * 2


async def test_a_statement_that_is_refused_sends_no_worker_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = await open_to(store)
    monkeypatch.setattr(intake.uuid_utils, "uuid7", lambda: UUID(int=1))
    await send(store, "start f", id="first")
    with pytest.raises(asyncpg.UniqueViolationError, match="runs_pkey"):
        await send(store, "start f", id="second")

    assert [type(message) for message in holder.told] == [StartRun]
    assert store.holders.room(holder.lease_id) == 9


async def test_a_run_that_is_cancelled_as_it_starts_is_cancelled_by_its_worker(store: Store) -> None:
    holder = await open_to(store)
    run_id = await begin(store)
    await cancel(store, 1, run_id)

    assert [type(message) for message in holder.told] == [StartRun, CancelRun]
    await holder.say(messages.stopped(run_id))
    assert await status_of(store.database, run_id) == "cancelled"


async def test_a_run_that_starts_as_its_function_is_deleted_is_cancelled_by_its_worker(
    store: Store, second_store: Store
) -> None:
    holder = await open_to(store)
    async with locked(store.database, SAME_EVENT) as other:
        starting = asyncio.create_task(send(store, "start f", id="e"))
        await until_blocked(other)
        deleting = asyncio.create_task(functions.delete(second_store.database, second_store.committer, 1, "f"))
        await until_blocked(other, 2)
        await other.execute("DELETE FROM events")
    await asyncio.gather(starting, deleting)
    (start,) = holder.started()
    answer = await holder.say(messages.done(start.run_id, "a"))

    assert CancelRun in {type(message) for message in answer} | {type(message) for message in holder.told}
