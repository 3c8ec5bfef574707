"""A whole server with its dashboard, and browsers' requests to it."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import async_playwright, expect
from yarl import URL

from rotor.server.server import Server, ServerConfig
from rotor.store.keys import Keys
from rotor.store.migrate import migrate
from tests.dev.processes import free_port

expect.set_options(timeout=60_000)

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Shown:
    """One whole answer."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def form_token(self) -> str:
        found = re.search(r'name="form_token" value="([0-9a-f]{64})"', self.text)
        assert found is not None
        return found[1]


class Browser:
    """Sends requests as a browser would that looks at one server: with its cookies and the page's Origin."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def get(self, path: str, **headers: str) -> Shown:
        return await self._request("GET", path, None, headers)

    async def post(self, path: str, fields: dict[str, str], *, origin: str | None = "", **headers: str) -> Shown:
        """`origin` None sends none, and the empty one is the server's own."""
        if origin is not None:
            headers["origin"] = origin or self.url
        headers["content-type"] = "application/x-www-form-urlencoded"
        return await self._request("POST", path, urlencode(fields), headers)

    async def log_in(self, key: str) -> Shown:
        return await self.post("/dashboard/login", {"key": key, "next": ""})

    async def _request(self, method: str, path: str, data: Any, headers: dict[str, str]) -> Shown:
        url = URL(self.url + path, encoded=True)
        async with self.session.request(method, url, data=data, headers=headers, allow_redirects=False) as answer:
            found = {name.lower(): value for name, value in answer.headers.items()}
            return Shown(answer.status, found, await answer.text())


@asynccontextmanager
async def serving(dsn: str, schema: str, *, dev: bool) -> AsyncIterator[Server]:
    await migrate(dsn, schema=schema)
    server = Server(ServerConfig(database_url=dsn, schema=schema, port=free_port(), dev=dev))
    await server.start()
    yield server
    await server.stop()


@asynccontextmanager
async def browsing(url: str) -> AsyncIterator[Browser]:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield Browser(url, session)


@pytest.fixture
async def server(dsn: str, clean_schema: str) -> AsyncIterator[Server]:
    """In production: every visitor logs in."""
    async with serving(dsn, clean_schema, dev=False) as server:
        yield server


@pytest.fixture
async def dev_server(dsn: str, clean_schema: str) -> AsyncIterator[Server]:
    """As under `rotor dev`."""
    async with serving(dsn, clean_schema, dev=True) as server:
        yield server


@pytest.fixture
async def key(server: Server) -> str:
    return (await Keys(server.store.database).create(name="tests")).key


@pytest.fixture
async def stranger(server: Server) -> AsyncIterator[Browser]:
    """A browser in which nobody has logged in."""
    async with browsing(server.config.url) as browser:
        yield browser


@pytest.fixture
async def visitor(server: Server, key: str) -> AsyncIterator[Browser]:
    """A browser that is logged in to the workspace `default`."""
    async with browsing(server.config.url) as browser:
        assert (await browser.log_in(key)).status == 303
        yield browser


@pytest.fixture
async def neighbour(server: Server) -> AsyncIterator[Browser]:
    """A browser that is logged in to another workspace."""
    other = (await Keys(server.store.database).create(workspace="other")).key
    async with browsing(server.config.url) as browser:
        assert (await browser.log_in(other)).status == 303
        yield browser


@pytest.fixture
async def developer(dev_server: Server) -> AsyncIterator[Browser]:
    """A browser on the developer's own machine."""
    async with browsing(dev_server.config.url) as browser:
        yield browser


def chromium_path() -> str:
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail("this test needs Chromium: `apt-get install chromium` (task.py test does so where it may)")
    return found


@pytest.fixture
async def chromium() -> AsyncIterator[Chromium]:
    """The system's own browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        yield browser
        await browser.close()
