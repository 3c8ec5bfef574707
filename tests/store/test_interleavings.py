"""Two connections, one of which is held up by a lock in the middle of its work, while the other comes between.

That the other really waits, or really comes between, is seen in Postgres' own list of who waits for whom.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from rotor import limits
from rotor.engine.arrivals import Cancelled, HolderLost
from rotor.protocol.messages import DropRun
from rotor.store import functions, leases
from rotor.store import migrate as migrate_module
from rotor.store.cancellation import cancel
from rotor.store.migrate import migrations
from rotor.store.problems import Conflict
from rotor.store.retention import Retention, prune
from rotor.store.schedules import fire_due
from rotor.store.signals import complete
from rotor.store.statements import statement, workspace_statement
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, acknowledged, begin, fire_deadlines, hold, rescue, send, serve
from tests.store.rows import BEGINNING
from tests.store.tables import locked, run_row, select, status_of, step_row, until_blocked, value
from tests.store.test_schedules import schedule, set_clock

ROW = "SELECT 1 FROM runs WHERE id = $1 FOR UPDATE"
AS_IT_WRITES_WAITS = "LOCK TABLE waits IN SHARE MODE"
AS_IT_WRITES_THE_RUN = "LOCK TABLE runs IN SHARE MODE"
AS_IT_WRITES_EVENTS = "LOCK TABLE events IN SHARE MODE"
AT_ONCE = Retention(runs=timedelta(), events=timedelta())


async def test_a_timeout_that_comes_as_the_signal_is_being_delivered_is_too_late(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_signal(run_id, "gate", "s", seconds=60), messages.parked(run_id))
    for each in (store, second_store):
        each.database.advance(timedelta(seconds=60))
    async with locked(store.database, AS_IT_WRITES_THE_RUN) as other:
        completing = asyncio.create_task(complete(second_store, 1, "s", b"1"))
        await until_blocked(other)
        firing = asyncio.create_task(fire_deadlines(store))
        await until_blocked(other, 2)
    await firing

    assert (await completing).delivered
    step = await step_row(store.database, run_id, "gate")
    assert (step["status"], step["output"]) == ("completed", b"1")
    assert (await run_row(store.database, run_id))["settled"] == 1


async def test_a_cancellation_that_comes_as_the_run_completes_is_refused(store: Store, second_store: Store) -> None:
    holder, run_id = await hold(store)
    async with locked(store.database, ROW, UUID(run_id)) as other:
        completing = asyncio.create_task(holder.say(messages.completed(run_id, "out")))
        await until_blocked(other)
        cancelling = asyncio.create_task(cancel(second_store, 1, UUID(run_id)))
        await until_blocked(other, 2)
    await completing
    (refused,) = await asyncio.gather(cancelling, return_exceptions=True)

    assert isinstance(refused, Conflict)
    assert (await run_row(store.database, run_id))["output"] == b'"out"'


async def test_a_run_that_completes_as_it_is_being_cancelled_is_cancelled(store: Store, second_store: Store) -> None:
    holder, run_id = await hold(store)
    async with locked(store.database, ROW, UUID(run_id)) as other:
        cancelling = asyncio.create_task(cancel(second_store, 1, UUID(run_id)))
        await until_blocked(other)
        completing = asyncio.create_task(holder.say(messages.completed(run_id, "out")))
        await until_blocked(other, 2)
    await asyncio.gather(cancelling, completing)

    run = await run_row(store.database, run_id)
    assert (run["status"], run["output"]) == ("cancelled", None)


async def test_a_cancellation_that_waits_for_another_run_ends_this_one_after_what_it_did_meanwhile(
    store: Store, second_store: Store
) -> None:
    await serve(store, "f")
    other_run = await begin(store)
    run_id = await begin(store)
    holder = await Holder.connect(store)
    await holder.claim()
    async with locked(store.database, ROW, other_run) as other:
        cancelling = asyncio.create_task(second_store.committer.submit_all([Cancelled(other_run), Cancelled(run_id)]))
        await until_blocked(other)
        await holder.say(messages.done(run_id, "a", 1))
        await holder.say(messages.sleeps(run_id, "nap"), messages.parked(run_id))
    await cancelling

    run = await run_row(store.database, run_id)
    done, nap = [await step_row(store.database, run_id, name) for name in ("a", "nap")]
    assert (run["status"], done["status"], nap["status"]) == ("cancelled", "completed", "cancelled")
    assert done["ended_at"] < nap["started_at"] < run["ended_at"] == nap["ended_at"]


async def test_of_two_completions_of_a_signal_one_is_refused(store: Store, second_store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_signal(run_id, "gate", "s"), messages.parked(run_id))
    async with locked(store.database, "SELECT 1 FROM signals FOR UPDATE") as other:
        first = asyncio.create_task(complete(store, 1, "s", b"1"))
        await until_blocked(other)
        second = asyncio.create_task(complete(second_store, 1, "s", b"2"))
        await until_blocked(other, 2)
    first_answer, second_answer = await asyncio.gather(first, second, return_exceptions=True)

    refused = [answer for answer in (first_answer, second_answer) if isinstance(answer, Conflict)]
    assert len(refused) == 1
    assert (await step_row(store.database, run_id, "gate"))["output"] == (b"2" if refused[0] is first_answer else b"1")


async def test_of_two_holders_that_complete_a_run_the_one_that_lost_it_is_dropped(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(store)
    await second_store.committer.submit(HolderLost(UUID(run_id), holder.lease_id))
    second = await Holder.connect(second_store)
    await second.take()
    async with locked(store.database, ROW, UUID(run_id)) as other:
        late = asyncio.create_task(holder.say(messages.completed(run_id, "late")))
        await until_blocked(other)
        right = asyncio.create_task(second.say(messages.completed(run_id, "right")))
        await until_blocked(other, 2)

    assert [type(answer) for answer in await late] == [DropRun]
    assert acknowledged(await right)
    assert (await run_row(store.database, run_id))["output"] == b'"right"'


async def hold_for_a_lease(store: Store) -> tuple[Holder, str]:
    """A fresh run, held under a lease that can run out."""
    await serve(store, "f")
    await begin(store)
    holder = await Holder.connect(store, lasting=False)
    return holder, (await holder.take()).run_id


async def test_a_result_that_is_being_written_as_the_lease_is_taken_stays(store: Store, second_store: Store) -> None:
    holder, run_id = await hold_for_a_lease(store)
    second_store.database.advance(limits.LEASE)
    same_step = """
        INSERT INTO steps (run_id, id, index, op, status, started_at, settled_group, position)
        VALUES ($1, 'a', 0, 'run', 'running', now(), 1, 0)
    """
    async with locked(store.database, same_step, UUID(run_id)) as other:
        saying = asyncio.create_task(holder.say(messages.done(run_id, "a", 1)))
        await until_blocked(other)
        losing = asyncio.create_task(rescue(second_store))
        await until_blocked(other, 2)
        await other.execute("DELETE FROM steps")
    await losing

    assert acknowledged(await saying)
    second = await Holder.connect(second_store)
    assert [memo.id for memo in (await second.take()).memo] == ["a"]


async def test_a_result_that_comes_as_the_run_is_being_taken_away_is_refused(store: Store, second_store: Store) -> None:
    holder, run_id = await hold_for_a_lease(store)
    second_store.database.advance(limits.LEASE)
    async with locked(store.database, ROW, UUID(run_id)) as other:
        losing = asyncio.create_task(rescue(second_store))
        await until_blocked(other)
        saying = asyncio.create_task(holder.say(messages.done(run_id, "a", 1)))
        await until_blocked(other, 2)
    await losing

    assert [type(answer) for answer in await saying] == [DropRun]
    assert await select(store.database, "SELECT FROM steps") == []


async def test_a_worker_that_comes_back_waits_for_what_is_being_written_of_its_earlier_connection(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(store)
    async with locked(store.database, ROW, UUID(run_id)) as other:
        saying = asyncio.create_task(holder.say(messages.sleeps(run_id, "nap", 60), messages.parked(run_id)))
        await until_blocked(other)
        coming = asyncio.create_task(leases.resume(second_store.database, 1, holder.lease_id))
        await until_blocked(other, 2)
    assert acknowledged(await saying)

    assert await coming == 2
    assert await leases.held_runs(second_store.database, holder.lease_id) == {}


async def test_what_an_earlier_connection_said_waits_for_a_worker_that_comes_back_and_then_does_nothing(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(store)
    comes_back = "UPDATE leases SET connection = connection + 1 WHERE id = $1"
    async with locked(store.database, comes_back, holder.lease_id) as other:
        saying = asyncio.create_task(holder.say(messages.released(run_id)))
        await until_blocked(other)

    assert await saying == []
    assert await status_of(store.database, run_id) == "running"


async def test_a_server_goes_on_while_a_newer_one_migrates(
    store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its statements are prepared already, for tables that have other columns then."""
    holder, run_id = await hold(store)
    await holder.say(messages.done(run_id, "a"), messages.sleeps(run_id, "nap", 60), messages.parked(run_id))
    await fire_deadlines(store, timedelta(seconds=60))
    await holder.take()
    tables = ("runs", "steps", "waits", "leases", "events", "signals", "functions", "deliveries", "workspaces")
    known = migrations()
    added = [
        (number, f"{number:04}_more_of_{table}", f"ALTER TABLE {table} ADD COLUMN more int NOT NULL DEFAULT 0")
        for number, table in enumerate(tables, known[-1][0] + 1)
    ]
    monkeypatch.setattr(migrate_module, "migrations", lambda: [*known, *added])
    async with locked(store.database, ROW, UUID(run_id)) as other:
        saying = asyncio.create_task(holder.say(messages.sleeps(run_id, "later", 60), messages.parked(run_id, 1)))
        await until_blocked(other)
        migrating = asyncio.create_task(migrate_module.migrate(store.database.dsn, schema=store.database.schema))
        await until_blocked(other, 2)
    assert acknowledged(await saying)
    assert len(await migrating) == len(tables)

    await fire_deadlines(store, timedelta(seconds=60))
    await holder.take()
    await holder.say(messages.done(run_id, "b"), messages.awaits_signal(run_id, "gate", "s"))
    await complete(store, 1, "s", b"1")
    assert acknowledged(await holder.say(messages.completed(run_id, "out")))
    await begin(store)
    assert (await holder.take()).attempt == 0


