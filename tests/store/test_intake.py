"""An event and the runs that it starts are one fact, and the same event again is none."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from rotor import limits
from rotor.protocol.messages import FunctionSpec, Trigger
from rotor.store import functions, intake
from rotor.store.intake import NewEvent
from rotor.store.problems import Overloaded
from rotor.store.store import Store
from tests import messages
from tests.messages import raw
from tests.store.actors import Holder, match, send, serve
from tests.store.tables import change, locked, select, until_blocked, value


async def started(store: Store) -> list[tuple[str, str]]:
    rows = await select(store.database, "SELECT function_id, event_id FROM runs ORDER BY 1, 2")
    return [(row["function_id"], row["event_id"]) for row in rows]


async def register(store: Store, function_id: str, *triggers: Trigger) -> None:
    await functions.register(store.database, 1, [FunctionSpec(id=function_id, triggers=list(triggers))])


async def test_an_event_starts_a_run_of_each_function_that_it_triggers(store: Store) -> None:
    await serve(store, "f", "g", event="go")
    await serve(store, "h", event="other")
    event_id = await send(store, "go", {"n": 1})

    assert await started(store) == [("f", event_id), ("g", event_id)]
    (event,) = await select(store.database, "SELECT * FROM events")
    assert (event["data"], event["effective_at"], event["ts"]) == (b'{"n":1}', event["accepted_at"], event["ts"])
    assert event["position"] is not None


async def test_an_event_and_its_runs_are_there_together_or_not_at_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(store, "f", event="go")
    monkeypatch.setattr(intake.uuid_utils, "uuid7", lambda: UUID(int=1))
    await send(store, "go", id="first")
    with pytest.raises(asyncpg.UniqueViolationError, match="runs_pkey"):
        await send(store, "go", id="second")

    assert await started(store) == [("f", "first")]
    assert [row["id"] for row in await select(store.database, "SELECT id FROM events")] == ["first"]
    assert await value(store.database, "SELECT count(*) FROM deliveries") == 1


async def test_an_event_that_nobody_wants_is_kept(store: Store) -> None:
    await send(store, "nobody", id="e-1")

    assert await value(store.database, "SELECT name FROM events WHERE id = 'e-1'") == "nobody"


async def test_the_same_id_again_starts_nothing_again(store: Store) -> None:
    await serve(store, "f", event="go")
    for _ in range(2):
        await send(store, "go", {"first": True}, id="e-1")
    await send(store, "go", {"first": False}, id="e-1")

    assert await started(store) == [("f", "e-1")]
    assert await value(store.database, "SELECT data FROM events") == b'{"first":true}'
    assert await value(store.database, "SELECT count(*) FROM deliveries") == 1


async def test_the_same_id_twice_in_one_request_is_one_event(store: Store) -> None:
    await serve(store, "f", event="go")
    ids = await store.intake.accept(1, [NewEvent("go", raw(number), "e-1") for number in range(3)])

    assert ids == ["e-1", "e-1", "e-1"]
    assert await started(store) == [("f", "e-1")]
    assert await value(store.database, "SELECT data FROM events") == b"0"


async def test_the_same_id_in_two_requests_of_one_transaction_is_one_event(store: Store) -> None:
    await serve(store, "f", event="go")
    async with locked(store.database, "LOCK TABLE events IN SHARE MODE") as other:
        first = asyncio.create_task(send(store, "go"))
        await until_blocked(other)
        same = [asyncio.create_task(send(store, "go", id="e-1")) for _ in range(3)]
        await asyncio.sleep(0)
    await asyncio.gather(first, *same)

    assert [event for _, event in await started(store)].count("e-1") == 1


async def test_the_same_id_through_two_servers_at_once_is_one_event(store: Store, second_store: Store) -> None:
    await serve(store, "f", event="go")
    ids = [f"e-{number}" for number in range(20)]
    events = [NewEvent("go", raw(None), id) for id in ids]  # noqa: A001
    await asyncio.gather(store.intake.accept(1, events), second_store.intake.accept(1, events[::-1]))

    assert sorted(event for _, event in await started(store)) == sorted(ids)


async def test_an_id_of_another_workspace_is_another_event(store: Store) -> None:
    await change(store.database, "INSERT INTO workspaces (name) VALUES ('other')")
    await serve(store, "f", event="go")
    await serve(store, "f", event="go", workspace_id=2)
    await send(store, "go", id="e-1")
    await send(store, "go", id="e-1", workspace_id=2)

    assert [
        row["workspace_id"] for row in await select(store.database, "SELECT workspace_id FROM runs ORDER BY 1")
    ] == [
        1,
        2,
    ]


async def test_the_events_of_a_request_keep_their_order(store: Store) -> None:
    ids = await store.intake.accept(1, [NewEvent("go", raw(number)) for number in range(100)])

    assert [row["id"] for row in await select(store.database, "SELECT id FROM events ORDER BY position")] == ids


async def test_a_function_is_started_once_whichever_of_its_triggers_match(store: Store) -> None:
    await register(store, "f", Trigger(event="go"), Trigger(event="go", match="data.n > 1"), Trigger(event="other"))
    await send(store, "go", {"n": 2}, id="e-1")

    assert await started(store) == [("f", "e-1")]


async def test_a_trigger_with_a_condition_starts_what_it_is_true_for(store: Store) -> None:
    await register(store, "f", Trigger(event="go", match='data.plan == "pro" && data.seats > 5'))
    for plan, seats in (("pro", 9), ("pro", 5), ("free", 9)):
        await send(store, "go", {"plan": plan, "seats": seats}, id=f"{plan}-{seats}")
    await send(store, "go", {"plan": "pro"}, id="no seats")

    assert await started(store) == [("f", "pro-9")]


async def test_a_deferred_event_takes_effect_at_its_time(store: Store) -> None:
    await serve(store, "f", event="go")
    now = await value(store.database, "SELECT rotor_now()")
    await send(store, "go", id="e-1", ts=now + timedelta(minutes=5))
    await match(store)
    assert await started(store) == []
    assert await value(store.database, "SELECT effective_at FROM events") is None
    store.database.advance(timedelta(minutes=5))
    await match(store)

    assert await started(store) == [("f", "e-1")]
    assert await value(store.database, "SELECT effective_at >= ts AND position IS NOT NULL FROM events")


async def test_a_deferred_event_takes_effect_once_though_two_servers_see_to_it(
    store: Store, second_store: Store
) -> None:
    await serve(store, "f", event="go")
    now = await value(store.database, "SELECT rotor_now()")
    await store.intake.accept(1, [NewEvent("go", raw(None), f"e-{n}", now + timedelta(minutes=1)) for n in range(30)])
    for each in (store, second_store):
        each.database.advance(timedelta(minutes=2))
    await asyncio.gather(match(store), match(second_store))

    assert len(await started(store)) == 30


async def test_a_deferred_event_outlives_the_server_that_took_it_up(store: Store) -> None:
    await serve(store, "f", event="go")
    now = await value(store.database, "SELECT rotor_now()")
    await send(store, "go", id="e-1", ts=now + timedelta(minutes=1))
    store.database.advance(timedelta(minutes=1))
    await store.database.fetch("read_due_deliveries", 10, timedelta(seconds=15))  # and dies
    await match(store)
    assert await started(store) == []
    store.database.advance(timedelta(seconds=15))
    await match(store)

    assert await started(store) == [("f", "e-1")]


async def test_an_event_of_the_past_takes_effect_now(store: Store) -> None:
    await serve(store, "f", event="go")
    then = datetime(2020, 1, 1, tzinfo=UTC)
    await send(store, "go", id="e-1", ts=then)

    assert await started(store) == [("f", "e-1")]
    assert await value(store.database, "SELECT ts FROM events") == then
    assert await value(store.database, "SELECT effective_at > ts FROM events")


async def test_an_event_that_a_step_sends_starts_runs_in_the_same_transaction(store: Store) -> None:
    await serve(store, "f", "g")
    holder = await Holder.connect(store)
    await send(store, "start f")
    run_id = (await holder.take()).run_id
    await holder.say(messages.emitted(run_id, "tell", "start g", {"a": 1}, event_id="told"))

    assert ("g", "told") in await started(store)
    step = await select(store.database, "SELECT status, event_id, output FROM steps")
    assert [tuple(row) for row in step] == [("completed", "told", b'"told"')]


async def test_a_step_can_defer_the_event_that_it_sends(store: Store) -> None:
    await serve(store, "f", "g")
    holder = await Holder.connect(store)
    await send(store, "start f")
    run_id = (await holder.take()).run_id
    now = await value(store.database, "SELECT rotor_now()")
    await holder.say(messages.emitted(run_id, "tell", "start g", ts=now + timedelta(hours=1)))
    assert [function for function, _ in await started(store)] == ["f"]
    store.database.advance(timedelta(hours=1))
    await match(store)

    assert [function for function, _ in await started(store)] == ["f", "g"]


async def test_large_requests_are_looked_at_in_bounded_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH", 4)
    monkeypatch.setattr(limits, "BATCH_BYTES", 100)
    small, large = [NewEvent("go", raw(None)) for _ in range(6)], [NewEvent("go", raw("x" * 60)) for _ in range(3)]
    ids = await store.intake.accept(1, [*small, *large])
    rows = await select(store.database, "SELECT event_ids FROM deliveries ORDER BY id")

    assert [len(row["event_ids"]) for row in rows] == [4, 3, 1, 1]
    assert [event_id for row in rows for event_id in row["event_ids"]] == ids


async def test_an_overloaded_intake_refuses_and_names_its_limit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COMMIT_QUEUE", 0)
    with pytest.raises(Overloaded, match="COMMIT_QUEUE"):
        await send(store, "go")
