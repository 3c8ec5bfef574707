"""A key opens what its scopes allow of its own workspace; to all else the answers say the same, whatever is there."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from starlette.websockets import WebSocket

from rotor.api.app import create_app
from rotor.api.settings import ApiSettings
from rotor.store.database import Database
from rotor.store.keys import Keys
from rotor.store.scopes import SCOPES, Scope
from rotor.store.store import Store
from tests.api.conftest import Answered, Client, serving

MISSING = {
    "run_id": "0197c8ea-0000-7000-8000-000000000000",
    "function_id": "function-none",
    "event_id": "event-none",
    "signal_id": "signal-none",
}
OF_THE_MOMENT = {"date", "content-length"}
"""Headers. A time that is a whole second is shorter than others."""
BODIES: dict[str, Callable[[dict[str, str]], Any]] = {
    "send_events": lambda ids: {"name": "rotor/cancel.run", "data": {"runId": ids["run_id"]}},
    "register_function": lambda ids: {
        "id": ids["function_id"],
        "serve_url": "https://app.example.com",
        "trigger_type": "event",
        "trigger_event": "e",
    },
    "register_app": lambda ids: {
        "serve_url": "https://app.example.com",
        "functions": [{"id": ids["function_id"], "triggers": [{"event": "e"}]}],
    },
    "complete_signal": lambda ids: 1,
    "make_signal_link": lambda ids: {},
    "make_login_link": lambda ids: {},
    "commit_checkpoints": lambda ids: [],
}


@dataclass
class Operation:
    """One call, as /openapi.json describes it."""

    name: str
    method: str
    path: str
    security: list[dict[str, list[Scope]]]

    @property
    def scope(self) -> Scope | None:
        return next((needed["key"][0] for needed in self.security if "key" in needed), None)

    async def call(self, client: Client, ids: dict[str, str]) -> Answered:
        body = BODIES[self.name](ids) if self.name in BODIES else None
        return await client(self.method, self.path.format(**ids), body)


@pytest.fixture
async def operations(anyone: Client) -> list[Operation]:
    """All that needs a key or a token."""
    paths = (await anyone("GET", "/openapi.json")).json["paths"]
    found = [
        Operation(one["operationId"], method.upper(), path, one["security"])
        for path, methods in paths.items()
        for method, one in methods.items()
    ]
    return [one for one in found if one.security]


@pytest.fixture
async def ids(database: Database, call: Client) -> dict[str, str]:
    """A function, an event, a run and a signal of the workspace `default`."""
    await call("POST", "/v1/functions", BODIES["register_function"]({"function_id": "function-ours"}))
    await call("POST", "/v1/events", {"name": "e", "data": {"secret": "ours"}, "id": "event-ours"})
    await call("POST", "/v1/signals/signal-ours/complete", "ours")
    run_id = (await call("GET", "/v1/events/event-ours")).json["runs"][0]["id"]
    return {"run_id": run_id, "function_id": "function-ours", "event_id": "event-ours", "signal_id": "signal-ours"}


@pytest.fixture
def client(session: aiohttp.ClientSession, url: str, database: Database) -> Callable[..., Any]:
    async def made(workspace: str = "default", **options: Any) -> Client:
        return Client(session, url, (await Keys(database).create(workspace=workspace, **options)).key)

    return made


@pytest.fixture
async def nothing_of_ours_changes(database: Database, ids: dict[str, str]) -> AsyncIterator[None]:
    before = await ours(database)
    yield
    assert await ours(database) == before


async def ours(database: Database) -> dict[str, list[Any]]:
    """What the workspace `default` has."""
    tables = ("functions", "triggers", "events", "runs", "signals", "leases")
    async with database.connection() as connection:
        return {
            table: [dict(row) for row in await connection.raw.fetch(f"SELECT * FROM {table} WHERE workspace_id = 1")]
            for table in tables
        }


def told(answered: Answered, ids: dict[str, str]) -> tuple[int, dict[str, str], str]:
    """All of an answer but the ids that were asked for and the moment."""
    text = answered.text.decode()
    for name, value in ids.items():
        text = text.replace(value, name)
    text = re.sub(r"(rl|login)_[\w-][^\"]*", "LINK", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}", "OWN", text)  # what the asker itself has made
    text = re.sub(r"\d{4}-\d\d-\d\dT[^\"]*Z", "TIME", text)
    return answered.status, {key: value for key, value in answered.headers.items() if key not in OF_THE_MOMENT}, text


async def test_the_walk_covers_every_call(operations: list[Operation]) -> None:
    assert len(operations) >= 16
    assert {one.scope for one in operations} == {*SCOPES, None}
    posting = {one.name for one in operations if one.method == "POST"}
    assert posting - BODIES.keys() == {"pause_function", "resume_function", "cancel_run", "replay_run"}


@pytest.mark.usefixtures("nothing_of_ours_changes")
async def test_without_a_key_that_holds_every_answer_is_the_same(
    operations: list[Operation], ids: dict[str, str], anyone: Client, database: Database
) -> None:
    revoked, expired = [await Keys(database).create(expires_in=timedelta(hours=1)) for _ in range(2)]
    await Keys(database).revoke(revoked.id)
    async with database.connection() as connection:
        await connection.raw.execute("UPDATE api_keys SET expires_at = rotor_now() WHERE id = $1", expired.id)
    unknown = f"rk_00000000_{'x' * 43}"
    clients = [Client(anyone.session, anyone.url, key) for key in (revoked.key, expired.key, unknown)]
    for one in operations:
        answers = [await one.call(client, asked) for client in clients for asked in (ids, MISSING)]
        assert [answer.status for answer in answers] == [401] * 6, one.name
        assert len({repr(told(answer, {})) for answer in answers}) == 1, one.name
        nobody = [await one.call(anyone, asked) for asked in (ids, MISSING)]
        assert [answer.status for answer in nobody] == [401] * 2, one.name
        assert told(nobody[0], {}) == told(nobody[1], {})


@pytest.mark.usefixtures("nothing_of_ours_changes")
@pytest.mark.parametrize("scope", [scope for scope in SCOPES if scope != "admin"])
async def test_a_key_without_the_scope_is_told_which_and_nothing_else(
    operations: list[Operation], ids: dict[str, str], client: Callable[..., Any], scope: Scope
) -> None:
    limited = await client(scopes=[scope])
    for one in operations:
        if one.scope in (scope, None):
            continue
        there, missing = [await one.call(limited, asked) for asked in (ids, MISSING)]
        assert there.status == 403, one.name
        assert f"the scope `{one.scope}`" in there.json["detail"]
        assert told(there, {}) == told(missing, {}), one.name


async def test_a_key_with_the_scope_alone_is_let_in(
    operations: list[Operation], ids: dict[str, str], client: Callable[..., Any]
) -> None:
    for one in operations:
        if one.scope is not None:
            answered = await one.call(await client(scopes=[one.scope]), MISSING)
            # Cancelling is sent as an event, but steers.
            assert (answered.status == 403) == (one.name == "send_events"), one.name
    sender = await client(scopes=["send"])
    assert (await sender("POST", "/v1/events", {"name": "e", "data": 1})).status == 202


@pytest.mark.usefixtures("nothing_of_ours_changes")
async def test_a_key_to_cancel_by_event_needs_both_scopes(ids: dict[str, str], client: Callable[..., Any]) -> None:
    event = {"name": "rotor/cancel.run", "data": {"runId": ids["run_id"]}}
    for scopes in (["send"], ["operate"], ["send", "read"]):
        assert (await (await client(scopes=scopes))("POST", "/v1/events", event)).status == 403
    both = await client(scopes=["send", "operate"])
    assert (await both("POST", "/v1/events", {**event, "data": {"runId": str(uuid4())}})).status == 404


@pytest.mark.usefixtures("nothing_of_ours_changes")
async def test_another_workspaces_key_cannot_tell_what_is_ours_from_what_is_not_there(
    operations: list[Operation], ids: dict[str, str], client: Callable[..., Any]
) -> None:
    asks, asks_in_vain = await client("stranger"), await client("another stranger")
    missing = {**MISSING, "function_id": "function-free", "event_id": "event-free", "signal_id": "signal-free"}
    # Registering comes last: what a stranger has registered is there, for the stranger.
    for one in sorted(operations, key=lambda one: one.name.startswith("register")):
        there, gone = await one.call(asks, ids), await one.call(asks_in_vain, missing)
        assert told(there, ids) == told(gone, missing), one.name
        assert "ours" not in told(there, ids)[2], one.name
        if one.security == [{"token": []}]:
            assert there.status == 401
        elif "{" in one.path and "signal" not in one.name:
            assert there.status == 404, one.name


async def test_a_worker_connects_with_the_scope_operate(
    session: aiohttp.ClientSession, client: Callable[..., Any]
) -> None:
    async def connects(scope: Scope) -> int:
        worker = await client(scopes=[scope])
        try:
            async with session.ws_connect(f"{worker.url}/v1/connect", headers=worker.headers):
                return 101
        except aiohttp.WSServerHandshakeError as refused:
            return refused.status

    assert {scope: await connects(scope) for scope in SCOPES} == {
        "send": 403,
        "read": 403,
        "operate": 101,
        "admin": 101,
    }


async def end_keys(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Revoke every key, in another process, and let what this one remembers grow old."""
    for key in await Keys(database).list():
        await Keys(database).revoke(key.id)
    monkeypatch.setattr("rotor.store.recent.monotonic", lambda: float("inf"))


