"""Two servers, one database: whatever comes between whatever, nothing is lost and nothing happens twice.

Exact interleavings are made by locks of another connection: a row lock of the run holds up a batch before it has read
anything; SHARE locks of tables hold it up where it first writes there, after it has read and decided.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rotor.engine.arrivals import Cancelled, HolderLost
from rotor.protocol.messages import DropRun, RunCompleted, StepDone
from rotor.store import leases
from rotor.store.cancellation import cancel
from rotor.store.database import Database
from rotor.store.doctor import check
from rotor.store.problems import Conflict
from rotor.store.signals import Completion, complete
from rotor.store.store import Store
from tests import messages
from tests.store.actors import (
    Holder,
    acknowledged,
    begin,
    fire_deadlines,
    followed,
    hold,
    match,
    rescue,
    send,
    serve,
)
from tests.store.tables import change, locked, run_row, select, status_of, step_row, step_status, until_blocked, value

ROW = "SELECT 1 FROM runs WHERE id = $1 FOR UPDATE"
AS_IT_WRITES_WAITS = "LOCK TABLE waits IN SHARE MODE"
AS_IT_WRITES_THE_RUN = "LOCK TABLE runs IN SHARE MODE"
AS_IT_WRITES_EVENTS = "LOCK TABLE events IN SHARE MODE"
SAME_ID = """
    INSERT INTO events (workspace_id, id, name, data, ts, accepted_at) VALUES (1, 'e-1', 'other', '1', now(), now())
