"""A login link lets one person in, once, for as long and as far as it says."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlsplit

import aiohttp
import pytest

from rotor import limits
from rotor.server.server import Server
from rotor.store.keys import Keys
from rotor.store.problems import Invalid
from rotor.store.sessions import SESSION, Sessions
from tests.dashboard.conftest import Browser, Shown

MINUTES = timedelta(minutes=15)


async def use(stranger: Browser, token: str, *, origin: str | None = "") -> Shown:
    return await stranger.post("/dashboard/link", {"token": token}, origin=origin)


def session_of(browser: Browser) -> str:
    return next(cookie.value for cookie in browser.session.cookie_jar if cookie.key == "rotor_session")


@pytest.fixture
async def token(server: Server) -> str:
    return (await Keys(server.store.database).login_link(1, name="ada", expires_in=MINUTES)).token


async def test_a_link_lets_in_once(stranger: Browser, token: str) -> None:
    page = await stranger.get(f"/dashboard/link/{token}")
    assert f'value="{token}"' in page.text
    # Opening it does nothing: mail scanners do.
    assert (await stranger.get("/dashboard")).status == 303
    used = await use(stranger, token)
    assert (used.status, used.headers["location"]) == (303, "/dashboard")
    assert (await stranger.get("/dashboard")).status == 200
    again = await use(stranger, token)
    assert again.status == 403
    assert "used before" in again.text
    assert "set-cookie" not in again.headers


async def test_a_link_is_over_after_its_time_and_its_session_after_twelve_hours(
    server: Server, stranger: Browser, token: str
) -> None:
    other = (await Keys(server.store.database).login_link(1, expires_in=MINUTES)).token
    server.store.database.advance(MINUTES - timedelta(minutes=1))
    assert (await use(stranger, token)).status == 303
    server.store.database.advance(timedelta(minutes=2))
    assert (await use(stranger, other)).status == 403
    assert (await stranger.get("/dashboard")).status == 200
    server.store.database.advance(SESSION)
    assert (await stranger.get("/dashboard")).status == 303


async def test_what_is_no_link_of_ours_lets_nobody_in(stranger: Browser, token: str, key: str) -> None:
    for wrong in ("", "login_", f"{token}x", key, "login_\u00e9"):
        assert (await use(stranger, wrong)).status == 403
    for origin in ("https://evil.example", "null", None):
        assert (await use(stranger, token, origin=origin)).status == 403
    assert (await use(stranger, token)).status == 303


async def test_guessed_links_are_bounded_and_change_nothing(
    stranger: Browser, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UNKNOWN_KEYS", 2)
    monkeypatch.setattr("rotor.store.recent.monotonic", lambda: 100.0)
    answers = [await use(stranger, f"login_{number}") for number in range(3)]
    assert [answer.status for answer in answers] == [403, 403, 503]
    assert "UNKNOWN_KEYS" in answers[-1].text
    monkeypatch.undo()
    assert (await use(stranger, token)).status == 303


async def test_a_link_is_no_api_key(server: Server, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.config.url}/v1/runs", headers=headers) as answer,
    ):
        assert answer.status == 401


async def test_a_session_may_what_its_link_says_and_ends_with_its_revocation(server: Server, stranger: Browser) -> None:
    keys = Keys(server.store.database)
    link = await keys.login_link(1, name="ada", scopes=["read"], expires_in=MINUTES)
    assert (await use(stranger, link.token)).status == 303
    form_token = (await stranger.get("/dashboard")).form_token
    sent = await stranger.post("/dashboard/functions/send", {"form_token": form_token, "name": "e", "data": "{}"})
    assert sent.status == 403
    assert "scope send" in sent.text
    (listed,) = await keys.list()
    assert (listed.name, listed.scopes) == ("ada", ["read"])
    await keys.revoke(listed.id)
    fresh = await Sessions(server.store.database).find(session_of(stranger))
    assert fresh is None


async def test_sessions_of_links_are_forgotten_a_month_after_their_end(
    server: Server, stranger: Browser, token: str
) -> None:
    keys = Keys(server.store.database)
    assert (await use(stranger, token)).status == 303
    server.store.database.advance(timedelta(days=30))
    await keys.login_link(1, expires_in=MINUTES)
    assert len(await keys.list()) == 2
    server.store.database.advance(timedelta(days=1))
    await keys.login_link(1, name="new", expires_in=MINUTES)
    assert [key.name for key in await keys.list()] == ["new", "login link"]


async def test_a_link_without_the_scope_to_read_is_not_made(server: Server) -> None:
    with pytest.raises(Invalid, match="read"):
        await Keys(server.store.database).login_link(1, scopes=["send"], expires_in=MINUTES)


async def test_an_admin_makes_links_through_the_api_and_nobody_else_does(
    server: Server, stranger: Browser, key: str
) -> None:
    reader = (await Keys(server.store.database).create(scopes=["read", "send", "operate"])).key
    url = f"{server.config.url}/v1/login-links"
    async with aiohttp.ClientSession() as session:

        async def ask(key: str, **body: object) -> tuple[int, dict[str, object]]:
            headers = {"authorization": f"Bearer {key}"}
            async with session.post(url, json=body, headers=headers) as answer:
                return answer.status, await answer.json()

        assert (await ask(reader))[0] == 403
        for wrong in ({"scopes": ["root"]}, {"scopes": []}, {"expires_in": "soon"}, {"expires_in": 0}):
            status, problem = await ask(key, **wrong)
            assert status == 422, problem
        status, made = await ask(key, name="ada", scopes=["read"])
    assert status == 201
    path = urlsplit(str(made["url"])).path
    found = re.fullmatch(r"/dashboard/link/(login_[\w-]+)", path)
    assert found is not None
    assert (await stranger.get(path)).status == 200
    assert (await use(stranger, found[1])).status == 303


async def test_in_development_a_link_leads_to_the_dashboard(developer: Browser) -> None:
    answered = await developer.get("/dashboard/link/login_x")
    assert (answered.status, answered.headers["location"]) == (303, "/dashboard")
