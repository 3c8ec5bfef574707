"""A replay is a new run of the same function with the same event."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from rotor.store import functions, replays
from rotor.store.intake import insert_runs
from rotor.store.problems import Conflict, NotFound
from rotor.store.replays import replay
from rotor.store.retention import Retention, prune
from rotor.store.store import Store
from tests import messages
from tests.store.actors import hold
from tests.store.tables import run_row, value


async def test_a_run_is_started_anew_with_its_event(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.done(run_id, "a"), messages.body_failed(run_id, retries=0))
    fresh = await replay(store, 1, UUID(run_id))
    start = await holder.take()

    assert (start.run_id, start.memo, start.event.name) == (str(fresh), [], "start f")
    assert (await run_row(store.database, fresh))["replay_of"] == UUID(run_id)
    assert (await run_row(store.database, run_id))["status"] == "failed"


async def test_an_unknown_run_and_one_of_another_workspace_are_not_found(store: Store) -> None:
    _, run_id = await hold(store)
    for workspace_id, wanted in ((1, uuid4()), (2, UUID(run_id))):
        with pytest.raises(NotFound):
            await replay(store, workspace_id, wanted)

    assert await value(store.database, "SELECT count(*) FROM runs") == 1


async def test_a_run_whose_function_is_gone_is_not_started_for_nobody(store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.completed(run_id))
    await functions.delete(store.database, store.committer, 1, "f")
    with pytest.raises(Conflict, match="register it again"):
        await replay(store, 1, UUID(run_id))

    assert await value(store.database, "SELECT count(*) FROM runs") == 1


async def test_neither_a_run_nor_its_event_is_pruned_while_it_is_replayed(
    store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.completed(run_id))
    second_store.database.advance(timedelta(days=1))
    at_once = Retention(runs=timedelta(hours=1), events=timedelta(hours=1))

    async def prune_first(*arguments: Any) -> None:
        await prune(second_store.database, at_once)
        await insert_runs(*arguments)

    monkeypatch.setattr(replays, "insert_runs", prune_first)
    await replay(store, 1, UUID(run_id))
    await prune(second_store.database, at_once)

    assert await value(store.database, "SELECT count(*) FROM events") == 1
    assert (await holder.take()).event.name == "start f"