"""
TIMES = 8
"""How often a race is run that no lock can order."""


async def move_clocks(first: Store, second: Store, by: timedelta) -> None:
    for store in (first, second):
        store.database.advance(by)


# --- an event against a wait


@pytest.mark.parametrize("path", ["known", "new"])
@pytest.mark.parametrize("equals", [None, {"data.id": 1}], ids=["by name", "by path"])
async def test_an_event_that_is_looked_at_before_the_wait_is_there_is_found_by_the_wait(
    store: Store, second_store: Store, equals: dict[str, object] | None, path: str
) -> None:
    holder, run_id = await hold(store)
    if path == "known":
        await holder.say(messages.awaits_event(run_id, "earlier", "opened", equals={"data.id": 2}))
        await match(store)
    async with locked(store.database, ROW, UUID(run_id)) as other:
        parking = asyncio.create_task(holder.say(messages.awaits_event(run_id, "w", "opened", equals=equals)))
        await until_blocked(other)
        await send(second_store, "opened", {"id": 1}, id="e-1")
        await match(second_store)
    await parking
    await match(store)

    assert (await step_row(store.database, run_id, "w"))["event_id"] == "e-1"


@pytest.mark.parametrize("path", ["known", "new"])
@pytest.mark.parametrize("equals", [None, {"data.id": 1}], ids=["by name", "by path"])
async def test_an_event_that_is_committed_after_the_wait_looked_back_is_found_by_the_event(
    store: Store, second_store: Store, equals: dict[str, object] | None, path: str
) -> None:
    holder, run_id = await hold(store)
    if path == "known":
        await holder.say(messages.awaits_event(run_id, "earlier", "opened", equals={"data.id": 2}))
        await match(store)
    async with locked(store.database, AS_IT_WRITES_EVENTS) as other:
        sending = asyncio.create_task(send(second_store, "opened", {"id": 1}, id="e-1"))
        await until_blocked(other)
        await holder.say(messages.awaits_event(run_id, "w", "opened", equals=equals))
        await match(store)
        assert await step_status(store.database, run_id, "w") == "waiting"
    await sending
    await match(second_store)

    assert (await step_row(store.database, run_id, "w"))["event_id"] == "e-1"


@pytest.mark.parametrize("known", ["a name", "a path", "nothing"])
async def test_a_path_that_is_added_while_an_event_is_being_written_misses_none(
    store: Store, second_store: Store, known: str
) -> None:
    holder, run_id = await hold(store)
    if known != "nothing":
        equals: dict[str, object] | None = {"data.other": 2} if known == "a path" else None
        await holder.say(messages.awaits_event(run_id, "earlier", "opened", match="data.other == 2", equals=equals))
        await match(store)
    await send(store, "opened", {"id": 9}, id="makes it known what the name meets")
    # The event's statement has seen the paths, and cannot end: another transaction has an event of its id.
    async with locked(store.database, SAME_ID) as other:
        sending = asyncio.create_task(send(store, "opened", {"id": 1}, id="e-1"))
        await until_blocked(other)
        await holder.say(messages.awaits_event(run_id, "w", "opened", equals={"data.id": 1}))
        await match(second_store)
        assert await value(store.database, "SELECT count(*) FROM waits WHERE unlooked") == 0
        await other.execute("DELETE FROM events WHERE id = 'e-1'")
    await sending
    assert await value(store.database, "SELECT count(*) FROM event_values WHERE event_id = 'e-1'") == 0
    await match(store)
    assert (await step_row(store.database, run_id, "w"))["event_id"] == "e-1"
    await serve(store, "g")
    later = await begin(store, "g")
    await holder.claim("g")
    since = await value(store.database, "SELECT created_at FROM runs WHERE id = $1", UUID(run_id))
    await holder.say(messages.awaits_event(later, "w", "opened", equals={"data.id": 1}, since=since))
    await match(store)

    assert (await step_row(store.database, later, "w"))["event_id"] == "e-1"


async def test_an_event_that_two_servers_look_at_is_taken_once(store: Store, second_store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(
        messages.awaits_event(run_id, "first", "opened"), messages.awaits_event(run_id, "second", "opened")
    )
    await match(store)
    for number in range(TIMES):
        await send(store, "opened", id=f"e-{number}")
    # Both have taken the same batch: the first was slow, so that a second took it up.
    await asyncio.gather(match(store), match(second_store))
    await change(store.database, "UPDATE waits SET unlooked = true")
    await asyncio.gather(match(store), match(second_store))

    taken = [(await step_row(store.database, run_id, step))["event_id"] for step in ("first", "second")]
    assert taken == ["e-0", "e-1"]


# --- a signal against its wait and its timeout


async def test_a_completion_that_comes_as_the_wait_is_being_written_is_taken(store: Store, second_store: Store) -> None:
    holder, run_id = await hold(store)
    async with locked(store.database, AS_IT_WRITES_WAITS) as other:
        parking = asyncio.create_task(holder.say(messages.awaits_signal(run_id, "gate", "s"), messages.parked(run_id)))
        await until_blocked(other)
        assert await complete(second_store, 1, "s", b"1") == Completion(None, delivered=False)
    await parking

    assert (await step_row(store.database, run_id, "gate"))["output"] == b"1"
    assert await status_of(store.database, run_id) == "running"


async def test_a_completion_that_comes_after_the_wait_is_written_waits_for_its_commit(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(store)
    said = (
        messages.awaits_signal(run_id, "gate", "s"),
        messages.emitted(run_id, "tell", "told"),
        messages.parked(run_id),
    )
    async with locked(store.database, AS_IT_WRITES_EVENTS) as other:
        parking = asyncio.create_task(holder.say(*said))
        await until_blocked(other)
        completing = asyncio.create_task(complete(second_store, 1, "s", b"1"))
        await until_blocked(other, 2)
    await parking

    assert await completing == Completion(UUID(run_id), delivered=True)
    assert await status_of(store.database, run_id) == "queued"


async def test_a_completion_that_comes_as_the_wait_times_out_is_kept(store: Store, second_store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_signal(run_id, "gate", "s", seconds=60), messages.parked(run_id))
    await move_clocks(store, second_store, timedelta(seconds=60))
    async with locked(store.database, AS_IT_WRITES_THE_RUN) as other:
        firing = asyncio.create_task(fire_deadlines(store))
        await until_blocked(other)
        completing = asyncio.create_task(complete(second_store, 1, "s", b"1"))
        await until_blocked(other, 2)
    await firing

    assert await completing == Completion(None, delivered=False)
    assert await step_status(store.database, run_id, "gate") == "timed_out"
    assert await value(store.database, "SELECT data FROM signals") == b"1"


async def test_a_signal_and_its_timeout_end_the_wait_once(store: Store, second_store: Store) -> None:
    for number in range(TIMES):
        holder, run_id = await hold(store)
        await holder.say(messages.awaits_signal(run_id, "gate", f"s-{number}", seconds=60), messages.parked(run_id))
        await move_clocks(store, second_store, timedelta(seconds=60))
        completion, _, _ = await asyncio.gather(
            complete(store, 1, f"s-{number}", b"1"), fire_deadlines(second_store), fire_deadlines(store)
        )

        step, run = await step_row(store.database, run_id, "gate"), await run_row(store.database, run_id)
        assert completion.delivered == (step["status"] == "completed")
        assert (run["status"], run["settled"]) == ("queued", 1)
        await holder.take()
        await holder.say(messages.completed(run_id))


# --- a run against those who want it to end


async def test_a_run_that_is_cancelled_as_it_completes_ends_one_way(store: Store, second_store: Store) -> None:
    for _ in range(TIMES):
        holder, run_id = await hold(store)
        results = await asyncio.gather(
            holder.say(messages.completed(run_id, "out")), cancel(second_store, 1, UUID(run_id)), return_exceptions=True
        )

        run = await run_row(store.database, run_id)
        assert run["status"] in ("completed", "cancelled")
        assert isinstance(results[1], Conflict) == (run["status"] == "completed")
        assert (run["output"] is None) == (run["status"] == "cancelled")


async def test_a_run_that_is_cancelled_as_it_parks_is_cancelled(store: Store, second_store: Store) -> None:
    for _ in range(TIMES):
        holder, run_id = await hold(store)
        await asyncio.gather(
            holder.say(messages.sleeps(run_id, "nap"), messages.parked(run_id)), cancel(second_store, 1, UUID(run_id))
        )
        if await status_of(store.database, run_id) == "running":
            await holder.say(messages.stopped(run_id))

        assert await status_of(store.database, run_id) == "cancelled"


async def test_a_child_that_is_started_as_its_parent_is_cancelled_does_not_stay(
    store: Store, second_store: Store
) -> None:
    await serve(store, "child")
    for _ in range(TIMES):
        holder, run_id = await hold(store)
        await asyncio.gather(
            holder.say(messages.invokes(run_id, "sub", "child"), messages.parked(run_id)),
            cancel(second_store, 1, UUID(run_id)),
        )
        if await status_of(store.database, run_id) == "running":
            await holder.say(messages.stopped(run_id))
        await followed(store)
        await followed(second_store)

        children = await select(store.database, "SELECT status FROM runs WHERE parent_run_id = $1", UUID(run_id))
        assert {row["status"] for row in children} <= {"cancelled"}


async def lose(store: Store, holder: Holder, run_id: str) -> None:
    """The holder's lease runs out, and the rescuer takes up its run."""
    await change(store.database, "UPDATE leases SET expires_at = rotor_now() WHERE id = $1", holder.lease_id)
    await leases.take_expired(store.database, await store.database.fetchval("read_clock"))
    await store.committer.submit(HolderLost(UUID(run_id), holder.lease_id))


