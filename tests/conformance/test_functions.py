"""Functions are registered, paused and resumed; triggers and schedules start them; a run can be replayed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from rotor.errors import ApiError
from tests.conformance.functions import FUNCTIONS
from tests.conformance.service import Service


async def test_every_function_of_the_app_is_registered(service: Service) -> None:
    found = []
    cursor = None
    while True:
        page = await service.rotor.functions.list(limit=7, cursor=cursor)
        assert len(page.items) <= 7
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [one.id for one in found] == sorted(one.id for one in found)
    known = {one.id: one for one in found}
    for function in FUNCTIONS:
        one = known[function.id]
        assert one.retries == function.spec.retries
        assert one.serve_url == service.shape.serve_url
        shown = [(each.event, each.match, each.cron, each.timezone) for each in one.triggers]
        assert shown == [(each.event, each.match, each.cron, each.timezone) for each in function.spec.triggers]


async def test_a_trigger_with_a_condition_starts_only_where_it_holds(service: Service) -> None:
    for data, count in (
        ({"amount": 11.0, "kind": "order"}, 1),
        ({"amount": 11, "kind": "order"}, 1),
        ({"amount": 9.0, "kind": "order"}, 0),
        ({"amount": 11.0, "kind": "gift"}, 0),
        ({"amount": "11", "kind": "order"}, 0),
        ({}, 0),
        (None, 0),
    ):
        event_id = await service.rotor.send("schedules.first", data)
        assert len(await service.runs_of(event_id)) == count, data
    assert await service.output("schedules.second") == "schedules.second"


async def test_a_paused_function_begins_no_run_until_it_is_resumed(service: Service) -> None:
    assert (await service.rotor.functions.pause("schedules.paused")).paused_at
    try:
        first = await service.start("schedules.paused")
        other = await service.run("schedules.second")
        assert other.status == "completed"
        assert (await service.rotor.runs.get(first)).status == "queued"
    finally:
        resumed = await service.rotor.functions.resume("schedules.paused")
    assert resumed.paused_at is None
    assert (await service.ended(first)).output == "it ran"


async def test_a_schedule_starts_its_function_when_it_is_due_and_plans_the_next(service: Service) -> None:
    (planned,) = (await service.rotor.functions.get("schedules.yearly")).triggers
    assert planned.next_at
    await service.sql("UPDATE triggers SET next_at = rotor_now() - interval '1 second' WHERE cron IS NOT NULL")
    runs = await service.rotor.runs.list(function_id="schedules.yearly")
    for _ in range(1_000):
        if runs.items:
            break
        await asyncio.sleep(0.05)
        runs = await service.rotor.runs.list(function_id="schedules.yearly")
    (run,) = runs.items
    run = await service.ended(run.id)
    assert run.output["name"] == "rotor/cron"
    assert run.output["data"]["cron"] == "0 9 1 1 *"
    assert run.output["data"]["timezone"] == "Europe/Paris"
    (after,) = (await service.rotor.functions.get("schedules.yearly")).triggers
    assert after.next_at == planned.next_at
    assert (after.next_at.month, after.next_at.day, after.next_at.hour) == (1, 1, 8)


async def test_a_replay_is_a_new_run_with_the_same_event(service: Service, key: str) -> None:
    first = await service.run("steps.bodies", key=key)
    again = await service.ended(await service.rotor.runs.replay(first.id))
    assert again.id != first.id
    assert (again.replay_of, again.event, again.status) == (first.id, first.event, "completed")
    assert service.notes(key) == ["async body", "sync body"] * 2
    assert first.event
    assert {run.id for run in await service.runs_of(first.event.id)} == {first.id, again.id}


async def test_a_deleted_function_is_gone_and_its_open_runs_are_cancelled(service: Service, key: str) -> None:
    body = f'{{"id": "{key}", "serve_url": "http://127.0.0.1:9/x", "trigger_type": "event", "trigger_event": "{key}"}}'
    assert (await service.request("POST", "/v1/functions", body)).status == 201
    assert (await service.request("POST", "/v1/functions", body)).status == 200
    await service.rotor.functions.pause(key)
    run_id = await service.start(key)
    await service.rotor.functions.delete(key)
    assert (await service.ended(run_id)).status == "cancelled"
    with pytest.raises(ApiError) as gone:
        await service.rotor.functions.get(key)
    assert gone.value.status == 404
    assert await service.runs_of(await service.rotor.send(key)) == []


async def test_runs_are_listed_newest_first_in_pages_and_by_what_they_are(service: Service, key: str) -> None:
    events = await service.rotor.send_many([{"name": "steps.bodies", "data": {"key": key}}] * 5)
    runs = [(await service.runs_of(event))[0] for event in events]
    await asyncio.gather(*(service.ended(run.id) for run in runs))
    since = min(run.created_at for run in runs if run.created_at)
    filters = {"function_id": "steps.bodies", "status": "completed", "since": since}
    seen: list[str] = []
    cursor = None
    while True:
        page = await service.rotor.runs.list(**filters, limit=2, cursor=cursor)  # type: ignore[arg-type]
        seen += [run.id for run in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen))
    assert set(seen) >= {run.id for run in runs}
    assert seen == sorted(seen, reverse=True)
    (one,) = (await service.rotor.runs.list(event_id=events[0])).items
    assert one.id == runs[0].id
    assert (await service.rotor.runs.list(function_id="steps.bodies", until=since - timedelta(days=1))).items == []
    assert (await service.rotor.runs.list(event_id=events[0], status="failed")).items == []
