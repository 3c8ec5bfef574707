"""The lists in a real browser: they live, filter and act; every page is for the keyboard, phones and readers too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from rotor.protocol.json import Raw
from rotor.server.server import Server
from rotor.store import functions
from rotor.store.database import Database
from rotor.store.intake import NewEvent
from tests.dashboard import scenery
from tests.dashboard.scenery import EVENT, FUNCTION, HOSTILE, RUNS, SIGNAL

PAGES = (
    "",
    "?status=running&within=1h&event=" + quote(EVENT, safe=""),
    f"/runs/{RUNS['completed']}?step={quote(HOSTILE + '1', safe='')}&index=0",
    f"/runs/{RUNS['failed']}",
    f"/runs/{RUNS['waiting']}",
    "/overview",
    "/functions",
    "/functions/" + quote(FUNCTION, safe=""),
    "/events",
    "/events/" + quote(EVENT, safe=""),
    "/waiting",
    "/workers",
    "/events/none",
)


@dataclass
class Stage:
    """A page of the browser at a server whose workspace is hostile, and what went wrong in it."""

    page: Page
    server: Server
    problems: list[str]

    @property
    def database(self) -> Database:
        return self.server.store.database

    async def open(self, path: str) -> None:
        await self.page.goto(f"{self.server.config.url}/dashboard{path}")


@pytest.fixture
async def stage(dev_server: Server, chromium: Chromium) -> AsyncIterator[Stage]:
    """What goes wrong fails the test: errors, messages of the browser, requests to elsewhere, a payload's script."""
    await scenery.build(dev_server.store.database)
    page = await chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    problems: list[str] = []
    url = dev_server.config.url
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if request.url.startswith(url) else problems.append(request.url))
    yield Stage(page, dev_server, problems)
    assert await page.title() != "taken"
    await page.close()
    assert [problem for problem in problems if "404" not in problem] == []


async def test_a_list_lives_and_each_filter_finds_its_runs(stage: Stage) -> None:
    page = stage.page
    rows = page.locator("#runs tbody tr")
    await stage.open("")
    await page.evaluate("window.loadedOnce = true")
    await expect(rows).to_have_count(6)
    await stage.server.store.intake.accept(1, [NewEvent(HOSTILE, Raw(b'{"a": 1}'), "new")])
    await expect(rows).to_have_count(7)
    assert await page.evaluate("window.loadedOnce") is True

    for status in ("Failed", "Waiting", "Completed"):
        await page.get_by_role("navigation", name="Status").get_by_role("link", name=status).click()
        await expect(rows).to_have_count(1)
        await expect(rows.locator(".badge")).to_have_text(status.lower())
    await page.get_by_role("link", name="Clear").click()

    search = page.get_by_role("searchbox")
    await search.fill('{"a": 1}')
    await search.press("Enter")
    await expect(rows).to_have_count(1)
    await search.fill(RUNS["failed"])
    await search.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text(FUNCTION)
    await stage.open("")
    await search.fill("new")
    await search.press("Enter")
    await expect(rows).to_have_count(1)
    await page.get_by_role("link", name="Runs of any event").click()

    await page.get_by_label("Event name").fill(HOSTILE)
    await page.get_by_label("Event name").press("Enter")
    await expect(rows).to_have_count(7)
    await page.get_by_label("Function").fill("served")
    await page.get_by_label("Function").press("Enter")
    await expect(rows).to_have_count(0)
    await page.get_by_role("link", name="Clear").click()
    await page.get_by_label("Created").select_option("15m")
    await expect(page).to_have_url(f"{stage.server.config.url}/dashboard?within=15m")
    await expect(rows).to_have_count(7)
    await page.get_by_text("Between two times").click()
    await page.get_by_label("Until (UTC)").fill("2020-01-01T00:00")
    await page.get_by_role("button", name="Filter").click()
    await expect(rows).to_have_count(0)


async def test_each_action_does_what_it_says(stage: Stage) -> None:
    page, database = stage.page, stage.database
    await stage.open("/functions")
    await page.get_by_role("link", name=FUNCTION, exact=True).click()
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator(".is-paused")).to_be_visible()
    assert (await functions.get(database, 1, FUNCTION)).paused_at is not None
    await page.get_by_role("button", name="Resume").click()
    await expect(page.locator(".is-paused")).to_have_count(0)

    await page.get_by_label("Data (JSON)").fill('{"a": 1')
    await page.get_by_role("button", name="Send", exact=True).click()
    assert "JSON" in await page.get_by_label("Data (JSON)").evaluate("(field) => field.validationMessage")
    await page.get_by_label("Data (JSON)").fill('{"a": 1}')
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.locator("#runs tbody tr")).to_have_count(1)
    first = page.url
    await page.get_by_role("button", name="Send again").click()
    await expect(page).not_to_have_url(first)
    await expect(page.locator("#runs tbody tr")).to_have_count(1)

    await stage.open("/waiting")
    await expect(page.locator("#signals h3")).to_have_text(SIGNAL)
    await page.locator("#signals textarea").fill('{"approved": false}')
    await page.get_by_role("button", name="Complete").click()
    await expect(page.locator("#signals h3")).to_have_count(0)
    run = f"/runs/{RUNS['waiting']}?step={quote(HOSTILE + '3', safe='')}&index=0"
    await stage.open(run)
    await expect(page.locator("#panel .payload")).to_contain_text('"approved": false')


async def test_the_keyboard_goes_everywhere_and_a_chosen_theme_stays(stage: Stage) -> None:
    page = stage.page
    await stage.open("")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.keyboard.press("/")
    await page.keyboard.type("gt")
    await expect(page.get_by_role("searchbox")).to_have_value("gt")
    await page.keyboard.press("Tab")
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await expect(page.locator("#runs a.row").nth(1)).to_be_focused()

    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = await page.evaluate(ground)
    await page.keyboard.press("t")
    dark = await page.evaluate(ground)
    assert light != dark
    await page.keyboard.press("g")
    await page.keyboard.press("o")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    assert await page.evaluate(ground) == dark
    await page.get_by_role("button", name="Light or dark").click()
    assert await page.evaluate(ground) == light


async def test_no_page_is_wider_than_a_phone(stage: Stage) -> None:
    await stage.page.set_viewport_size({"width": 360, "height": 740})
    wide = []
    for path in PAGES:
        await stage.open(path)
        width = await stage.page.evaluate("document.documentElement.scrollWidth")
        if width > 360:
            wide.append(f"{path}: {width}")
    assert wide == []


async def test_axe_finds_no_page_that_shuts_anybody_out(stage: Stage) -> None:
    """In the dark the colours are all that differs."""
    found = []
    for path in PAGES:
        await stage.open(path)
        for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
            await stage.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            result = await Axe().run(stage.page, options={"resultTypes": ["violations"], **rules})
            found += [
                f"{path} ({scheme}): {one['id']}: {one['help']}: {node['html'][:200]}"
                for one in result.response["violations"]
                if one["impact"] in ("serious", "critical")
                for node in one["nodes"]
            ]
    assert found == [], "\n".join(found)