async def test_a_lease_that_ran_out_ends_only_after_what_is_being_written_under_it(store: Store) -> None:
    holder, run_id = await hold(store)
    async with locked(store.database, "SELECT 1 FROM leases FOR SHARE") as other:
        losing = asyncio.create_task(lose(store, holder, run_id))
        await until_blocked(other)
        assert await status_of(store.database, run_id) == "running"
    await losing
    assert await status_of(store.database, run_id) == "queued"


async def test_a_checkpoint_is_written_before_the_lease_is_lost_or_not_at_all(
    store: Store, second_store: Store
) -> None:
    for _ in range(TIMES):
        holder, run_id = await hold(store)
        message = messages.done(run_id, "a", 1)
        answer, _ = await asyncio.gather(holder.say(message), lose(second_store, holder, run_id))
        recorded = await select(store.database, "SELECT 1 FROM steps WHERE run_id = $1", UUID(run_id))
        assert bool(recorded) == (acknowledged(answer) == [message.n])
        # Between the taking of the lease and that of the run nobody answers: the loss of the run says it all.
        assert recorded or all(isinstance(one, DropRun) for one in answer)
        await second_store.committer.submit(Cancelled(UUID(run_id)))


@pytest.mark.parametrize(
    "said",
    [
        [messages.done("{run}", "a")],
        [messages.completed("{run}")],
        [messages.done("{run}", "a"), messages.completed("{run}")],
    ],
    ids=["a result", "an end", "both"],
)
async def test_a_holder_that_lost_the_run_cannot_change_it_for_the_next(
    store: Store, second_store: Store, said: list[StepDone | RunCompleted]
) -> None:
    holder, run_id = await hold(store)
    async with locked(store.database, "SELECT 1 FROM leases FOR UPDATE") as other:
        late = asyncio.create_task(holder.say(*(replace(one, run_id=run_id) for one in said)))
        await until_blocked(other)
        # The rescuer of another server gave the run to another holder before this batch came to read it.
        second = await Holder.connect(second_store)
        await other.execute("UPDATE leases SET taken_at = rotor_now() WHERE id = $1", holder.lease_id)
        await other.execute("UPDATE runs SET lease_id = $1", second.lease_id)

    assert [type(message) for message in await late] == [DropRun]
    assert await status_of(store.database, run_id) == "running"
    assert await select(store.database, "SELECT 1 FROM steps") == []


