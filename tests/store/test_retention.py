"""What is old enough is forgotten, and nothing that something still needs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotor import limits
from rotor.protocol.messages import LogLine
from rotor.store import retention
from rotor.store.retention import Retention, prune
from rotor.store.signals import complete
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, begin, hold, match, send, serve
from tests.store.tables import change, select, status_of, step_row, value

DAY = timedelta(days=1)
KEPT = Retention(runs=30 * DAY, events=30 * DAY)


async def count(store: Store, table: str) -> int:
    number: int = await value(store.database, f"SELECT count(*) FROM {table}")
    return number


async def ended(store: Store) -> tuple[Holder, str]:
    holder, run_id = await hold(store)
    await holder.say(messages.done(run_id, "a"), messages.completed(run_id))
    return holder, run_id


async def test_an_ended_run_is_kept_for_its_time_and_then_goes_with_its_steps_and_its_event(store: Store) -> None:
    await ended(store)
    store.database.advance(29 * DAY)
    assert (await prune(store.database, KEPT)).gone == 0
    store.database.advance(2 * DAY)
    assert (await prune(store.database, KEPT)).gone == 2

    assert [await count(store, table) for table in ("runs", "steps", "events")] == [0, 0, 0]


async def test_a_run_that_is_open_is_kept_however_old_and_so_is_its_event(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap", seconds=100 * 24 * 3600), messages.parked(run_id))
    store.database.advance(60 * DAY)
    await prune(store.database, KEPT)

    assert await status_of(store.database, run_id) == "waiting"
    assert await count(store, "events") == 1


async def test_a_child_is_kept_while_its_parent_is_open(store: Store) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    await holder.say(messages.invokes(run_id, "sub", "child"))
    child = await holder.take("child")
    await holder.say(messages.completed(child.run_id))
    store.database.advance(60 * DAY)
    await prune(store.database, KEPT)
    assert await count(store, "runs") == 2
    await holder.say(messages.completed(run_id))
    store.database.advance(60 * DAY)
    await prune(store.database, KEPT)

    assert await count(store, "runs") == 0


async def test_runs_and_events_have_times_of_their_own(store: Store) -> None:
    await ended(store)
    await send(store, "nobody")
    store.database.advance(10 * DAY)
    await prune(store.database, Retention(runs=30 * DAY, events=5 * DAY))

    # The event that started the run stays as long as the run.
    assert [row["name"] for row in await select(store.database, "SELECT name FROM events")] == ["start f"]
    assert await count(store, "runs") == 1


async def test_an_events_indexed_values_go_with_it(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_event(run_id, "w", "opened", equals={"data.id": 1}))
    await match(store)
    await send(store, "opened", {"id": 2})
    await match(store)
    assert await count(store, "event_values") == 1
    store.database.advance(31 * DAY)
    await prune(store.database, KEPT)

    assert await count(store, "event_values") == 0
    assert [row["name"] for row in await select(store.database, "SELECT name FROM events")] == ["start f"]


async def test_an_event_that_a_wait_has_still_to_look_back_at_is_kept(store: Store) -> None:
    holder, run_id = await hold(store)
    await send(store, "opened", id="e-1")
    await match(store)
    store.database.advance(31 * DAY)
    await holder.say(messages.awaits_event(run_id, "w", "opened", seconds=3600))
    await prune(store.database, KEPT)
    await match(store)

    assert (await step_row(store.database, run_id, "w"))["event_id"] == "e-1"


async def test_a_deferred_event_is_kept_until_it_has_taken_effect(store: Store) -> None:
    now = await value(store.database, "SELECT rotor_now()")
    await send(store, "later", ts=now + 100 * DAY)
    store.database.advance(60 * DAY)
    await prune(store.database, KEPT)

    assert await count(store, "events") == 1


async def test_signals_go_when_they_expire(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.awaits_signal(run_id, "waiting", "awaited", seconds=100 * 24 * 3600))
    await holder.say(messages.awaits_signal(run_id, "done", "delivered"))
    for signal in ("delivered", "early"):
        await complete(store, 1, signal, b"1")
    await prune(store.database, KEPT)
    assert await count(store, "signals") == 3
    store.database.advance(limits.SIGNAL_KEPT)
    assert (await prune(store.database, KEPT)).gone == 2

    assert [row["id"] for row in await select(store.database, "SELECT id FROM signals")] == ["awaited"]


async def test_pruning_goes_in_bounded_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH", 4)
    await serve(store, "f")
    holder = await Holder.connect(store)
    for _ in range(10):
        run_id = await begin(store)
        await holder.take()
        await holder.say(messages.completed(run_id))
    await change(store.database, "DELETE FROM deliveries")
    store.database.advance(31 * DAY)

    rounds = [await prune(store.database, KEPT) for _ in range(4)]
    assert [(pruned.gone, pruned.more) for pruned in rounds] == [(8, True), (8, True), (4, False), (0, False)]


async def test_a_batch_of_runs_ends_early_where_they_hold_much(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS", 3)
    await serve(store, "f")
    holder = await Holder.connect(store)
    for steps in (2, 2, 9, 1):
        run_id = await begin(store)
        await holder.take()
        done = [messages.done(run_id, f"s{number}", number) for number in range(steps)]
        await holder.say(*done, messages.completed(run_id))
    await change(store.database, "DELETE FROM deliveries")
    store.database.advance(31 * DAY)

    left = []
    while (await prune(store.database, KEPT)).more:
        left.append(await count(store, "runs"))
    assert left == [2, 1]
    assert [await count(store, table) for table in ("runs", "steps")] == [0, 0]


async def test_lines_of_logs_go_before_their_run_where_that_is_set(store: Store) -> None:
    _, run_id = await hold(store)
    store.logs.put(1, LogLine(run_id=str(run_id), number=1, level="info", message="hello"))
    await store.logs.commits.stop()
    assert await count(store, "run_logs") == 1
    store.database.advance(4 * DAY)
    await prune(store.database, KEPT)
    assert await count(store, "run_logs") == 1
    await prune(store.database, Retention(logs=3 * DAY))

    assert await count(store, "run_logs") == 0
    assert await count(store, "runs") == 1
