"""A key speaks for its workspace alone; a server without keys hears its own machine alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from rotor import limits
from rotor.api.app import create_app
from rotor.api.settings import ApiSettings
from rotor.store.database import Database
from rotor.store.keys import Keys
from rotor.store.store import Store
from tests.api.conftest import Client, echo, serving

GUARDED = [
    ("POST", "/v1/functions"),
    ("GET", "/v1/functions"),
    ("GET", "/v1/functions/f"),
    ("DELETE", "/v1/functions/f"),
    ("POST", "/v1/functions/f/pause"),
    ("POST", "/v1/functions/f/resume"),
    ("POST", "/v1/apps"),
    ("POST", "/v1/events"),
    ("GET", "/v1/events/e"),
    ("GET", "/v1/runs"),
    ("GET", "/v1/runs/0197c8ea-0000-7000-8000-000000000000"),
    ("GET", "/v1/runs/0197c8ea-0000-7000-8000-000000000000/stream"),
    ("POST", "/v1/runs/0197c8ea-0000-7000-8000-000000000000/cancel"),
    ("POST", "/v1/runs/0197c8ea-0000-7000-8000-000000000000/replay"),
    ("POST", "/v1/signals/s/complete"),
    ("POST", "/v1/checkpoints"),
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_without_a_key_nothing_is_said(anyone: Client, method: str, path: str) -> None:
    refused = await anyone(method, path)
    assert refused.status == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.json["errors"] == []


@pytest.mark.parametrize("path", ["/v1/checkpoints", "/v1/events"])
async def test_the_body_of_a_stranger_is_not_waited_for(anyone: Client, path: str) -> None:
    _, _, port = anyone.url.rpartition(":")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 16000000\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.close()


@pytest.mark.parametrize("key", ["rk_12345678_wrong", "nothing", "rt_1_2_3", "é"])
async def test_a_wrong_key_is_refused(anyone: Client, key: str) -> None:
    for scheme in ("Bearer", "Basic", ""):
        assert (await anyone("GET", "/v1/runs", headers={"Authorization": f"{scheme} {key}"})).status == 401


async def test_the_scheme_may_be_written_in_any_case(anyone: Client, key: str) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (await anyone("GET", "/v1/runs", headers={"Authorization": f"{scheme} {key}"})).status == 200


async def test_guessing_keys_does_not_shut_out_who_is_known(
    call: Client, anyone: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UNKNOWN_KEYS", 5)
    monkeypatch.setattr("rotor.store.recent.monotonic", lambda: 1_000.0)
    assert (await call("GET", "/v1/runs")).status == 200
    for _ in range(2):
        guesses = [{"Authorization": f"Bearer rk_12345678_{n}"} for n in range(8)]
        answered = [await anyone("GET", "/v1/runs", headers=guess) for guess in guesses]
        assert [answer.status for answer in answered] == [401] * 5 + [503] * 3
        assert answered[-1].headers["retry-after"] == "1"
    assert (await call("GET", "/v1/runs")).status == 200


async def test_a_key_revoked_elsewhere_is_refused_a_moment_later(
    call: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rotor.store.recent.monotonic", lambda: 1_000.0)
    assert (await call("GET", "/v1/runs")).status == 200
    (key,) = await Keys(database).list()
    await Keys(database).revoke(key.id)
    assert (await call("GET", "/v1/runs")).status == 200

    monkeypatch.setattr("rotor.store.recent.monotonic", lambda: float("inf"))

    assert (await call("GET", "/v1/runs")).status == 401


@pytest.fixture
async def open_url(store: Store) -> AsyncIterator[str]:
    """A server that needs no key."""
    async with serving(create_app(store, settings=ApiSettings(keys_required=False), connect=echo), store) as url:
        yield url


@pytest.fixture
def developer(session: aiohttp.ClientSession, open_url: str) -> Client:
    return Client(session, open_url, None)


async def test_on_a_developers_machine_no_key_is_needed(developer: Client) -> None:
    assert (await developer("POST", "/v1/events", {"name": "a", "data": 1, "id": "e"})).status == 202
    assert (await developer("GET", "/v1/events/e", headers={"Authorization": "Bearer from-production"})).status == 200


async def test_on_a_developers_machine_a_key_still_speaks_for_its_workspace(
    developer: Client, database: Database
) -> None:
    await developer("POST", "/v1/events", {"name": "a", "data": 1, "id": "e"})
    other = (await Keys(database).create(workspace="other")).key
    assert (await developer("GET", "/v1/events/e", headers={"Authorization": f"Bearer {other}"})).status == 404


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8484",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "evil.example/localhost",
        "0.0.0.0",
        "",
    ],
)
async def test_a_foreign_host_is_refused(developer: Client, host: str) -> None:
    for path in ("/v1/runs", "/healthz", "/openapi.json", "/nowhere"):
        refused = await developer("GET", path, headers={"Host": host})
        assert (refused.status, refused.json["type"]) == (403, "urn:rotor:problem:forbidden")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://evil.example", "null", "http://localhost:1", "file://", ""]
)
async def test_a_foreign_origin_is_refused_and_changes_nothing(
    developer: Client, database: Database, origin: str
) -> None:
    event = {"name": "a", "data": 1}
    assert (await developer("POST", "/v1/events", event, headers={"Origin": origin})).status == 403
    async with database.connection() as connection:
        assert await connection.raw.fetchval("SELECT count(*) FROM events") == 0


async def test_its_own_pages_may_call_it(developer: Client) -> None:
    port = developer.url.rpartition(":")[2]
    for host in ("localhost", "127.0.0.1"):
        own = {"Origin": f"http://{host}:{port}", "Host": f"localhost:{port}"}
        assert (await developer("GET", "/v1/runs", headers=own)).status == 200


async def test_a_server_that_needs_keys_answers_to_any_host(call: Client) -> None:
    named = {"Host": "rotor.example", "Origin": "https://app.example"}
    assert (await call("GET", "/v1/runs", headers=named)).status == 200


async def test_a_worker_connects_with_its_key(session: aiohttp.ClientSession, url: str, key: str) -> None:
    async with session.ws_connect(f"{url}/v1/connect", headers={"Authorization": f"Bearer {key}"}) as socket:
        assert await socket.receive_str() == "1"


async def test_a_worker_without_a_key_is_told_so(session: aiohttp.ClientSession, url: str) -> None:
    for headers in ({}, {"Authorization": "Bearer rk_no_no"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{url}/v1/connect", headers=headers)
        assert refused.value.status == 401


async def test_a_foreign_page_cannot_connect_as_a_worker(session: aiohttp.ClientSession, open_url: str) -> None:
    async with session.ws_connect(f"{open_url}/v1/connect") as socket:
        assert await socket.receive_str() == "1"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await session.ws_connect(f"{open_url}/v1/connect", headers={"Origin": "https://evil.example"})
    assert refused.value.status == 403