async def test_a_childs_end_and_its_parents_timeout_end_the_wait_once(store: Store, second_store: Store) -> None:
    await serve(store, "child")
    for _ in range(TIMES):
        holder, run_id = await hold(store)
        await holder.say(messages.invokes(run_id, "sub", "child", seconds=60), messages.parked(run_id))
        child = await holder.take("child")
        await move_clocks(store, second_store, timedelta(seconds=60))
        await asyncio.gather(holder.say(messages.completed(child.run_id, "out")), fire_deadlines(second_store))
        await followed(second_store)

        run = await run_row(store.database, run_id)
        assert (run["status"], run["settled"]) == ("queued", 1)
        step = await step_row(store.database, run_id, "sub")
        assert step["status"] in ("completed", "timed_out")
        assert (step["output"] == b'"out"') == (step["status"] == "completed")
        if await status_of(store.database, child.run_id) == "running":
            await holder.say(messages.stopped(child.run_id))
        await holder.take()
        await holder.say(messages.completed(run_id))


async def test_a_wait_that_two_servers_see_due_is_settled_once(store: Store, second_store: Store) -> None:
    await serve(store, "f")
    runs = [await begin(store) for _ in range(30)]
    holder = await Holder.connect(store)
    await holder.claim()
    for run in runs:
        await holder.say(messages.sleeps(run, "nap", 60), messages.parked(run))
    await move_clocks(store, second_store, timedelta(seconds=60))
    await asyncio.gather(*(fire_deadlines(each) for each in (store, second_store) * 2))

    rows = await select(store.database, "SELECT status, settled FROM runs")
    assert [tuple(row) for row in rows] == [("queued", 1)] * 30


async def test_a_parking_that_another_servers_timer_overtakes_is_not_lost(store: Store, second_store: Store) -> None:
    for _ in range(TIMES):
        holder, run_id = await hold(store)
        await holder.say(messages.sleeps(run_id, "nap", 60))
        await move_clocks(store, second_store, timedelta(seconds=60))
        answer, _ = await asyncio.gather(holder.say(messages.parked(run_id, settled=0)), fire_deadlines(second_store))
        run = await run_row(store.database, run_id)
        if acknowledged(answer):
            assert (run["status"], run["settled"]) == ("queued", 1)
            await holder.take()
        else:
            assert (run["status"], run["settled"]) == ("running", 1)
        await holder.say(messages.completed(run_id))


# --- everything at once

STEPS = ("a", "b", "c")


