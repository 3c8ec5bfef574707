"""A stream tells every change of a run, goes on where it broke off, and ends after the run's end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from rotor import limits
from rotor.api import streams
from rotor.store import workspaces
from rotor.store.database import Database
from rotor.store.store import Store
from tests.api.conftest import Client
from tests.store.rows import BEGINNING, put_event, put_run, put_step


class Messages:
    """Reads server-sent events as the standard says."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.comments = 0

    async def next(self) -> tuple[int, str, Any] | None:
        """(id, event, data) of the next message; None: the stream has ended."""
        fields: dict[str, list[str]] = {}
        while line := await self.answer.content.readline():
            name, _, value = line.decode().rstrip("\n").partition(":")
            if not line.strip():
                if "data" in fields:
                    return int(fields["id"][0]), fields["event"][0], json.loads("\n".join(fields["data"]))
                fields = {}
            elif not name:
                self.comments += 1
            else:
                fields.setdefault(name, []).append(value.removeprefix(" "))
        return None

    async def following(self) -> tuple[int, str, Any]:
        """The next message, which must come."""
        message = await self.next()
        assert message is not None
        return message

    async def rest(self) -> list[tuple[int, str, Any]]:
        messages = []
        while (message := await self.next()) is not None:
            messages.append(message)
        return messages


@asynccontextmanager
async def following(call: Client, run_id: UUID, since: int | None = None) -> AsyncIterator[Messages]:
    headers = {**call.headers, **({} if since is None else {"Last-Event-ID": str(since)})}
    async with call.session.get(f"{call.url}/v1/runs/{run_id}/stream", headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield Messages(answer)


async def end_run(database: Database, run_id: UUID, group: int) -> None:
    async with database.connection() as connection:
        await connection.raw.execute(
            "UPDATE runs SET status = 'completed', due_at = NULL, ended_at = $2, changed_group = $3 WHERE id = $1",
            run_id,
            BEGINNING,
            group,
        )


async def test_a_stream_of_an_ended_run_tells_all_and_ends(call: Client, database: Database) -> None:
    await put_event(database, "e1", data=b'{\r\n "a":\r "x y",\n "b": []}')
    run_id = await put_run(database, status="completed", changed_group=3, output=b'"done"')
    await put_step(database, run_id, "a", group=2, output=b"[1,\n 2]")

    async with following(call, run_id) as messages:
        step, run = await messages.rest()

    assert (step[0], step[1], step[2]["id"], step[2]["output"]) == (2, "step", "a", [1, 2])
    assert (run[0], run[1], run[2]["output"]) == (3, "run", "done")
    assert run[2]["event"]["data"] == {"a": "x y", "b": []}
    assert "steps" not in run[2]


async def test_a_change_of_this_process_is_told_at_once(
    call: Client, database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "POLL_FIRST_SECONDS", 60)
    run_id = await put_run(database)
    async with following(call, run_id) as messages:
        assert (await messages.following())[1] == "run"
        await put_step(database, run_id, "a", group=2)
        store.changes.runs_changed([run_id])
        assert (await messages.following())[0] == 2
        await end_run(database, run_id, group=3)
        store.changes.runs_changed([run_id])
        (end,) = await messages.rest()
    assert end[2]["status"] == "completed"


async def test_a_change_of_another_server_is_found(
    call: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "POLL_FIRST_SECONDS", 0.01)
    run_id = await put_run(database)
    async with following(call, run_id) as messages:
        await messages.next()
        await end_run(database, run_id, group=3)
        (end,) = await messages.rest()
    assert end[2]["status"] == "completed"


async def test_a_stream_goes_on_after_the_last_event_that_was_seen(call: Client, database: Database) -> None:
    run_id = await put_run(database, status="completed", changed_group=4)
    for group in (2, 3, 4):
        await put_step(database, run_id, f"s{group}", group=group)

    async with following(call, run_id, since=2) as messages:
        seen = [(event, data["id"]) for _, event, data in await messages.rest()]

    assert seen == [("step", "s3"), ("step", "s4"), ("run", str(run_id))]


async def test_one_who_has_seen_the_end_is_told_not_to_come_back(call: Client, database: Database) -> None:
    run_id = await put_run(database, status="completed", changed_group=4)
    answered = await call("GET", f"/v1/runs/{run_id}/stream", headers={"Last-Event-ID": "4"})
    assert (answered.status, answered.text) == (204, b"")


@pytest.mark.parametrize("last", ["x", "-1", "1.5", str(2**63), "²"])
async def test_a_last_event_id_that_is_none_is_refused(call: Client, database: Database, last: str) -> None:
    run_id = await put_run(database)
    refused = await call("GET", f"/v1/runs/{run_id}/stream", headers={"Last-Event-ID": last})
    assert (refused.status, refused.fields) == (422, ["Last-Event-ID"])


async def test_a_quiet_stream_says_that_it_is_alive(
    call: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "POLL_FIRST_SECONDS", 0.01)
    monkeypatch.setattr(streams, "KEEP_ALIVE_SECONDS", 0.02)
    run_id = await put_run(database)
    async with following(call, run_id) as messages:
        await messages.next()
        assert (await messages.answer.content.readuntil(b"still here\n")).endswith(b": still here\n")


async def test_streams_are_bounded_and_a_gone_follower_frees_its_place(
    call: Client, store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAMS", 1)
    run_id = await put_run(database)
    async with following(call, run_id) as messages:
        await messages.next()
        refused = await call("GET", f"/v1/runs/{run_id}/stream")
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert "STREAMS" in refused.json["detail"]
        messages.answer.close()
    while store.followers.count:  # noqa: ASYNC110 - the server notices it on its own
        await asyncio.sleep(0.01)
    async with following(call, run_id) as messages:
        assert await messages.next() is not None


async def test_a_workspace_that_follows_as_much_as_it_may_leaves_places_to_the_others(
    call: Client, other: Client, store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAMS_PER_WORKSPACE", 1)
    run_id = await put_run(database)
    async with following(call, run_id) as messages:
        await messages.next()
        for what in ("stream", "wait"):
            refused = await call("GET", f"/v1/runs/{run_id}/{what}")
            assert (refused.status, refused.headers["retry-after"]) == (503, "5")
            assert "STREAMS_PER_WORKSPACE" in refused.json["detail"]
        workspace_id = await workspaces.identify(database, "other")
        theirs = await put_run(database, workspace_id=workspace_id)
        async with following(other, theirs) as others:
            assert await others.next() is not None


async def test_streams_end_when_the_server_stops(call: Client, store: Store, database: Database) -> None:
    run_id = await put_run(database)
    async with following(call, run_id) as messages:
        await messages.next()
        store.followers.end()
        assert await messages.rest() == []
    assert (await call("GET", f"/v1/runs/{run_id}/stream")).status == 503


async def test_a_stream_that_breaks_off_is_cut_short_and_logged_without_what_the_error_quotes(
    call: Client, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(streams, "POLL_FIRST_SECONDS", 0.01)

    payload = "secret".upper()

    async def fail(self: object) -> None:
        raise KeyError(payload)

    run_id = await put_run(database)
    async with following(call, run_id) as messages:
        await messages.next()
        monkeypatch.setattr("rotor.store.streams.Follower.read", fail)
        with pytest.raises(aiohttp.ClientPayloadError):
            await messages.rest()
    assert "stream_run: the answer broke off: KeyError" in caplog.text
    assert payload not in caplog.text
