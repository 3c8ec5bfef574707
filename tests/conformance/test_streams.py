"""The stream of a run tells every change in its order, goes on where a client left off, and ends with the run."""

from __future__ import annotations

import json
from typing import Any

from rotor.sdk.resources import Step
from tests.conformance.service import Reply, Service


def told(reply: Reply) -> list[tuple[int, str, dict[str, Any]]]:
    """The changes of a stream: the id to resume from, the kind, and the row."""
    found = []
    for block in reply.body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if "data" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def follow(service: Service, run_id: str, **headers: str) -> Reply:
    return await service.request("GET", f"/v1/runs/{run_id}/stream", **headers)


async def test_a_live_stream_tells_each_change_in_order_and_ends_with_the_run(service: Service, key: str) -> None:
    run_id = await service.start("steps.sleeps", key=key)
    reply = await follow(service, run_id)
    assert reply.headers["content-type"].startswith("text/event-stream")
    changes = told(reply)
    ids = [number for number, _, _ in changes]
    assert ids == sorted(ids)
    _, kind, last = changes[-1]
    assert (kind, last["id"], last["status"]) == ("run", run_id, "completed")
    statuses = {
        step: [row["status"] for _, kind, row in changes if kind == "step" and row["id"] == step]
        for step in ("text", "timedelta", "seconds", "soon", "long past")
    }
    assert all(each[-1] == "completed" for each in statuses.values())
    shown = await service.request("GET", f"/v1/runs/{run_id}")
    assert {**last, "steps": shown.json["steps"]} == shown.json


async def test_a_stream_tells_of_a_wait_before_it_tells_of_its_end(service: Service, key: str) -> None:
    run_id = await service.start("signals.wait", signal=key)
    statuses = []
    async for change in service.rotor.runs.stream(run_id):
        if isinstance(change, Step) and change.id == "gate":
            statuses.append(change.status)
            if change.status == "waiting":
                await service.rotor.complete_signal(key, {})
    assert statuses == ["waiting", "completed"]


async def test_a_stream_goes_on_after_the_last_event_that_the_client_has_seen(service: Service, key: str) -> None:
    run = await service.run("steps.one-id", key=key)
    whole = told(await follow(service, run.id))
    assert [row["id"] for _, kind, row in whole if kind == "step"] == ["same"] * 5
    for position, (number, _, _) in enumerate(whole[:-1]):
        rest = told(await follow(service, run.id, last_event_id=str(number)))
        missed = [row for _, _, row in whole[position + 1 :]]
        assert [row for _, _, row in rest][-len(missed) :] == missed
    assert (await follow(service, run.id, last_event_id=str(whole[-1][0]))).status == 204


async def test_an_unknown_run_or_a_foreign_position_is_refused(service: Service, key: str) -> None:
    assert (await follow(service, "00000000-0000-4000-8000-000000000000")).status == 404
    assert (await follow(service, "not-a-run")).status == 404
    run = await service.run("steps.bodies", key=key)
    for position in ("x", "-1", "1.5", "9" * 40, "٣".encode().decode("latin-1")):
        reply = await follow(service, run.id, last_event_id=position)
        assert reply.status == 422
        assert reply.fields == ["Last-Event-ID"]
