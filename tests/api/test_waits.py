"""Who waits for a run has it as it ended, at once, or as it is when the time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from rotor import limits
from rotor.api import streams
from rotor.store.database import Database
from rotor.store.keys import Keys
from rotor.store.store import Store
from tests.api.conftest import Answered, Client
from tests.api.test_streams import end_run
from tests.store.rows import put_event, put_run, put_step


@pytest.fixture
def waiting(call: Client, monkeypatch: pytest.MonkeyPatch) -> Callable[[UUID], asyncio.Task[Answered]]:
    """Begins to wait for the end of a run, of which the database would be asked after a minute."""
    monkeypatch.setattr(streams, "POLL_FIRST_SECONDS", 60)
    return lambda run_id: asyncio.create_task(call("GET", f"/v1/runs/{run_id}/wait"))


async def until_open(store: Store, count: int) -> None:
    async with asyncio.timeout(60):
        while store.followers.count != count:  # noqa: ASYNC110 - the server notices it on its own
            await asyncio.sleep(0.005)


async def test_an_ended_run_is_given_at_once_with_its_steps(call: Client, database: Database) -> None:
    await put_event(database, "e1", data=b"{}")
    run_id = await put_run(database, status="completed", changed_group=3, output=b'"done"')
    await put_step(database, run_id, "a", group=2, output=b"1")
    waited = await call("GET", f"/v1/runs/{run_id}/wait?seconds=0")
    assert (waited.status, waited.json) == (200, (await call("GET", f"/v1/runs/{run_id}")).json)
    assert [step["output"] for step in waited.json["steps"]] == [1]


async def test_an_end_that_this_server_commits_is_told_at_once(
    waiting: Callable[[UUID], asyncio.Task[Answered]], database: Database, store: Store
) -> None:
    run_id = await put_run(database)
    told = waiting(run_id)
    await until_open(store, 1)
    store.changes.runs_changed([run_id])
    await end_run(database, run_id, group=3)
    store.changes.runs_ended([run_id])
    assert (await told).json["status"] == "completed"
    assert store.followers.count == 0


def give_to_worker(store: Store, run_id: UUID, *, workspace_id: int) -> None:
    lease_id = uuid4()
    store.holders.add(lease_id, lambda _, __: None, serves=[(workspace_id, "welcome")])
    store.holders.take(lease_id, run_id, settled=0, quiet=True)


async def test_of_a_run_that_a_worker_here_has_nothing_is_read_before_it_ends(
    waiting: Callable[[UUID], asyncio.Task[Answered]], database: Database, store: Store
) -> None:
    run_id = uuid4()
    give_to_worker(store, run_id, workspace_id=1)
    told = waiting(run_id)  # a reading would find no such run
    await until_open(store, 1)
    await put_run(database, id=run_id, status="completed", output=b'"done"')
    store.changes.runs_ended([run_id])
    assert (await told).json["output"] == "done"


async def test_a_run_that_a_worker_here_has_for_long_is_given_as_it_is(
    call: Client, database: Database, store: Store
) -> None:
    run_id = await put_run(database)
    give_to_worker(store, run_id, workspace_id=1)
    waited = await call("GET", f"/v1/runs/{run_id}/wait?seconds=0.05")
    assert (waited.status, waited.json["ended_at"]) == (200, None)


async def test_that_a_worker_here_has_a_run_is_told_to_its_own_workspace_alone(call: Client, store: Store) -> None:
    run_id = uuid4()
    give_to_worker(store, run_id, workspace_id=2)
    assert (await call("GET", f"/v1/runs/{run_id}/wait")).status == 404


async def test_an_end_that_another_server_commits_is_found(
    call: Client, store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "POLL_FIRST_SECONDS", 0.01)
    run_id = await put_run(database)
    told = asyncio.create_task(call("GET", f"/v1/runs/{run_id}/wait"))
    await until_open(store, 1)
    await end_run(database, run_id, group=3)
    assert (await told).json["status"] == "completed"


async def test_a_run_that_takes_longer_is_given_as_it_is(call: Client, database: Database) -> None:
    run_id = await put_run(database)
    waited = await call("GET", f"/v1/runs/{run_id}/wait?seconds=0.05")
    assert (waited.status, waited.json["ended_at"]) == (200, None)


async def test_a_server_that_stops_keeps_nobody_waiting(
    waiting: Callable[[UUID], asyncio.Task[Answered]], store: Store, database: Database
) -> None:
    told = waiting(await put_run(database))
    await until_open(store, 1)
    store.followers.end()
    assert (await told).json["ended_at"] is None


async def test_waits_are_bounded_and_a_client_that_is_gone_frees_its_place(
    call: Client,
    waiting: Callable[[UUID], asyncio.Task[Answered]],
    store: Store,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "STREAMS", 1)
    run_id = await put_run(database)
    told = waiting(run_id)
    await until_open(store, 1)
    refused = await call("GET", f"/v1/runs/{run_id}/wait")
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert "STREAMS" in refused.json["detail"]
    told.cancel()
    await until_open(store, 0)
    assert (await call("GET", f"/v1/runs/{run_id}/wait?seconds=0")).status == 200


async def test_a_key_that_is_revoked_meanwhile_is_told_nothing(
    waiting: Callable[[UUID], asyncio.Task[Answered]],
    database: Database,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = await put_run(database)
    told = waiting(run_id)
    await until_open(store, 1)
    (key,) = await Keys(database).list()
    await Keys(database).revoke(key.id)
    monkeypatch.setattr("rotor.store.recent.monotonic", lambda: float("inf"))
    store.changes.runs_ended([run_id])
    assert (await told).status == 401


@pytest.mark.parametrize("seconds", ["x", "-1", "nan", str(limits.RUN_WAIT.total_seconds() + 1)])
async def test_a_time_that_is_none_is_refused(call: Client, database: Database, seconds: str) -> None:
    refused = await call("GET", f"/v1/runs/{await put_run(database)}/wait?seconds={seconds}")
    assert (refused.status, refused.fields) == (422, ["seconds"])


async def test_a_run_that_is_not_there_is_not_waited_for(call: Client) -> None:
    assert (await call("GET", f"/v1/runs/{UUID(int=7)}/wait")).status == 404
