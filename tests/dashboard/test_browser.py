"""The dashboard in a real browser: the system's Chromium, which Playwright drives; nothing is fetched from anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, expect

from rotor import Context, Rotor, create_function
from rotor.protocol.messages import FunctionSpec, Trigger
from rotor.sdk.worker import connect
from rotor.server.server import Server
from rotor.store import functions

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
SCHEMES = ("light", "dark")


@dataclass
class Stage:
    """A page of the browser, a client, and the gate at which the function's first step stands."""

    page: Page
    rotor: Rotor
    url: str
    gate: asyncio.Event
    problems: list[str]


@pytest.fixture
async def stage(dev_server: Server, chromium: Chromium) -> AsyncIterator[Stage]:
    gate = asyncio.Event()

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

    @create_function(id="campaign", trigger={"event": "campaign.requested"})
    async def campaign(ctx: Context) -> Any:
        await ctx.step.run("first", work, "first")
        await asyncio.gather(*(ctx.step.run(f"branch-{name}", work, name) for name in ("left", "right")))
        await ctx.step.wait_for_signal("approval", signal=f"approve-{ctx.run_id}", timeout="1d")
        await ctx.step.sleep("rest", "1d")

    # An event that comes before the worker has connected starts its run all the same.
    spec = FunctionSpec(id="campaign", triggers=[Trigger(event="campaign.requested")], retries=3)
    await functions.register(dev_server.store.database, 1, [spec])
    url = dev_server.config.url
    worker = connect([campaign], url=url, api_key="none")
    running = asyncio.create_task(worker.run())
    page = await chromium.new_page()
    page.set_default_timeout(10_000)
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


async def start(stage: Stage) -> str:
    event_id = await stage.rotor.send("campaign.requested", {"html": HOSTILE})
    (run,) = (await stage.rotor.events.get(event_id)).runs
    return run.id


async def test_the_graph_changes_while_the_run_runs_and_its_buttons_work(stage: Stage) -> None:
    page = stage.page
    await page.goto(f"{stage.url}/dashboard")
    run_id = await start(stage)
    row = page.locator(f"#run-{run_id}")
    await expect(row).to_be_visible()
    await row.get_by_role("link").click()
    await page.evaluate("window.loadedOnce = true")
    graph = page.locator("#graph")
    await expect(graph.locator("[id='s-0-first']")).to_have_class("node is-running")

    stage.gate.set()
    await expect(graph.locator("[id='s-0-first']")).to_have_class("node is-completed")
    await expect(graph.locator("[id='s-0-branch-left']")).to_have_class("node is-completed")
    await expect(graph.locator("[id='s-0-approval']")).to_have_class("node is-waiting")
    await expect(page.locator("#head")).to_contain_text(f"waits for signal approve-{run_id}")
    left = await graph.locator("[id='s-0-branch-left']").bounding_box()
    right = await graph.locator("[id='s-0-branch-right']").bounding_box()
    assert left is not None
    assert right is not None
    assert left["y"] == right["y"]

    await graph.get_by_role("link", name="first:").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#panel .payload")).to_contain_text("<img src=x")
    await page.keyboard.press("Escape")
    await expect(page.locator("#panel")).to_contain_text("Choose a step")
    assert await page.evaluate("window.loadedOnce") is True

    await page.get_by_role("button", name="Complete").click()
    await expect(graph.locator("[id='s-0-rest']")).to_have_class("node is-waiting")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("status")).to_have_text("cancelled")
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    assert (await stage.rotor.runs.get(run_id)).status == "cancelled"
    assert "taken" not in await page.title()
    assert stage.problems == []


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_every_page_fits_a_phone_and_its_text_is_readable(stage: Stage, scheme: Any) -> None:
    run_id = await start(stage)
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
