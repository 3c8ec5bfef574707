"""Steps run once, are known by id and use, and give on replay what they gave at first."""

from __future__ import annotations

from datetime import timedelta

from rotor.sdk.resources import Run
from tests.conformance.service import TRIES, Service
from tests.conformance.workflows.steps import ODD_IDS


async def test_async_bodies_run_in_the_loop_and_plain_ones_in_a_thread(service: Service, key: str) -> None:
    run = await service.run("steps.bodies", key=key)
    assert run.output == {
        "async": "async body",
        "sync": [False, False],
        "event": "steps.bodies",
        "function": "steps.bodies",
        "run": run.id,
    }
    assert [(step.id, step.op, step.status, step.attempts) for step in run.steps] == [
        ("async", "run", "completed", 1),
        ("sync", "run", "completed", 1),
    ]
    assert service.notes(key) == ["async body", "sync body"]


async def test_a_run_tells_its_story(service: Service, key: str) -> None:
    run = await service.run("steps.bodies", key=key)
    assert run.event is not None
    assert (run.event.name, run.event.data) == ("steps.bodies", {"key": key})
    assert (run.status, run.attempt, run.error, run.parent_run_id) == ("completed", 0, None, None)
    assert run.created_at
    assert run.started_at
    assert run.ended_at
    assert run.created_at <= run.started_at <= run.ended_at


async def test_no_sleep_ends_early_and_none_late(service: Service, key: str) -> None:
    late: list[float] = []
    while min(late, default=1.0) >= 1.0 and len(late) < TRIES:
        late.append(lateness(await service.run("steps.sleeps", key=key)))
    assert min(late) < 1.0, late


def lateness(run: Run) -> float:
    """By how many seconds the latest of the sleeps ended late. None ended early."""
    assert run.status == "completed", run.error
    late: list[float] = []
    for step in run.steps:
        assert (step.op, step.status) == ("sleep", "completed")
        assert step.started_at
        assert step.ended_at
        assert step.deadline
        assert step.ended_at >= step.deadline
        late.append((step.ended_at - max(step.deadline, step.started_at)).total_seconds())
    seconds = [
        (step.ended_at - step.started_at).total_seconds() for step in run.steps if step.ended_at and step.started_at
    ]
    assert seconds[0] >= 0.2
    assert seconds[1] >= 0.1
    assert seconds[2] >= 0.1
    assert run.event
    assert run.event.ts
    assert run.steps[3].deadline == run.event.ts + timedelta(seconds=1)
    return max(late)


async def test_each_use_of_an_id_is_its_own_step_whatever_its_op(service: Service, key: str) -> None:
    run = await service.run("steps.one-id", key=key)
    assert run.output == ["use 0", "use 1", "use 2", "use 3"]
    assert [(step.id, step.index, step.op) for step in run.steps] == [
        *(("same", index, "run") for index in range(4)),
        ("same", 4, "sleep"),
    ]
    assert service.notes(key) == ["use 0", "use 1", "use 2", "use 3"]


async def test_no_two_ids_collide_however_odd(service: Service, key: str) -> None:
    run = await service.run("steps.odd-ids", key=key)
    words = [f"{number}-{use}" for use in range(2) for number in range(len(ODD_IDS))]
    assert run.output == words
    assert service.notes(key) == words
    assert [(step.id, step.index) for step in run.steps] == [(odd, use) for use in range(2) for odd in ODD_IDS]


async def test_a_body_can_tell_which_step_and_try_it_is(service: Service, key: str) -> None:
    run = await service.run("steps.current", key=key)
    assert run.output == ["which", 1, 0, run.id]


async def test_a_thousand_steps_in_a_row(service: Service, key: str) -> None:
    run = await service.run("branches.sequence", key=key, count=1_000)
    assert run.output == sum(range(1_000)), run.error
    assert service.notes(key) == [str(number) for number in range(1_000)]
    assert [step.index for step in run.steps] == list(range(1_000))


async def test_a_thousand_steps_at_once(service: Service, key: str) -> None:
    run = await service.run("branches.crowd", key=key, count=1_000)
    assert run.output == sum(range(1_000)), run.error
    assert sorted(service.notes(key), key=int) == [str(number) for number in range(1_000)]
    assert {(step.id, step.index) for step in run.steps} == {("add", number) for number in range(1_000)}
