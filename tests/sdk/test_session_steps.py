"""The bodies of steps: what they are given, how often they run, and what becomes of what they give."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from rotor import limits
from rotor.errors import ConfigError, LimitError, NonRetriableError, RetryAfterError, StepError
from rotor.protocol.messages import Error, Memo, Refused, RunFailed, StepDone, StepFailed, StepStarted, StepWithdrawn
from rotor.sdk.context import Context
from rotor.sdk.place import CurrentStep, current_step
from tests.sdk.fake_server import RUN, FakeServer
from tests.sdk.test_session import workflow

Body = Context[Any]


@dataclass
class Lead:
    name: str
    at: datetime
    id: UUID


async def echo(value: str) -> str:
    return value


async def test_the_workflow_sees_the_decoded_record_first_time_and_on_replay() -> None:
    given = Lead("Ada", datetime(2026, 1, 1, tzinfo=UTC), UUID(int=7))
    seen: list[Lead] = []

    async def make() -> Lead:
        return given

    async def body(ctx: Body) -> None:
        seen.append(await ctx.step.run("a", make))
        await ctx.step.sleep("nap", 1)

    server = FakeServer(workflow(body))
    await server.run()
    await server.lose()
    server.settle("nap")
    await server.run()
    assert seen == [given, given]
    assert seen[0] is not given


async def test_a_plain_function_runs_in_a_thread_and_sees_the_context_variables() -> None:
    variable = contextvars.ContextVar("variable", default="")
    loop_thread = threading.get_ident()

    def where() -> list[Any]:
        return [threading.get_ident() != loop_thread, variable.get()]

    async def body(ctx: Body) -> Any:
        variable.set("seen")
        return await ctx.step.run("a", where)

    server = FakeServer(workflow(body))
    await server.run()
    assert server.output == [True, "seen"]


class Caller:
    async def __call__(self, value: str) -> str:
        return value + "!"

    async def method(self, value: str) -> str:
        return value + "?"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (partial(echo), "x"),
        (Caller(), "x!"),
        (Caller().method, "x?"),
        (echo, "x"),
        (str.upper, "X"),
    ],
)
async def test_any_callable_may_be_a_step(function: Any, expected: str) -> None:
    async def body(ctx: Body) -> str:
        result: str = await ctx.step.run("a", function, "x")
        return result

    server = FakeServer(workflow(body))
    await server.run()
    assert server.output == expected


async def test_what_a_step_body_raises_of_any_kind_fails_the_try() -> None:
    def stop() -> None:
        raise StopIteration("of a thread")

    async def leave() -> None:
        raise SystemExit(3)

    async def spontaneous() -> None:
        raise asyncio.CancelledError

    async def body(ctx: Body) -> list[str]:
        names = []
        for function in (stop, leave, spontaneous):
            try:
                await ctx.step.run("a", function, retries=0)
            except StepError as error:
                names.append(error.name)
        return names

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    assert server.output == ["StopIteration", "SystemExit", "CancelledError"]


async def test_a_step_that_takes_too_long_fails_the_try_with_a_timeout() -> None:
    async def slow() -> None:
        await asyncio.sleep(3_600)

    async def body(ctx: Body) -> str:
        try:
            await ctx.step.run("slow", slow, timeout="20ms", retries=0)
        except StepError as error:
            return f"{error.name}: {error.message}"
        return ""

    server = FakeServer(workflow(body))
    await server.run()
    assert server.output.startswith("TimeoutError: step 'slow' took longer")


async def test_errors_say_whether_and_when_to_try_again() -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def body(ctx: Body) -> None:
        for index, error in enumerate([NonRetriableError("x"), RetryAfterError("x", timedelta(seconds=9))]):
            try:
                await ctx.step.run(f"s{index}", fail, error, retries=0)
            except StepError:
                continue

    server = FakeServer(workflow(body))
    await server.run()
    failed = [message for message in server.sent if isinstance(message, StepFailed)]
    assert [(one.retriable, one.retry_after_seconds) for one in failed] == [(False, None), (True, 9.0)]


async def test_attempts_go_on_counting_in_another_process() -> None:
    attempts: list[int] = []

    async def fail() -> None:
        attempts.append(current_step().attempt)
        raise ValueError

    async def body(ctx: Body) -> None:
        await ctx.step.run("a", fail)

    server = FakeServer(workflow(body, retries=2))
    await server.run()
    server.settle("a", status="retrying", attempts=1)
    await server.lose()
    await server.run()
    server.settle("a", status="retrying", attempts=2)
    assert await server.run() == "failed"
    assert attempts == [0, 1, 2]
    assert server.error is not None
    assert server.error.name == "StepError"


async def test_a_backoff_that_still_runs_parks_a_replay() -> None:
    async def body(ctx: Body) -> None:
        await asyncio.gather(ctx.step.run("a", echo, "x"), ctx.step.sleep("nap", "1h"))

    steps = {
        ("a", 0): Memo(id="a", index=0, op="run", status="waiting", attempts=1),
        ("nap", 0): Memo(id="nap", index=0, op="sleep", status="waiting"),
    }
    server = FakeServer(workflow(body), steps=steps, waits={("a", 0): None, ("nap", 0): None})
    assert await server.run() == "waiting"
    assert len(server.sent) == 1


async def test_the_body_of_a_step_knows_its_step() -> None:
    steps: list[CurrentStep] = []

    async def note() -> None:
        steps.append(current_step())

    def note_in_thread() -> None:
        steps.append(current_step())

    async def body(ctx: Body) -> None:
        await ctx.step.run("a", note)
        await ctx.step.run("a", note_in_thread)

    server = FakeServer(workflow(body))
    await server.run()
    assert [(step.run_id, step.id, step.index, step.attempt) for step in steps] == [(RUN, "a", 0, 0), (RUN, "a", 1, 0)]
    assert len({step.idempotency_key for step in steps}) == 2
    with pytest.raises(RuntimeError, match="body of a step"):
        current_step()


async def test_a_step_inside_a_step_is_refused_by_name() -> None:
    async def body(ctx: Body) -> None:
        async def inner() -> None:
            await ctx.step.run("inner", echo, "x")

        await ctx.step.run("outer", inner)

    server = FakeServer(workflow(body))
    assert await server.run() == "failed"
    assert server.error is not None
    assert "'inner'" in server.error.message
    assert "'outer'" in server.error.message
    assert ("inner", 0) not in server.steps


async def test_tasks_that_a_step_body_starts_do_not_count_as_branches() -> None:
    background: list[asyncio.Task[None]] = []

    async def start() -> None:
        background.append(asyncio.create_task(asyncio.sleep(3_600)))

    async def body(ctx: Body) -> None:
        await ctx.step.run("a", start)
        await ctx.step.sleep("nap", "1h")

    server = FakeServer(workflow(body))
    assert await server.run() == "waiting"
    assert not background[0].done()
    await server.lose()
    assert not background[0].cancelling()
    background[0].cancel()


async def test_a_cancelled_branch_cancels_the_body_of_its_step_and_withdraws_it() -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        entered.set()
        try:
            await asyncio.sleep(3_600)
        finally:
            left.set()

    async def body(ctx: Body) -> str:
        task = asyncio.create_task(ctx.step.run("slow", slow))
        await entered.wait()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"
        return ""

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    assert server.output == "cancelled"
    assert left.is_set()
    assert isinstance(server.sent[0], StepWithdrawn)


async def test_an_at_most_once_step_is_announced_before_it_runs_and_never_runs_again() -> None:
    ran: list[int] = []

    async def charge() -> str:
        ran.append(1)
        await asyncio.Event().wait()
        return "charged"

    async def body(ctx: Body) -> str:
        try:
            return await ctx.step.run("charge", charge, at_most_once=True)
        except StepError as error:
            return error.name

    server = FakeServer(workflow(body))
    server.start()
    await server.until(lambda: bool(ran))
    assert server.steps["charge", 0].status == "running"
    await server.lose()
    assert await server.run() == "completed"
    assert server.output == "InterruptedStepError"
    assert ran == [1]
    failed = next(message for message in server.sent if isinstance(message, StepFailed))
    assert not failed.retriable


async def test_an_at_most_once_step_that_is_not_cut_off_completes() -> None:
    async def body(ctx: Body) -> str:
        return await ctx.step.run("charge", echo, "charged", at_most_once=True)

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    assert server.output == "charged"


@pytest.mark.usefixtures("announced")
async def test_a_body_that_takes_a_while_is_announced_once() -> None:
    async def slow() -> None:
        await asyncio.sleep(0.5)

    async def body(ctx: Body) -> None:
        await ctx.step.run("quick", echo, "x")
        await ctx.step.run("slow", slow)

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    started = [message for message in server.sent if isinstance(message, StepStarted)]
    assert [(message.id, message.n) for message in started] == [("slow", 0)]


async def test_send_event_gives_the_id_of_the_event_and_sends_it_with_the_record() -> None:
    async def body(ctx: Body) -> list[str]:
        first = await ctx.step.send_event("tell", name="scored", data={"score": 7}, ts="2030-01-01T00:00:00Z")
        return [first, await ctx.step.send_event("tell", name="scored", event_id="mine")]

    server = FakeServer(workflow(body))
    assert await server.run() == "completed"
    done = [message for message in server.sent if isinstance(message, StepDone)]
    assert [one.emit.id if one.emit else None for one in done] == server.output
    assert server.output[1] == "mine"
    assert done[0].emit is not None
    assert done[0].emit.ts == datetime(2030, 1, 1, tzinfo=UTC)
    live = server.output
    server.status, server.session = "queued", None
    await server.run()
    assert server.output == live


async def test_a_refused_message_raises_in_the_step_and_the_run_goes_on() -> None:
    async def body(ctx: Body) -> str:
        try:
            await ctx.step.wait_for_event("w", event="e", timeout=1, match="((")
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    server = FakeServer(workflow(body))
    server.paused = True
    session = server.start()
    await server.until(lambda: len(server.sent) == 2)
    server.paused = False
    session.receive(Refused(run_id=RUN, n=1, error=Error(name="ExpressionError", message="unbalanced")))
    assert await server.rest() == "completed"
    assert server.output == "ExpressionError: unbalanced"


async def test_a_result_over_the_payload_limit_fails_the_step_by_name() -> None:
    ran: list[int] = []

    async def big() -> str:
        ran.append(1)
        return "x" * 2_000

    async def body(ctx: Body) -> None:
        await ctx.step.run("big", big)

    server = FakeServer(workflow(body), payload_bytes_max=1_000)
    assert await server.run() == "failed"
    assert server.error is not None
    assert "PAYLOAD_BYTES" in server.error.message
    assert ran == [1]


async def test_a_result_that_does_not_fit_its_annotation_fails_the_step_before_it_is_recorded() -> None:
    def wrong() -> int:
        return "text"  # type: ignore[return-value]

    async def body(ctx: Body) -> None:
        await ctx.step.run("wrong", wrong)

    server = FakeServer(workflow(body))
    assert await server.run() == "failed"
    assert server.steps["wrong", 0].status == "failed"


@pytest.mark.parametrize("id", ["", 7, None, "x" * 300, "\ud800"])
async def test_a_bad_step_id_is_refused_before_anything_is_sent(id: Any) -> None:
    async def body(ctx: Body) -> None:
        await ctx.step.run(id, echo, "x")

    server = FakeServer(workflow(body))
    assert await server.run() == "failed"
    (failed,) = server.sent
    assert isinstance(failed, RunFailed)
    assert not failed.retriable


async def test_a_run_of_too_many_steps_fails_by_the_limits_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STEPS_PER_RUN", 3)
    caught: list[LimitError] = []

    async def body(ctx: Body) -> None:
        try:
            for _ in range(5):
                await ctx.step.run("a", echo, "x")
        except LimitError as error:
            caught.append(error)

    server = FakeServer(workflow(body))
    await server.run()
    assert len(server.steps) == 3
    assert "STEPS_PER_RUN" in str(caught[0])


@pytest.mark.parametrize("retries", [-1, 1.5, True, 1_000])
async def test_bad_step_options_fail_the_run_at_once(retries: Any) -> None:
    async def body(ctx: Body) -> None:
        await ctx.step.run("a", echo, "x", retries=retries)

    server = FakeServer(workflow(body))
    assert await server.run() == "failed"
    assert server.error is not None
    assert server.error.name == ConfigError.__name__


async def test_event_data_is_validated_before_the_body_starts() -> None:
    async def body(ctx: Context[Lead]) -> str:
        return ctx.event.data.name

    good = {"name": "Ada", "at": "2026-01-01T00:00:00Z", "id": str(UUID(int=1))}
    server = FakeServer(workflow(body), data=good)
    assert await server.run() == "completed"
    assert server.output == "Ada"
    server = FakeServer(workflow(body), data={"name": 7})
    assert await server.run() == "failed"
    failed = server.sent[-1]
    assert isinstance(failed, RunFailed)
    assert not failed.retriable
    assert "Lead" in failed.error.message
