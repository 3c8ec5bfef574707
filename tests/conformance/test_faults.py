"""Failures are tried again as often and as late as promised, and reach the workflow and people in full."""

from __future__ import annotations

from tests.conformance.service import TRIES, Service


async def test_a_failed_step_is_tried_again_after_a_second_or_so(service: Service, key: str) -> None:
    took: list[float] = []
    while min(took, default=2.3) >= 2.3 and len(took) < TRIES:
        own = f"{key}-{len(took)}"
        run = await service.run("faults.backoff", key=own)
        assert run.output == "up again"
        (step,) = run.steps
        assert (step.status, step.attempts, step.error) == ("completed", 2, None)
        assert step.started_at
        assert step.ended_at
        took.append((step.ended_at - step.started_at).total_seconds())
        assert service.notes(own) == ["try", "try"]
    assert 0.8 <= min(took) < 2.3, took


async def test_a_step_that_is_to_be_tried_again_shows_why(service: Service, key: str) -> None:
    run_id = await service.start("faults.backoff", key=key, seconds=3_600)
    step = await service.reaches(run_id, "stumble", ["retrying"])
    assert step.error
    assert (step.error.name, step.error.message) == ("RetryAfterError", "once")
    await service.rotor.runs.cancel(run_id)


async def test_retries_of_the_function_are_those_of_its_steps(service: Service, key: str) -> None:
    run = await service.run("faults.retry-after", key=key)
    assert run.output == "attempt 2"
    assert service.notes(key) == ["try"] * 3


async def test_a_step_that_used_up_its_retries_can_be_caught(service: Service, key: str) -> None:
    run = await service.run("faults.caught", key=key)
    assert run.status == "completed"
    assert (run.output["name"], run.output["message"], run.output["then"]) == ("RetryAfterError", "not yet", "comfort")
    assert "in fail_until" in run.output["stack"]
    assert service.notes(key) == [*["try"] * 3, "comfort"]
    assert (run.steps[0].status, run.steps[0].attempts) == ("failed", 3)
    assert run.steps[0].error
    assert run.steps[0].error.name == "RetryAfterError"


async def test_one_that_is_not_caught_fails_the_run_at_once_with_its_cause(service: Service, key: str) -> None:
    run = await service.run("faults.uncaught", key=key)
    assert run.status == "failed"
    assert run.error
    assert run.error.name == "StepError"
    assert "LookupError: the shelf is empty" in run.error.message
    assert "in break_down" in run.error.stack
    assert service.notes(key) == ["body", "try"]


async def test_a_step_that_is_not_retriable_is_tried_once(service: Service, key: str) -> None:
    assert await service.output("faults.hopeless", key=key) == "NonRetriableError"
    assert service.notes(key) == ["try"]


async def test_a_try_that_takes_too_long_fails(service: Service, key: str) -> None:
    assert (await service.output("faults.step-timeout", key=key)).startswith("TimeoutError: ")


async def test_a_body_that_fails_runs_again_and_its_steps_do_not(service: Service, key: str) -> None:
    run = await service.run("faults.body", key=key)
    assert (run.output, run.attempt) == (["step", 2], 2)
    assert [note for note in service.notes(key) if note == "step"] == ["step"]
    assert {"body 0", "body 1", "body 2"} == set(service.notes(key)) - {"step"}


async def test_a_body_that_is_not_retriable_runs_once(service: Service, key: str) -> None:
    run = await service.run("faults.body-hopeless", key=key)
    assert run.status == "failed"
    assert run.error
    assert (run.error.name, run.error.message) == ("NonRetriableError", "this body is lost")
    assert service.notes(key) == ["body"]


async def test_a_body_that_used_up_its_retries_fails_the_run(service: Service, key: str) -> None:
    run = await service.run("faults.body-used-up", key=key)
    assert (run.status, run.attempt) == ("failed", 3)
    assert run.error
    assert (run.error.name, run.error.message) == ("RetryAfterError", "never again")
    assert service.notes(key) == ["body"] * 3


async def test_an_id_that_now_means_something_else_is_a_clear_error(service: Service, key: str) -> None:
    run = await service.run("faults.mismatch", key=key)
    assert run.status == "failed"
    assert run.error
    assert run.error.name == "StepMismatchError"
    assert "'one'" in run.error.message
    assert service.notes(key) == ["step"]


async def test_code_may_gain_lose_and_reorder_steps_under_a_run(service: Service, key: str) -> None:
    assert await service.output("faults.reordered", key=key) == ["d"]
    assert service.notes(key) == ["a", "b", "c", "new", "d"]


async def test_a_step_inside_a_step_is_refused(service: Service, key: str) -> None:
    assert "inside the body of step 'outer'" in await service.output("faults.inside", key=key)
    assert service.notes(key) == []


async def test_an_error_has_its_name_message_and_stack(service: Service, key: str) -> None:
    run = await service.run("faults.uncaught", key=key)
    shown = await service.request("GET", f"/v1/runs/{run.id}")
    assert set(shown.json["error"]) == {"name", "message", "stack"}
    assert set(shown.json["steps"][0]["error"]) == {"name", "message", "stack"}