class Chaos:
    """Two servers, each with a holder, and one family of runs, to which anything is done at any time."""

    def __init__(self, stores: tuple[Store, Store], holders: tuple[Holder, Holder]) -> None:
        self.stores = stores
        self.holders = holders

    async def do(self, act: str, which: int, step: str) -> None:
        """Let one server, or its holder, do one thing to the newest run, or sometimes to an older one."""
        runs = await select(self.stores[0].database, "SELECT id FROM runs ORDER BY created_at DESC")
        run = runs[STEPS.index(step) % len(runs)]["id"] if which else runs[0]["id"]
        await getattr(self, act)(self.stores[which], self.holders[which], run, step)

    async def finish(self, _: Store, holder: Holder, run: UUID, step: str) -> None:
        await holder.say(messages.done(run, step))

    async def fail(self, _: Store, holder: Holder, run: UUID, step: str) -> None:
        await holder.say(messages.failed(run, step, retry_after_seconds=1))

    async def sleep(self, _: Store, holder: Holder, run: UUID, step: str) -> None:
        await holder.say(messages.sleeps(run, f"nap {step}", 1))

    async def await_event(self, _: Store, holder: Holder, run: UUID, step: str) -> None:
        await holder.say(messages.awaits_event(run, f"event {step}", "opened", equals={"data.step": step}))

    async def await_signal(self, _: Store, holder: Holder, run: UUID, step: str) -> None:
        await holder.say(messages.awaits_signal(run, f"gate {step}", f"s {step}", seconds=2))

    async def invoke(self, _: Store, holder: Holder, run: UUID, step: str) -> None:
        await holder.say(messages.invokes(run, f"sub {step}", "f", seconds=2))

    async def give_up(self, _: Store, holder: Holder, run: UUID, step: str) -> None:
        await holder.say(*(messages.withdrawn(run, f"{kind} {step}") for kind in ("nap", "event", "gate", "sub")))

    async def park(self, store: Store, holder: Holder, run: UUID, step: str) -> None:
        settled = (await run_row(store.database, run))["settled"]
        await holder.say(messages.sleeps(run, f"nap {step}", 1), messages.parked(run, settled, kept=step == "a"))

    async def end(self, _: Store, holder: Holder, run: UUID, step: str) -> None:
        end = {"a": messages.completed, "b": messages.stopped, "c": messages.released}[step]
        await holder.say(end(run))

    async def claim(self, _: Store, holder: Holder, run: UUID, step: str) -> None:
        await holder.claim()

    async def send_event(self, store: Store, _: Holder, run: UUID, step: str) -> None:
        await send(store, "opened", {"step": step})

    async def complete_signal(self, store: Store, _: Holder, run: UUID, step: str) -> None:
        await complete(store, 1, f"s {step}", b"1")

    async def pass_time(self, store: Store, _: Holder, run: UUID, step: str) -> None:
        await move_clocks(*self.stores, timedelta(seconds=1))
        await fire_deadlines(store)

    async def look(self, store: Store, _: Holder, run: UUID, step: str) -> None:
        await match(store)

    async def rescue(self, store: Store, _: Holder, run: UUID, step: str) -> None:
        await rescue(store)

    async def lose(self, store: Store, holder: Holder, run: UUID, step: str) -> None:
        await store.committer.submit(HolderLost(run, holder.lease_id))

    async def cancel(self, store: Store, _: Holder, run: UUID, step: str) -> None:
        if step == "c":
            await cancel(store, 1, run)

    async def settle_down(self) -> None:
        """Give everything that can still happen the time to do so, twice over."""
        for _ in range(2):
            for store in self.stores:
                await followed(store)
                store.database.advance(timedelta(minutes=1))
                await fire_deadlines(store)
                await match(store)
                await rescue(store)
                await followed(store)


ACTS = sorted(name for name in vars(Chaos) if not name.startswith("_") and name not in ("do", "settle_down"))
ACT = st.tuples(st.sampled_from([*ACTS, "claim", "park", "end"]), st.integers(0, 1), st.sampled_from(STEPS))


async def assert_sound(database: Database) -> None:
    assert [finding for finding in await check(database) if "passed over" not in finding.kind] == []
    overdue = await select(
        database, "SELECT 1 FROM waits WHERE deadline < rotor_now() - interval '1 minute' OR unlooked LIMIT 1"
    )
    assert overdue == []


@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.lists(ACT, min_size=1, max_size=6), min_size=4, max_size=8))
async def test_whatever_is_done_at_once_everything_stays_sound(
    store: Store, second_store: Store, rounds: list[list[tuple[str, int, str]]]
) -> None:
    await serve(store, "f")
    await begin(store)
    holders = (await Holder.connect(store), await Holder.connect(second_store))
    chaos = Chaos((store, second_store), holders)
    await holders[0].claim()
    for together in rounds:
        outcomes = await asyncio.gather(*(chaos.do(*one) for one in together), return_exceptions=True)
        assert [outcome for outcome in outcomes if outcome is not None and not isinstance(outcome, Conflict)] == []
    await chaos.settle_down()

    await assert_sound(store.database)
