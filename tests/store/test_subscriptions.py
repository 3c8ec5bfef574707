"""What a server remembers of triggers and waits is never acted upon once it is out of date, whoever changed it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from rotor import limits
from rotor.protocol.messages import FunctionSpec, Trigger
from rotor.store import functions
from rotor.store.store import Store
from tests import messages
from tests.store.actors import hold, match, send, serve
from tests.store.tables import select, step_row, value
from tests.store.test_parking import statements


async def started_by(store: Store, event_id: str) -> list[str]:
    rows = await select(store.database, "SELECT function_id FROM runs WHERE event_id = $1 ORDER BY 1", event_id)
    return [row["function_id"] for row in rows]


async def test_an_event_of_a_known_name_is_one_statement(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await serve(store, "f", event="go")
    await send(store, "go")
    asked = statements(monkeypatch)
    event_id = await send(store, "go")

    assert asked == ["accept_event"]
    assert await started_by(store, event_id) == ["f"]


async def test_what_another_server_registers_holds_for_the_next_event(store: Store, second_store: Store) -> None:
    await serve(store, "f", event="go")
    await send(store, "go")
    await serve(second_store, "g", event="go")
    assert await started_by(store, await send(store, "go")) == ["f", "g"]
    trigger = Trigger(event="go", match="data.n > 1")
    await functions.register(second_store.database, 1, [FunctionSpec(id="f", triggers=[trigger])])
    assert await started_by(store, await send(store, "go", {"n": 1})) == ["g"]
    await functions.delete(second_store.database, second_store.committer, 1, "g")

    assert await started_by(store, await send(store, "go", {"n": 1})) == []


async def test_a_registration_that_is_under_way_as_an_event_comes_holds_or_does_not(
    store: Store, second_store: Store
) -> None:
    await serve(store, "f", event="go")
    await send(store, "go")
    async with second_store.database.of(1).transaction() as connection:
        await connection.execute("put_functions", ["g"], [3], None, "", "")
        await connection.execute("add_triggers", ["g"], [0], ["go"], [None], [None], [None], [None])
        await connection.execute("raise_revision")
        assert await started_by(store, await send(store, "go")) == ["f"]

    assert await started_by(store, await send(store, "go")) == ["f", "g"]


async def test_a_registration_in_one_workspace_is_none_in_another(store: Store) -> None:
    await store.database.execute("add_workspace", "other")
    await serve(store, "f", event="go")
    await serve(store, "f", event="go", workspace_id=2)
    for workspace_id in (1, 2):
        await send(store, "go", id="e-1", workspace_id=workspace_id)
    await serve(store, "g", event="go", workspace_id=2)
    for workspace_id in (1, 2):
        await send(store, "go", id="e-2", workspace_id=workspace_id)

    rows = await select(
        store.database, "SELECT workspace_id, function_id FROM runs WHERE event_id = 'e-2' ORDER BY 1, 2"
    )
    assert [tuple(row) for row in rows] == [(1, "f"), (2, "f"), (2, "g")]


async def test_a_condition_may_ask_for_the_time_of_an_event_that_has_none(store: Store) -> None:
    now = await value(store.database, "SELECT rotor_now()")
    later = (now + timedelta(hours=1)).isoformat()
    for name, sign in (("before", "<"), ("after", ">=")):
        trigger = Trigger(event="go", match=f'ts {sign} timestamp("{later}")')
        await functions.register(store.database, 1, [FunctionSpec(id=name, triggers=[trigger])])
    first = [await send(store, "go") for _ in range(2)]
    store.database.advance(timedelta(hours=2))
    last = await send(store, "go")

    assert [await started_by(store, event_id) for event_id in (*first, last)] == [["before"], ["before"], ["after"]]


async def test_names_beyond_the_limit_are_forgotten_and_read_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENT_NAMES", 2)
    await serve(store, "f", event="go")
    for name in ("go", "a", "b", "c"):
        await send(store, name)

    assert store.intake.subscriptions.known({(1, "go")}) is None
    assert store.intake.subscriptions.known({(1, "c")}) is not None
    assert await started_by(store, await send(store, "go")) == ["f"]


async def test_a_path_that_another_server_has_added_indexes_the_next_event(store: Store, second_store: Store) -> None:
    holder, run_id = await hold(second_store)
    await send(store, "opened", {"id": 7})
    await holder.say(messages.awaits_event(run_id, "w", "opened", equals={"data.id": 7}, since_now=True))
    await match(second_store)
    await send(store, "opened", {"id": 7}, id="e-1")

    assert await value(store.database, "SELECT event_id FROM event_values") == "e-1"
    await match(store)
    assert (await step_row(store.database, run_id, "w"))["event_id"] == "e-1"


async def test_a_path_whose_server_died_before_it_was_dated_is_dated_by_the_next_wait(
    store: Store, second_store: Store
) -> None:
    holder, run_id = await hold(second_store)
    await second_store.database.of(1).execute("add_event_use", "opened", "data.id")  # and dies
    await holder.say(messages.awaits_event(run_id, "w", "opened", equals={"data.id": 7}))
    await send(store, "opened", {"id": 7}, id="e-1")
    await match(second_store)

    assert await value(store.database, "SELECT indexed_from < 'infinity' FROM event_paths")
    assert (await step_row(store.database, UUID(run_id), "w"))["event_id"] == "e-1"


async def test_what_was_read_first_and_comes_last_is_not_remembered(store: Store) -> None:
    await serve(store, "f", event="go")
    subscriptions = store.intake.subscriptions
    async with store.database.connection() as connection:
        before = await subscriptions.read(connection, {(1, "go")})
        await serve(store, "g", event="go")
        after = await subscriptions.read(connection, {(1, "go")})
    subscriptions._remember(before)

    assert subscriptions.known({(1, "go")}) == after
