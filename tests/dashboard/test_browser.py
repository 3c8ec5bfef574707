"""The dashboard in a real browser: the system's Chromium, which Playwright drives; nothing is fetched from anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Locator, Page, expect

from rotor import Context, Function, Rotor, create_function
from rotor.protocol.messages import LogLine
from rotor.sdk.worker import connect
from rotor.server.server import Server
from rotor.store import functions, run_logs
from tests.store.tables import change

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
SCHEMES = ("light", "dark")


@dataclass
class Stage:
    """A page of the browser, a client, and the gate at which the first steps of functions stand."""

    page: Page
    rotor: Rotor
    url: str
    gate: asyncio.Event
    problems: list[str]
    """What a page complained of, and what it asked another host for."""

    async def start(self, event: str, **data: Any) -> str:
        """Start a run; its id."""
        event_id = await self.rotor.send(event, {"html": HOSTILE, **data})
        (run,) = (await self.rotor.events.get(event_id)).runs
        return run.id

    async def show(self, run_id: str, query: str = "") -> None:
        await self.page.goto(f"{self.url}/dashboard/runs/{run_id}{query}")

    def node(self, key: str) -> Locator:
        return self.page.locator(f"[id='{key}']")


def stage_functions(gate: asyncio.Event) -> list[Function[Any, Any]]:
    both = asyncio.Event()
    begun: list[str] = []

    async def work(name: str) -> dict[str, str]:
        begun.append(name)
        if name == "first":
            await gate.wait()
        elif {"left", "right"} <= set(begun):
            both.set()
        else:
            await both.wait()
        return {"name": name, "hostile": HOSTILE}

    async def breaks() -> None:
        raise ValueError(HOSTILE)

    @create_function(id="campaign", trigger={"event": "campaign.requested"})
    async def campaign(ctx: Context) -> Any:
        ctx.logger.info("begins with %s", HOSTILE)
        await ctx.step.run("first", work, "first")
        await asyncio.gather(*(ctx.step.run(f"branch-{name}", work, name) for name in ("left", "right")))
        ctx.logger.warning("goes on")
        await ctx.step.wait_for_signal("approval", signal=f"approve-{ctx.run_id}", timeout="1d")
        await ctx.step.sleep("rest", "1d")

    @create_function(id="parent", trigger={"event": "parent.requested"})
    async def parent(ctx: Context) -> Any:
        await ctx.step.invoke("sub", workflow="child", data={}, timeout="1d")
        await ctx.step.sleep("rest", "1d")
        await asyncio.gather(*(ctx.step.run(f"page-{number}", int, number) for number in range(500)))
        return HOSTILE

    @create_function(id="child", trigger={"event": "child.requested"})
    async def child(ctx: Context) -> Any:
        await ctx.step.run("within", gate.wait)

    @create_function(id=HOSTILE, trigger={"event": "hostile.requested"}, retries=0)
    async def hostile(ctx: Context) -> Any:
        ctx.logger.error(HOSTILE)
        await ctx.step.run(HOSTILE, lambda: HOSTILE)
        await ctx.step.run("breaks", breaks, retries=0)

    return [campaign, parent, child, hostile]


@pytest.fixture
async def stage(dev_server: Server, chromium: Chromium) -> AsyncIterator[Stage]:
    gate = asyncio.Event()
    found = stage_functions(gate)
    # An event that comes before the worker has connected starts its run all the same.
    await functions.register(dev_server.store.database, 1, [function.spec for function in found])
    url = dev_server.config.url
    worker = connect(found, url=url, api_key="none")
    running = asyncio.create_task(worker.run())
    page = await chromium.new_page()
    page.set_default_timeout(60_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if request.url.startswith(url) else problems.append(request.url))
    async with Rotor("none", url) as rotor:
        yield Stage(page, rotor, url, gate, problems)
    gate.set()
    await page.close()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_the_graph_changes_while_the_run_runs_and_its_actions_work(stage: Stage) -> None:
    page = stage.page
    await page.goto(f"{stage.url}/dashboard")
    run_id = await stage.start("campaign.requested")
    row = page.locator(f"#run-{run_id}")
    await expect(row).to_be_visible()
    await row.get_by_role("link").click()
    await page.evaluate("window.loadedOnce = true")
    await expect(stage.node("s-0-first")).to_have_class("node is-running")
    await expect(page.locator("#log")).to_contain_text(f"begins with {HOSTILE}")

    stage.gate.set()
    await expect(stage.node("s-0-first")).to_have_class("node is-completed")
    await expect(stage.node("s-0-branch-left")).to_have_class("node is-completed")
    await expect(stage.node("s-0-approval")).to_have_class("node is-waiting")
    await expect(stage.node("s-0-approval")).to_contain_text("23 h 59 min left")
    await expect(page.locator("#head")).to_contain_text(
        f"waits for signal approve-{run_id}, and gives up in 23 h 59 min"
    )
    await expect(page.locator("#log .is-warning")).to_contain_text("goes on")
    left = await stage.node("s-0-branch-left").bounding_box()
    right = await stage.node("s-0-branch-right").bounding_box()
    assert left is not None
    assert right is not None
    assert left["y"] == right["y"]

    await page.get_by_role("link", name="first:").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#panel .payload")).to_contain_text("<img src=x")
    await page.keyboard.press("Escape")
    await expect(page.locator("#panel")).to_contain_text("Choose a step")

    await page.get_by_label("Data (JSON)").fill("[" * 200 + "]" * 200)
    await page.get_by_role("button", name="Complete").click()
    await expect(page.locator("#approvals").get_by_role("alert")).to_contain_text("is not JSON that can be kept")
    await page.get_by_label("Data (JSON)").fill('{"approved": "by me"}')
    await page.get_by_role("button", name="Complete").click()
    await expect(stage.node("s-0-rest")).to_have_class("node is-waiting")
    assert (await stage.rotor.runs.get(run_id)).steps[3].output == {"approved": "by me"}

    await page.locator("summary", has_text="Cancel").click()
    await page.get_by_role("button", name="Cancel the run").click()
    await expect(page.get_by_role("status")).to_have_text("cancelled")
    await expect(page.locator("#cancel")).to_have_count(0)
    assert (await stage.rotor.runs.get(run_id)).status == "cancelled"
    assert await page.evaluate("window.loadedOnce") is True

    await page.get_by_role("button", name="Replay").click()
    await expect(page.locator("#head")).to_contain_text("Replay of")
    assert run_id not in page.url
    assert "taken" not in await page.title()
    assert [problem for problem in stage.problems if "status of 422" not in problem] == []


async def test_a_child_and_a_fan_unfold_in_place_and_a_sleep_is_woken(stage: Stage) -> None:
    page = stage.page
    run_id = await stage.start("parent.requested")
    await stage.show(run_id)
    await page.evaluate("window.loadedOnce = true")
    await page.get_by_role("link", name="Unfold the child run of sub").click()
    child_id = next(step.child_run_id for step in (await stage.rotor.runs.get(run_id)).steps)
    within = stage.node(f"{child_id}-s-0-within")
    await expect(within).to_have_class("node is-running")
    await expect(page.locator("#timeline .deep-1")).to_contain_text("within")
    stage.gate.set()
    await expect(within).to_have_class("node is-completed")
    await within.get_by_role("link").click()
    await expect(page.locator("#panel")).to_contain_text(f"In run{child_id}")
    await page.get_by_role("link", name="Fold the child run of sub", exact=True).click()
    await expect(within).to_have_count(0)

    await expect(stage.node("s-0-rest")).to_have_class("node is-waiting")
    await page.locator("#head").get_by_role("button", name="Wake now").click()
    await expect(page.get_by_role("status")).to_have_text("completed")
    many = page.locator(".node.many")
    await expect(many).to_contain_text("page-# \u00d7500")
    assert await page.locator("svg.graph .node").count() == 3
    await page.get_by_role("link", name="Unfold the steps of page-#").click()
    await expect(many.locator(".cell")).to_have_count(500)
    await many.locator(".cell").nth(499).click()
    await expect(page.locator("#panel h2")).to_contain_text("page-")
    await page.go_back()
    await page.go_back()
    await expect(many.locator(".cell")).to_have_count(0)
    assert await page.evaluate("window.loadedOnce") is True
    assert stage.problems == []


async def test_the_graph_is_zoomed_and_walked_through_by_keys(stage: Stage) -> None:
    page = stage.page
    stage.gate.set()
    run_id = await stage.start("campaign.requested")
    await stage.show(run_id)
    await expect(stage.node("s-0-approval")).to_be_visible()
    width = "document.querySelector('svg.graph').getBoundingClientRect().width"
    await page.locator("[data-zoom=one]").click()
    before = await page.evaluate(width)
    await page.get_by_role("button", name="Zoom in").click()
    await page.keyboard.press("+")
    assert await page.evaluate(width) == pytest.approx(before * 1.25**2, abs=0.5)
    await expect(page.locator("#zoom")).to_have_text("156%")
    await page.keyboard.press("1")
    assert await page.evaluate(width) == before
    await page.set_viewport_size({"width": 1280, "height": 400})
    for key in ("0", "-", "-", "0"):
        await page.keyboard.press(key)
    inside = "(pane => pane.scrollHeight <= pane.clientHeight + 1)(document.getElementById('graph-scroll'))"
    assert await page.evaluate(inside) is True
    assert await page.evaluate(width) < before
    fitted = await page.evaluate(width)
    await page.keyboard.press("-")
    await page.keyboard.press("0")
    assert await page.evaluate(width) == fitted

    await page.get_by_role("link", name="first:").focus()
    for key, name in (("ArrowDown", "branch-"), ("ArrowDown", "approval"), ("ArrowUp", "branch-")):
        await page.keyboard.press(key)
        assert name in str(await page.evaluate("document.activeElement.getAttribute('aria-label')"))
    await page.keyboard.press("Enter")
    await expect(page.locator("#panel h2")).to_contain_text("branch-")
    assert stage.problems == []


async def until_logged(server: Server, run_id: str) -> None:
    """Return once the log of the run has a line: it is written by itself, and may be so after the run's end."""
    logged = server.store.changes.listen(UUID(run_id))
    async with asyncio.timeout(60):
        while not await run_logs.latest(server.store.database, 1, UUID(run_id), lines_max=1):
            await logged.wait()
            logged.clear()