async def test_a_worker_whose_key_is_revoked_is_cut_off(
    session: aiohttp.ClientSession, store: Store, client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back = asyncio.Event()

    async def hold(websocket: WebSocket, workspace_id: int) -> None:
        await websocket.accept()
        try:
            await websocket.receive()
        finally:
            given_back.set()

    monkeypatch.setattr("rotor.api.connect.KEY_CHECKED_EVERY_SECONDS", 0.01)
    worker = await client(scopes=["operate"])
    async with serving(create_app(store, settings=ApiSettings(), connect=hold), store) as url:
        async with session.ws_connect(f"{url}/v1/connect", headers=worker.headers) as socket:
            await end_keys(store.database, monkeypatch)
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 4401
        await given_back.wait()


async def test_a_worker_that_is_gone_when_its_key_is_revoked_is_no_error(
    session: aiohttp.ClientSession,
    store: Store,
    client: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = asyncio.Event()

    async def hold(websocket: WebSocket, workspace_id: int) -> None:
        await websocket.accept()
        await websocket._receive()  # past Starlette, as frames are taken
        gone.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("rotor.api.connect.KEY_CHECKED_EVERY_SECONDS", 0.01)
    worker = await client(scopes=["operate"])
    async with serving(create_app(store, settings=ApiSettings(), connect=hold), store) as url:
        monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)
        async with session.ws_connect(f"{url}/v1/connect", headers=worker.headers):
            pass
        await gone.wait()
        await end_keys(store.database, monkeypatch)
    assert caplog.records == []


async def test_a_stream_ends_with_its_key(
    database: Database, call: Client, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{call.url}/v1/runs/{ids['run_id']}/stream"
    async with call.session.get(path, headers=call.headers) as stream:
        assert (await stream.content.readline()).startswith(b"retry")
        await end_keys(database, monkeypatch)
        await stream.content.read()
    async with call.session.get(path, headers=call.headers) as stream:
        assert stream.status == 401
