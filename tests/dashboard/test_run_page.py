"""What the page of a run tells without a script, what its forms do, and what they are refused."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest

from rotor.protocol.messages import LogLine
from rotor.server.server import Server
from rotor.store.run_logs import NewLine
from rotor.store.store import Store
from tests import messages
from tests.dashboard.conftest import Browser
from tests.store.actors import hold
from tests.store.tables import step_status

HOSTILE = "</div></script><script>alert(1)</script>"


async def sleeper(store: Store) -> str:
    """A run that sleeps, waits for the next try of a step and for a signal."""
    holder, run_id = await hold(store)
    await holder.say(
        messages.sleeps(run_id, "nap", seconds=3600),
        messages.failed(run_id, "call", retry_after_seconds=3600.0),
        messages.awaits_signal(run_id, "gate", "s-1"),
        messages.parked(run_id),
    )
    return run_id


async def until(store: Store, run_id: str, step_id: str, status: str) -> None:
    changed = store.changes.listen(UUID(run_id))
    async with asyncio.timeout(60):
        while await step_status(store.database, run_id, step_id) != status:
            await changed.wait()
            changed.clear()


# --- waking


async def test_a_sleep_is_woken_in_development(dev_server: Server, developer: Browser) -> None:
    run_id = await sleeper(dev_server.store)
    page = f"/dashboard/runs/{run_id}"
    shown = (await developer.get(page)).text
    assert ("Wake now" in shown, "Try now" in shown) == (True, True)
    woken = await developer.post(f"{page}/wake", {"step": "nap", "index": "0"})
    assert (woken.status, woken.headers["location"]) == (303, page)
    await until(dev_server.store, run_id, "nap", "completed")
    again = await developer.post(f"{page}/wake", {"step": "nap", "index": "0"})
    assert again.status == 409


async def test_what_waits_for_more_than_time_is_not_woken(dev_server: Server, developer: Browser) -> None:
    run_id = await sleeper(dev_server.store)
    page = f"/dashboard/runs/{run_id}/wake"
    assert (await developer.post(page, {"step": "gate", "index": "0"})).status == 409
    assert (await developer.post(page, {"step": "nap", "index": "1"})).status == 409
    assert (await developer.post(page, {"step": "nap", "index": "x"})).status == 404
    assert (await developer.post(page, {"step": "nap\0", "index": "0"})).status == 404
    assert (await developer.post(f"/dashboard/runs/{uuid4()}/wake", {"step": "nap", "index": "0"})).status == 404
    assert await step_status(dev_server.store.database, run_id, "gate") == "waiting"


async def test_nobody_wakes_a_sleep_in_production(server: Server, visitor: Browser) -> None:
    run_id = await sleeper(server.store)
    page = await visitor.get(f"/dashboard/runs/{run_id}")
    assert "Wake now" not in page.text
    fields = {"form_token": page.form_token, "step": "nap", "index": "0"}
    refused = await visitor.post(f"/dashboard/runs/{run_id}/wake", fields)
    assert refused.status == 403
    assert "rotor dev" in refused.text
    assert await step_status(server.store.database, run_id, "nap") == "waiting"


# --- what is shown


async def test_the_log_is_shown_with_what_it_lacks_as_text(dev_server: Server, developer: Browser) -> None:
    run_id = await sleeper(dev_server.store)
    said = LogLine(run_id=run_id, number=4, level="warning", message=HOSTILE, step_id="call")
    await dev_server.store.logs.commits.submit(NewLine(1, UUID(run_id), said))
    shown = (await developer.get(f"/dashboard/runs/{run_id}?step=call")).text
    assert "3 lines were lost here" in shown
    assert HOSTILE not in shown
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2  # in the log, and beside the step


async def test_a_payload_that_is_cut_is_there_in_full_as_plain_text(dev_server: Server, developer: Browser) -> None:
    holder, run_id = await hold(dev_server.store)
    long = HOSTILE * 10_000
    await holder.say(messages.done(run_id, "big", long), messages.completed(run_id, long + "end"))
    page = f"/dashboard/runs/{run_id}"
    shown = await developer.get(f"{page}?step=big")
    assert f'href="{page}/payload?step=big&amp;index=0"' in shown.text
    for query, end in (("step=big&index=0", HOSTILE), ("what=output", "end")):
        whole = await developer.get(f"{page}/payload?{query}")
        assert whole.text.endswith(end + '"')
        assert whole.headers["content-type"] == "text/plain; charset=utf-8"
        assert whole.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in whole.headers["content-security-policy"]
    assert (await developer.get(f"{page}/payload?what=event")).text == "null"
    assert (await developer.get(f"{page}/payload?step=other")).status == 404


async def test_an_unfolded_child_is_drawn_and_another_workspace_s_is_not(
    server: Server, visitor: Browser, neighbour: Browser
) -> None:
    holder, run_id = await hold(server.store)
    await hold(server.store, "g")
    await holder.say(messages.invokes(run_id, "sub", "g"), messages.parked(run_id))
    child = str((await holder.take("g")).run_id)
    await holder.say(messages.done(child, "within"))
    page = f"/dashboard/runs/{run_id}?open={child}"
    shown = (await visitor.get(page)).text
    assert f'id="{child}-s-0-within"' in shown
    assert f'id="{child}-s-0-within"' not in (await visitor.get(f"/dashboard/runs/{run_id}")).text
    beside = (await visitor.get(f"{page}&{urlencode({'step': 'within', 'of': child})}")).text
    assert "In run" in beside
    assert (await neighbour.get(page)).status == 404


@pytest.mark.parametrize(
    "query", ["step=a&index=x", "step=a&index=-1", "step=%00", "step=a&of=x", "step=a&index=99999999999"]
)
async def test_an_address_that_no_step_has_is_not_found(server: Server, visitor: Browser, query: str) -> None:
    _, run_id = await hold(server.store)
    assert (await visitor.get(f"/dashboard/runs/{run_id}?{query}")).status == 404
    assert (await visitor.get(f"/dashboard/runs/{run_id}?open=x&open=y/%00&open=")).status == 200
