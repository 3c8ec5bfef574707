"""The API behind a real HTTP server on a free port of this machine, and clients that speak for a workspace."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.websockets import WebSocket
from yarl import URL

from rotor.api.app import create_app
from rotor.api.settings import ApiSettings
from rotor.store.database import Database
from rotor.store.keys import Keys
from rotor.store.store import Store


@dataclass
class Answered:
    """One whole answer."""

    status: int
    headers: dict[str, str]
    text: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def fields(self) -> list[str]:
        """The fields that a problem names."""
        assert self.headers["content-type"] == "application/problem+json"
        return [error["field"] for error in self.json["errors"]]


class Client:
    """Sends requests to one server, with a workspace's key or none."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str | None) -> None:
        self.session = session
        self.url = url
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answered:
        data = json.dumps(body).encode() if body is not None else raw
        url = URL(self.url + path, encoded=True)
        async with self.session.request(method, url, data=data, headers={**self.headers, **(headers or {})}) as answer:
            found = {name.lower(): value for name, value in answer.headers.items()}
            return Answered(answer.status, found, await answer.read())


async def echo(websocket: WebSocket, workspace_id: int) -> None:
    """Stands in for the server's end of a worker's connection."""
    await websocket.accept()
    await websocket.send_text(str(workspace_id))
    await websocket.close()


@asynccontextmanager
async def serving(app: Starlette, store: Store) -> AsyncIterator[str]:
    """The URL at which `app`, which is on `store`, is served."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", access_log=False))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.005)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    store.followers.end()
    server.should_exit = True
    await task


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    store = Store.on(database)
    store.start()
    yield store
    await store.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


@pytest.fixture
async def app(store: Store) -> Starlette:
    return create_app(store, settings=ApiSettings(), connect=echo)


@pytest.fixture
async def url(app: Starlette, store: Store) -> AsyncIterator[str]:
    async with serving(app, store) as url:
        yield url


@pytest.fixture
async def key(database: Database) -> str:
    return (await Keys(database).create(name="tests")).key


@pytest.fixture
def call(session: aiohttp.ClientSession, url: str, key: str) -> Client:
    """A client of the workspace `default`."""
    return Client(session, url, key)


@pytest.fixture
async def other(session: aiohttp.ClientSession, url: str, database: Database) -> Client:
    """A client of another workspace."""
    return Client(session, url, (await Keys(database).create(workspace="other")).key)


@pytest.fixture
def anyone(session: aiohttp.ClientSession, url: str) -> Client:
    """A client without a key."""
    return Client(session, url, None)
