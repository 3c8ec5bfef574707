"""Waits for events miss nothing and take nothing twice; events that are sent are sent once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conformance.service import WITHIN_SECONDS, Service


async def open_gate(service: Service, key: str) -> None:
    await service.rotor.complete_signal(f"gate-{key}", None)


async def ping(service: Service, key: str, n: int, **options: Any) -> str:
    return await service.rotor.send("ping", {"key": key, "n": n}, **options)


async def test_an_event_before_the_wait_is_not_missed(service: Service, key: str) -> None:
    run_id = await service.start("events.gated", key=key)
    await service.reaches(run_id, "gate")
    await ping(service, key, 1)
    await open_gate(service, key)
    assert (await service.ended(run_id)).output == [1]


async def test_an_event_after_the_wait_wakes_it(service: Service, key: str) -> None:
    run_id = await service.start("events.gated", key=key)
    await open_gate(service, key)
    await service.reaches(run_id, "next")
    event_id = await ping(service, key, 2)
    run = await service.ended(run_id)
    assert run.output == [2]
    assert run.steps[-1].waits_for == "event:ping"
    assert run.steps[-1].output["id"] == event_id


async def test_two_waits_take_two_events_in_their_order(service: Service, key: str) -> None:
    run_id = await service.start("events.gated", key=key, count=3)
    await service.reaches(run_id, "gate")
    await ping(service, key, 1)
    await ping(service, key, 2)
    await open_gate(service, key)
    await ping(service, key, 3)
    assert (await service.ended(run_id)).output == [1, 2, 3]


async def test_two_waits_at_once_take_two_events(service: Service, key: str) -> None:
    run_id = await service.start("events.two-at-once", key=key)
    await service.rotor.send_many([{"name": "ping", "data": {"key": key, "n": n}} for n in (1, 2)])
    assert (await service.ended(run_id)).output == [1, 2]


async def test_since_now_narrows_the_look_back(service: Service, key: str) -> None:
    run_id = await service.start("events.gated", key=key, since="now")
    await service.reaches(run_id, "gate")
    await ping(service, key, 1)
    await open_gate(service, key)
    await service.reaches(run_id, "next")
    await ping(service, key, 2)
    assert (await service.ended(run_id)).output == [2]


async def test_one_event_resumes_many_runs(service: Service, key: str) -> None:
    match = {"data.key": key}
    run_ids = [await service.start("events.matching", match=match) for _ in range(10)]
    event_id = await ping(service, key, 1)
    runs = await asyncio.gather(*map(service.ended, run_ids))
    assert [run.output["id"] for run in runs] == [event_id] * 10


async def test_no_event_within_the_timeout_is_none(service: Service, key: str) -> None:
    run = await service.run("events.timeout", key=key)
    assert run.output == "timed out"
    assert [(step.op, step.status) for step in run.steps] == [("wait_for_event", "timed_out")]


async def test_the_event_that_started_the_run_is_not_among_those_it_waits_for(service: Service, key: str) -> None:
    assert await service.output("events.own", key=key) is False


async def test_the_data_is_validated_into_its_class(service: Service, key: str) -> None:
    run_id = await service.start("events.typed", key=key)
    await ping(service, key, 4)
    assert (await service.ended(run_id)).output == ["Opened", 4, "unknown"]


MATCHES = {
    "a path": 'data.only == "KEY"',
    "several": 'data.key == "KEY" && data.n == 2 && name == "ping"',
    "a comparison": 'data.n > 1 && "KEY" == data.key',
    "a function": 'data.key.startsWith("KEY") && data.n in [2, 3]',
    "a mapping": {"data.key": "KEY", "data.n": 2},
    "a mapping of a whole number to a float": {"data.key": "KEY", "data.n": 2.0},
    "the id": 'id == "two-KEY"',
    "a choice": '(data.n == 2 || data.missing == 1) && data.key == "KEY"',
    "a nested path": {"data.key": "KEY", "data.deep.flag": True},
    "a quoted key": 'data["odd key"] == "yes" && data["key"] == "KEY"',
}


@pytest.mark.parametrize("match", MATCHES.values(), ids=MATCHES)
async def test_a_match_chooses_the_event(service: Service, key: str, match: Any) -> None:
    given = match.replace("KEY", key) if isinstance(match, str) else {**match, "data.key": key}
    run_id = await service.start("events.matching", match=given)
    await service.rotor.send("ping", {"key": key, "n": 1, "deep": {"flag": False}, "odd key": "no"}, id=f"one-{key}")
    await service.rotor.send("ping", {"n": 2, "deep": {"flag": True}, "odd key": "yes"})
    await service.rotor.send("ping", {"key": "x" + key, "n": 2, "deep": {"flag": True}, "odd key": "yes"})
    right = {"key": key, "only": key, "n": 2, "deep": {"flag": True}, "odd key": "yes"}
    await service.rotor.send("ping", right, id=f"two-{key}")
    run = await service.ended(run_id)
    assert run.output["id"] == f"two-{key}"
    assert run.output["name"] == "ping"


async def test_a_mapping_cannot_be_injected_into(service: Service, key: str) -> None:
    evil = f'{key}" || true || "'
    run_id = await service.start("events.matching", match={"data.key": evil})
    await ping(service, key, 1)
    await ping(service, evil, 2)
    assert (await service.ended(run_id)).output["data"]["n"] == 2


@pytest.mark.parametrize("match", ["data.key ==", "unknown == 1", "data.key == 'x' &&& true", "x" * 2_000])
async def test_an_expression_that_is_none_is_a_clear_error_in_the_workflow(service: Service, match: str) -> None:
    told = await service.output("events.bad-match", match=match)
    assert told.startswith("ExpressionError: ")


async def test_an_event_is_sent_once_however_often_the_body_runs(service: Service, key: str) -> None:
    run = await service.run("events.sender", key=key)
    assert run.attempt == 1
    first, again = run.output
    assert first != again
    assert [step.output for step in run.steps] == [first, again]
    for event_id in (first, again):
        (heard,) = await service.runs_of(event_id)
        assert (await service.ended(heard.id)).status == "completed"
    assert service.notes(key) == ["heard", "heard"]


async def test_one_event_id_is_one_event(service: Service, key: str) -> None:
    assert await service.output("events.same-id", key=key) == [f"only-{key}"] * 2
    (heard,) = await service.runs_of(f"only-{key}")
    await service.ended(heard.id)
    await service.rotor.send("events.heard", {"key": key}, id=f"only-{key}")
    assert len(await service.runs_of(f"only-{key}")) == 1
    assert service.notes(key) == ["heard"]


async def test_an_event_with_a_time_to_come_waits_for_it(service: Service, key: str) -> None:
    run = await service.run("events.later", key=key)
    event = await service.rotor.events.get(run.output)
    assert event.ts
    if await service.sql("SELECT rotor_now()") < event.ts:
        assert (event.effective_at, event.runs) == (None, [])
    while not event.runs:
        await asyncio.sleep(0.05)
        event = await service.rotor.events.get(run.output)
    assert event.effective_at
    assert 0 <= (event.effective_at - event.ts).total_seconds() < WITHIN_SECONDS
    assert (await service.ended(event.runs[0].id)).status == "completed"
    assert service.notes(key) == ["heard"]
