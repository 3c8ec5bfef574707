"""Runs are listed, shown, cancelled and replayed as the contract says."""

from __future__ import annotations

from uuid import uuid4

import pytest

from rotor.store import runs
from rotor.store.database import Database
from tests.api.conftest import Client
from tests.store.rows import put_event, put_run, put_step

RUN_FIELDS = {
    "id", "function_id", "status", "event", "output", "error", "attempt", "created_at", "started_at", "ended_at",
    "parent_run_id", "replay_of", "cancel_requested_at",
}  # fmt: skip
STEP_FIELDS = {
    "id", "index", "op", "status", "attempts", "output", "error", "started_at", "ended_at", "deadline", "waits_for",
    "child_run_id", "event_id", "version",
}  # fmt: skip


async def test_a_run_is_shown_with_its_steps(call: Client, database: Database) -> None:
    await put_event(database, "e1", data=b'{"userId": "123"}')
    run_id = await put_run(database, status="completed", output=b'{"sent": true}')
    await put_step(database, run_id, "fetch", output=b"[1, 2]", second=1)
    failed = b'{"name":"ValueError","message":"no"}'
    await put_step(database, run_id, "send", second=2, status="failed", error=failed)

    shown = await call("GET", f"/v1/runs/{run_id}")

    assert shown.status == 200
    run = shown.json
    assert run.keys() == RUN_FIELDS | {"steps"}
    assert (run["id"], run["status"], run["output"]) == (str(run_id), "completed", {"sent": True})
    assert run["event"]["data"] == {"userId": "123"}
    assert [step.keys() for step in run["steps"]] == [STEP_FIELDS] * 2
    assert [step["id"] for step in run["steps"]] == ["fetch", "send"]
    assert run["steps"][1]["error"] == {"name": "ValueError", "message": "no", "stack": ""}
    assert run["ended_at"] == "2026-03-01T12:00:00Z"


async def test_a_run_without_steps_has_an_empty_list(call: Client, database: Database) -> None:
    run_id = await put_run(database)
    assert (await call("GET", f"/v1/runs/{run_id}")).json["steps"] == []


async def test_a_long_run_is_shown_whole(call: Client, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "STEPS_READ_AT_ONCE", 2)
    run_id = await put_run(database)
    for number in range(5):
        await put_step(database, run_id, "step", index=number, second=number)
    assert [step["index"] for step in (await call("GET", f"/v1/runs/{run_id}")).json["steps"]] == [0, 1, 2, 3, 4]


async def test_runs_are_listed_without_steps_newest_first(call: Client, database: Database) -> None:
    ids = [str(await put_run(database, minute=minute)) for minute in range(3)]

    first = (await call("GET", "/v1/runs?limit=2")).json
    second = (await call("GET", f"/v1/runs?limit=2&cursor={first['next_cursor']}")).json

    assert [run["id"] for run in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None
    assert first["items"][0].keys() == RUN_FIELDS


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 4),
        ("status=queued", 3),
        ("status=completed&function_id=welcome", 1),
        ("function_id=other", 1),
        ("event_id=e2", 1),
        ("event_id=e2&function_id=other", 0),
        ("since=2026-03-01T12:02:00Z", 2),
        ("until=2026-03-01T12:02:00Z", 2),
        ("since=2026-03-01T13%3A01%3A00%2B01%3A00&until=1772366520000", 1),
    ],
)
async def test_filters_choose_runs(call: Client, database: Database, query: str, count: int) -> None:
    await put_run(database, minute=0)
    await put_run(database, minute=1, status="completed")
    await put_run(database, minute=2, function_id="other")
    await put_run(database, minute=3, event_id="e2")
    assert len((await call("GET", f"/v1/runs?{query}")).json["items"]) == count


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "status"),
        ("status=", "status"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1e3", "limit"),
        ("limit=99999999999999999999999", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("since=yesterday", "since"),
        ("since=2026-03-01T12:00:00", "since"),
        ("since=-1", "since"),
        ("until=99999999999999999", "until"),
        ("until=%00", "until"),
        ("function_id=%00", "function_id"),
        ("event_id=" + "x" * 257, "event_id"),
        ("functionid=a", "functionid"),
        ("status=queued&status=failed", "status"),
        ("status=%FF", "query"),
    ],
)
async def test_a_query_that_cannot_be_used_is_refused_by_its_parameter(call: Client, query: str, field: str) -> None:
    refused = await call("GET", f"/v1/runs?{query}")
    assert (refused.status, refused.fields) == (422, [field])


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/stream"), ("POST", "/cancel"), ("POST", "/replay")]
)
async def test_an_unknown_run_is_not_found(
    call: Client, other: Client, database: Database, method: str, path: str
) -> None:
    run_id = await put_run(database)
    for name in (uuid4(), "none", "%00", "{" + str(run_id) + "}", run_id.hex, f"urn:uuid:{run_id}"):
        assert (await call(method, f"/v1/runs/{name}{path}")).status == 404
    assert (await other(method, f"/v1/runs/{run_id}{path}")).status == 404
    assert (await call("GET", f"/v1/runs/{run_id}")).json["status"] == "queued"


async def test_cancelling_answers_with_the_run_and_then_with_a_conflict(call: Client, database: Database) -> None:
    run_id = await put_run(database)

    cancelled = await call("POST", f"/v1/runs/{run_id}/cancel")
    again = await call("POST", f"/v1/runs/{run_id}/cancel")

    assert (cancelled.status, cancelled.json["status"], cancelled.json["steps"]) == (200, "cancelled", [])
    assert (again.status, again.json["type"]) == (409, "urn:rotor:problem:conflict")


async def test_a_replay_is_a_new_run_with_the_same_event(call: Client, database: Database) -> None:
    function = {"id": "welcome", "serve_url": "http://app/", "trigger_type": "event", "trigger_event": "user.created"}
    await call("POST", "/v1/functions", function)
    await put_event(database, "e1")
    run_id = await put_run(database, status="failed")

    replayed = await call("POST", f"/v1/runs/{run_id}/replay")

    assert replayed.status == 202
    run = (await call("GET", f"/v1/runs/{replayed.json['run_id']}")).json
    assert (run["replay_of"], run["event"]["id"], run["status"]) == (str(run_id), "e1", "queued")
    assert (await call("GET", f"/v1/runs/{run_id}")).json["status"] == "failed"
