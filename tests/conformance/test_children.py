"""An invoked workflow is started once, and its end, whatever it is, reaches whoever invoked it."""

from __future__ import annotations

from rotor.limits import CHILDREN_DEPTH
from tests.conformance.service import Service


async def test_the_result_and_the_run_reach_the_parent_and_the_child_is_started_once(
    service: Service, key: str
) -> None:
    run = await service.run("children.parent", key=key, workflow="children.scorer")
    assert run.attempt == 1
    result, child_id = run.output
    assert result == {"points": 7, "of": key}
    assert service.notes(key) == ["scored"]
    child = await service.rotor.runs.get(child_id)
    assert (child.parent_run_id, child.function_id) == (run.id, "children.scorer")
    assert run.steps[0].child_run_id == child_id


async def test_the_function_itself_may_be_named_and_types_the_result(service: Service, key: str) -> None:
    assert await service.output("children.typed-parent", key=key) == ["Score", 7]


async def test_a_child_that_failed_raises_its_error(service: Service, key: str) -> None:
    assert await service.output("children.parent", key=key, workflow="children.failing") == [
        "WorkflowFailedError",
        "NonRetriableError",
        "the child is lost",
    ]


async def test_a_child_that_takes_too_long_raises_and_is_cancelled(service: Service, key: str) -> None:
    run = await service.run("children.parent", key=key, workflow="children.sleeper", timeout="200ms")
    assert run.output[0] == "WorkflowTimeoutError"
    child_id = run.steps[0].child_run_id
    assert child_id
    assert child_id in run.output[2]
    assert (await service.ended(child_id)).status == "cancelled"


async def test_a_child_that_is_cancelled_raises(service: Service, key: str) -> None:
    run_id = await service.start("children.parent", key=key, workflow="children.sleeper")
    child_id = (await service.reaches(run_id, "child")).child_run_id
    assert child_id
    await service.reaches(child_id, "long")
    await service.rotor.runs.cancel(child_id)
    assert (await service.ended(run_id)).output[0] == "WorkflowCancelledError"


async def test_an_unknown_workflow_is_told_at_once(service: Service, key: str) -> None:
    name, _, message = await service.output("children.parent", key=key, workflow="no-such-workflow")
    assert name == "UnknownFunctionError"
    assert "'no-such-workflow'" in message


async def test_runs_that_invoke_each_other_without_end_are_stopped(service: Service, key: str) -> None:
    assert await service.output("children.endless", key=key) == CHILDREN_DEPTH
