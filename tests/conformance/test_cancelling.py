"""A cancelled run records the step in flight, starts nothing more, and takes its waits and its children with it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from rotor.errors import ApiError
from tests.conformance.ledger import open_gate
from tests.conformance.service import Service


@pytest.mark.parametrize("by_event", [False, True], ids=["by the API", "by an event"])
async def test_the_step_in_flight_is_recorded_and_nothing_later_starts(
    service: Service, key: str, by_event: bool
) -> None:
    run_id = await service.start("steps.slow", key=key)
    await service.reaches(run_id, "slow", ["running"])
    if by_event:
        await service.rotor.send("rotor/cancel.run", {"runId": run_id})
    else:
        assert (await service.rotor.runs.cancel(run_id)).cancel_requested_at
    while not (await service.rotor.runs.get(run_id)).cancel_requested_at:  # noqa: ASYNC110 - the event has to be looked at
        await asyncio.sleep(0.01)
    open_gate(service.shape.ledger, key)
    run = await service.ended(run_id)
    assert (run.status, run.output, run.error) == ("cancelled", None, None)
    assert [(step.id, step.status, step.output) for step in run.steps] == [("slow", "completed", "ends")]
    assert service.notes(key) == ["begins", "ends"]


@pytest.mark.parametrize("by_event", [False, True], ids=["by the API", "by an event"])
async def test_a_waiting_run_ends_at_once(service: Service, key: str, by_event: bool) -> None:
    run_id = await service.start("signals.wait", signal=key)
    await service.reaches(run_id, "gate")
    if by_event:
        await service.rotor.send("rotor/cancel.run", {"runId": run_id})
    else:
        await service.rotor.runs.cancel(run_id)
    run = await service.ended(run_id)
    assert run.status == "cancelled"
    assert run.steps[-1].status == "cancelled"
    assert not (await service.rotor.complete_signal(key, "too late")).delivered


async def test_invoked_children_are_cancelled_down_to_the_last(service: Service, key: str) -> None:
    run_id = await service.start("children.family", key=key)
    middle = (await service.reaches(run_id, "middle")).child_run_id
    assert middle
    last = (await service.reaches(middle, "child")).child_run_id
    assert last
    await service.reaches(last, "long")
    await service.rotor.runs.cancel(run_id)
    runs = await asyncio.gather(*map(service.ended, (run_id, middle, last)))
    assert [run.status for run in runs] == ["cancelled"] * 3


async def test_an_unknown_run_is_a_clear_answer(service: Service) -> None:
    with pytest.raises(ApiError) as unknown:
        await service.rotor.runs.cancel(str(uuid4()))
    assert unknown.value.status == 404
    with pytest.raises(ApiError) as nonsense:
        await service.rotor.runs.cancel("run-abc-123")
    assert nonsense.value.status == 404


async def test_an_ended_run_is_a_clear_answer_and_stays_as_it_is(service: Service, key: str) -> None:
    run = await service.run("steps.bodies", key=key)
    with pytest.raises(ApiError) as by_call:
        await service.rotor.runs.cancel(run.id)
    with pytest.raises(ApiError) as by_event:
        await service.rotor.send("rotor/cancel.run", {"runId": run.id})
    assert (by_call.value.status, by_event.value.status) == (409, 409)
    assert await service.rotor.runs.get(run.id) == run


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"runId": "00000000-0000-4000-8000-000000000000"}, 404),
        ({"runId": "run-abc-123"}, 422),
        ({"runId": 7}, 422),
        ({"runId": None}, 422),
        ({}, 422),
        ("text", 422),
        (None, 422),
        ([], 422),
    ],
    ids=repr,
)
async def test_an_event_that_names_no_run_of_ours_is_refused(service: Service, data: object, status: int) -> None:
    before = await service.holdings()
    with pytest.raises(ApiError) as refused:
        await service.rotor.send("rotor/cancel.run", data)
    assert refused.value.status == status
    assert await service.holdings() == before


async def test_a_run_that_is_still_queued_never_begins(service: Service) -> None:
    await service.rotor.functions.pause("schedules.paused")
    try:
        run_id = await service.start("schedules.paused")
        await service.rotor.runs.cancel(run_id)
        run = await service.ended(run_id)
        assert (run.status, run.started_at, run.steps) == ("cancelled", None, [])
    finally:
        await service.rotor.functions.resume("schedules.paused")


async def test_a_run_between_two_tries_ends_at_once(service: Service, key: str) -> None:
    run_id = await service.start("faults.backoff", key=key, seconds=3_600)
    await service.reaches(run_id, "stumble", ["retrying"])
    await service.rotor.runs.cancel(run_id)
    run = await service.ended(run_id)
    assert run.status == "cancelled"
    assert service.notes(key) == ["try"]