async def test_a_cron_that_one_server_is_about_to_fire_is_fired_by_no_other(store: Store, second_store: Store) -> None:
    for each in (store, second_store):
        await set_clock(each.database, BEGINNING)
    await schedule(store, "f", "0 9 * * *")
    for each in (store, second_store):
        each.database.advance(timedelta(days=1))
    async with locked(store.database, AS_IT_WRITES_EVENTS) as other:
        firing = asyncio.create_task(fire_due(store.database))
        await until_blocked(other)
        assert await fire_due(second_store.database) == 0
    assert await firing == 1
    assert await fire_due(second_store.database) == 0

    assert len(await select(store.database, "SELECT FROM runs")) == 1


async def test_a_child_that_ends_while_old_runs_are_forgotten_still_tells_its_parent(
    store: Store, second_store: Store
) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    await holder.say(messages.invokes(run_id, "sub", "child"), messages.parked(run_id))
    child = await holder.take("child")
    async with locked(store.database, AS_IT_WRITES_WAITS) as other:
        ending = asyncio.create_task(holder.say(messages.completed(child.run_id, "out")))
        await until_blocked(other)
        assert (await prune(second_store.database, AT_ONCE)).gone == 0
    await ending
    assert (await prune(second_store.database, AT_ONCE)).gone == 0, "its parent has not read it yet"

    assert (await step_row(store.database, run_id, "sub"))["output"] == b'"out"'
    assert await status_of(store.database, run_id) == "queued"


