"""The page behind a link: opening it decides nothing, a button decides once, and no other page can press it."""

from __future__ import annotations

import json

import pytest

from rotor.sdk.client import Rotor
from rotor.server.server import Server
from tests.dashboard.conftest import Browser


@pytest.fixture
async def path(server: Server, key: str) -> str:
    """Where the link to the signal `gate` leads."""
    async with Rotor(key, server.config.url) as rotor:
        link = await rotor.signal_link("gate <b>", expires_in="1h")
    assert link.url.startswith(f"{server.config.url}/links/rl_")
    return link.url.removeprefix(server.config.url)


async def data(server: Server) -> list[object]:
    """With what signals were completed."""
    async with server.store.database.connection() as connection:
        return [json.loads(row["data"]) for row in await connection.raw.fetch("SELECT data FROM signals")]


async def test_opening_a_link_decides_nothing(server: Server, stranger: Browser, path: str) -> None:
    for _ in range(3):
        page = await stranger.get(path)
        assert page.status == 200
        assert "gate &lt;b&gt;" in page.text
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"
    assert await data(server) == []


@pytest.mark.parametrize(("decision", "approved"), [("approve", True), ("reject", False)])
async def test_a_button_decides_once(
    server: Server, stranger: Browser, path: str, decision: str, approved: bool
) -> None:
    pressed = await stranger.post(path, {"decision": decision, "by": " Ada "}, origin=None)
    assert (pressed.status, "Thank you" in pressed.text) == (200, True)
    assert await data(server) == [{"approved": approved, "by": "Ada"}]

    assert (await stranger.get(path)).status == 410
    again = await stranger.post(path, {"decision": "approve", "by": "Eve"})
    assert (again.status, "decided already" in again.text) == (410, True)
    assert await data(server) == [{"approved": approved, "by": "Ada"}]


@pytest.mark.parametrize(
    "form", [{}, {"decision": "maybe"}, {"decision": "approve", "by": "x" * 101}, {"decision": "x" * 10_000}]
)
async def test_a_form_that_says_nothing_usable_leaves_the_link_as_it_was(
    server: Server, stranger: Browser, path: str, form: dict[str, str]
) -> None:
    assert (await stranger.post(path, form)).status == 422
    assert await data(server) == []
    assert (await stranger.get(path)).status == 200


async def test_a_link_that_is_none_says_nothing(server: Server, stranger: Browser, path: str) -> None:
    wrong = [path[:-1] + ("0" if path[-1] != "0" else "1"), "/links/rl_1_2_3_4", "/links/x", "/links/%00"]
    answers = [await stranger.get(one) for one in wrong]
    answers += [await stranger.post(one, {"decision": "approve"}) for one in wrong]
    assert {(answer.status, answer.text) for answer in answers} == {(404, answers[0].text)}
    assert await data(server) == []


async def test_in_development_a_foreign_page_cannot_press_the_button(dev_server: Server, developer: Browser) -> None:
    async with Rotor(base_url=dev_server.config.url) as rotor:
        path = (await rotor.signal_link("gate")).url.removeprefix(dev_server.config.url)
    assert (await developer.get(path, host="evil.example")).status == 403
    for origin in ("https://evil.example", "null"):
        assert (await developer.post(path, {"decision": "approve"}, origin=origin)).status == 403
    assert await data(dev_server) == []
    assert (await developer.post(path, {"decision": "approve"})).status == 200