async def test_nothing_hostile_is_ever_markup(stage: Stage, dev_server: Server) -> None:
    page = stage.page
    run_id = await stage.start("hostile.requested")
    await stage.rotor.runs.wait(run_id)
    await until_logged(dev_server, run_id)
    for query in ("", f"?{urlencode({'step': HOSTILE, 'index': 0})}", "?step=breaks&index=0"):
        await stage.show(run_id, query)
        await expect(page.get_by_role("status")).to_have_text("failed")
        await expect(page.locator("#log .said")).to_have_text(HOSTILE)
        assert await page.locator("main img, main script").count() == 0
        assert await page.title() == f"{HOSTILE} · Rotor"
    await expect(page.locator("#panel .error-line")).to_have_text(f"ValueError: {HOSTILE}")
    await expect(page.locator(".failure")).to_contain_text("Traceback")
    assert stage.problems == []
    await page.goto(f"{stage.url}/dashboard/runs/{run_id}/payload?{urlencode({'step': HOSTILE, 'index': 0})}")
    assert await page.evaluate("document.contentType") == "text/plain"


async def test_a_line_that_comes_after_the_end_of_its_run_is_shown(stage: Stage, dev_server: Server) -> None:
    run_id = await stage.start("hostile.requested")
    await stage.rotor.runs.wait(run_id)
    # However long the page takes to load, it is a moment after the end.
    await change(dev_server.store.database, "UPDATE runs SET ended_at = ended_at + interval '1 hour'")
    await stage.show(run_id)
    await expect(stage.page.get_by_role("status")).to_have_text("failed")
    dev_server.store.logs.put(1, LogLine(run_id=run_id, number=2, level="info", message="late"))
    await expect(stage.page.locator("#log")).to_contain_text("late")


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_every_page_fits_a_phone_and_its_text_is_readable(stage: Stage, scheme: Any) -> None:
    run_id = await stage.start("campaign.requested")
    stage.gate.set()
    page = stage.page
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size({"width": 360, "height": 740})
    for path in ("", f"/runs/{run_id}?step=first&index=0", "/functions"):
        await page.goto(f"{stage.url}/dashboard{path}")
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        assert await page.evaluate(CONTRASTS) == []
    assert stage.problems == []


CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => {
    const [r, g, b] = color.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.nodeValue.trim() || element.closest("svg") || !element.getClientRects().length) continue;
    const [one, other] = [light(rgba(getComputedStyle(element).color)), light(ground(element))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) faint.push(`${walker.currentNode.nodeValue.trim()}: ${ratio.toFixed(2)}`);
  }
  return faint;
}"""
"""The texts of a page whose contrast is below WCAG AA."""