async def test_a_child_whose_parent_is_just_being_forgotten_ends_all_the_same(store: Store) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    await holder.say(messages.invokes(run_id, "sub", "child"))
    child = await holder.take("child")
    await holder.say(messages.completed(run_id))
    async with locked(store.database, statement("prune_runs"), timedelta(), 10, 10_000) as other:
        ending = asyncio.create_task(holder.say(messages.completed(child.run_id, "out")))
        await until_blocked(other)
    await ending

    assert await value(store.database, "SELECT count(*) FROM runs") == 1
    assert await status_of(store.database, child.run_id) == "completed"


SAME_EVENT = """
    INSERT INTO events (workspace_id, id, name, data, ts, accepted_at) VALUES (1, 'e', 'start f', '{}', now(), now())
"""


async def test_a_run_that_is_being_started_as_its_function_is_deleted_is_cancelled(
    store: Store, second_store: Store
) -> None:
    await serve(store, "f")
    async with locked(store.database, SAME_EVENT) as other:
        starting = asyncio.create_task(send(store, "start f", id="e"))
        await until_blocked(other)
        deleting = asyncio.create_task(functions.delete(second_store.database, second_store.committer, 1, "f"))
        await until_blocked(other, 2)
        await other.execute("DELETE FROM events")
    await asyncio.gather(starting, deleting)

    assert [row["status"] for row in await select(store.database, "SELECT status FROM runs")] == ["cancelled"]


async def test_a_child_that_is_being_started_as_its_function_is_deleted_is_cancelled(
    store: Store, second_store: Store
) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    async with locked(store.database, AS_IT_WRITES_WAITS) as other:
        invoking = asyncio.create_task(holder.say(messages.invokes(run_id, "sub", "child")))
        await until_blocked(other)
        deleting = asyncio.create_task(functions.delete(second_store.database, second_store.committer, 1, "child"))
        await until_blocked(other, 2)
    await asyncio.gather(invoking, deleting)

    assert (await step_row(store.database, run_id, "sub"))["status"] == "failed"


async def test_a_run_that_is_being_replayed_as_its_function_is_deleted_is_cancelled(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.completed(run_id))
    async with locked(store.database, workspace_statement("read_run_for_replay"), 1, UUID(run_id)) as other:
        deleting = asyncio.create_task(functions.delete(second_store.database, second_store.committer, 1, "f"))
        await until_blocked(other)
        again = UUID(int=1)
        await other.execute(
            statement("insert_runs"),
            [again],
            [1],
            ["f"],
            [await value(store.database, "SELECT event_id FROM runs")],
            [0],
            *([None], [None], [None], [None]),
            *([], [], [0]),
        )
    await deleting

    assert await status_of(store.database, again) == "cancelled"


async def test_a_run_that_is_being_started_is_not_forgotten_with_its_event(store: Store, second_store: Store) -> None:
    await serve(store, "f")
    async with locked(store.database, AS_IT_WRITES_THE_RUN) as other:
        starting = asyncio.create_task(begin(store))
        await until_blocked(other)
        pruning = asyncio.create_task(prune(second_store.database, AT_ONCE))
        await until_blocked(other, 2)
    run_id, _ = await asyncio.gather(starting, pruning)
    await prune(second_store.database, AT_ONCE)

    assert await value(store.database, "SELECT count(*) FROM events JOIN runs ON runs.event_id = events.id") == 1
    assert await status_of(store.database, run_id) == "queued"
