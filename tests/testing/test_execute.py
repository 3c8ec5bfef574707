"""`rotor.testing`: a workflow is executed as in production, with its waits over at once and the outside as scripted."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from rotor import Context, SyncContext, create_function
from rotor.errors import (
    NonRetriableError,
    SignalTimeoutError,
    StepError,
    UnknownFunctionError,
    WorkflowFailedError,
    WorkflowTimeoutError,
)
from rotor.sdk.functions import Function
from rotor.testing import RUN_ID, event, execute, execute_sync, signal


@dataclass
class Profile:
    email: str


def workflow(handler: Any, **options: Any) -> Function[Any, Any]:
    return create_function(id="flow", trigger={"event": "started"}, **options)(handler)


async def fetch(contact_id: str) -> Profile:
    return Profile(f"{contact_id}@example.com")


async def test_steps_run_for_real_unless_their_result_is_given() -> None:
    async def body(ctx: Context[dict[str, str]]) -> list[str]:
        real = await ctx.step.run("real", fetch, ctx.event.data["id"])
        given = await ctx.step.run("given", fetch, "never-asked")
        called = await ctx.step.run("called", fetch, "asked")
        return [real.email, given.email, called.email]

    results = {"given": {"email": "given"}, "called": lambda contact_id: Profile(contact_id.upper())}
    execution = await execute(workflow(body), {"id": "ada"}, results=results)
    assert execution.output == ["ada@example.com", "given", "ASKED"]
    assert [step.id for step in execution.steps] == ["real", "given", "called"]
    assert execution.step("given").output == {"email": "given"}


def test_sleeps_are_over_at_once_and_the_simulated_clock_says_how_long_they_were() -> None:
    async def body(ctx: Context) -> str:
        await ctx.step.sleep("long", "30d")
        await asyncio.gather(ctx.step.sleep("a", "2h"), ctx.step.sleep("b", "3h"))
        return "rested"

    began = time.monotonic()
    execution = execute_sync(workflow(body))
    assert execution.output == "rested"
    assert execution.elapsed == timedelta(days=30, hours=3)
    assert time.monotonic() - began < 60


async def test_a_failing_step_is_tried_again_after_the_backoff_and_then_raises() -> None:
    tries = 0

    def flaky() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError("busy")
        return "through"

    async def body(ctx: Context) -> str:
        try:
            await ctx.step.run("hopeless", fetch, "x", retries=1)
        except StepError as error:
            return f"{error.name} then {await ctx.step.run('flaky', flaky)}"
        return "never"

    execution = await execute(workflow(body), results={"hopeless": ConnectionError("down")})
    assert execution.output == "ConnectionError then through"
    assert execution.step("hopeless").attempts == 2
    assert execution.step("flaky").attempts == 3
    assert execution.elapsed == timedelta(seconds=1 + 1 + 2)


async def test_a_failing_body_is_tried_again_and_its_run_fails_with_the_error() -> None:
    async def body(ctx: Context) -> None:
        await ctx.step.run("once", fetch, "x")
        raise ValueError(f"attempt {ctx.attempt}")

    execution = await execute(workflow(body, retries=2))
    assert execution.status == "failed"
    assert execution.error is not None
    assert execution.error.message == "attempt 2"
    assert execution.step("once").attempts == 1

    async def hopeless(ctx: Context) -> None:
        raise NonRetriableError("at once")

    assert (await execute(workflow(hopeless))).attempt == 0


async def waiter(ctx: Context) -> str:
    opened = await ctx.step.wait_for_event("opened", event="email.opened", match={"data.id": "c-1"}, timeout="7d")
    try:
        approval = await ctx.step.wait_for_signal("approval", signal=f"approval-{ctx.run_id}", timeout="2d")
    except SignalTimeoutError:
        approval = {"approved": None}
    return f"{opened and opened.data['at']} {approval['approved']}"


@pytest.mark.parametrize(
    ("happens", "output", "elapsed"),
    [
        ([], "None None", timedelta(days=9)),
        ([event("email.opened", {"id": "c-2", "at": "other"})], "None None", timedelta(days=9)),
        ([event("email.opened", {"id": "c-1", "at": "now"})], "now None", timedelta(days=2)),
        ([event("email.opened", {"id": "c-1", "at": "late"}, after="8d")], "None None", timedelta(days=9)),
        (
            [signal(f"approval-{RUN_ID}", {"approved": True}), event("email.opened", {"id": "c-1", "at": 5}, after=60)],
            "5 True",
            timedelta(minutes=1),
        ),
    ],
)
async def test_waits_take_what_happens_in_time_and_nothing_else(happens: Any, output: str, elapsed: timedelta) -> None:
    execution = await execute(workflow(waiter), happens=happens)
    assert execution.output == output
    assert execution.elapsed == elapsed


async def test_a_match_in_cel_is_judged_as_by_the_server() -> None:
    async def body(ctx: Context) -> Any:
        found = await ctx.step.wait_for_event("w", event="scored", match="data.score > 3", timeout="1d")
        return found and found.data["score"]

    assert (await execute(workflow(body), happens=[event("scored", {"score": n}) for n in (1, 5, 7)])).output == 5

    async def wrong(ctx: Context) -> Any:
        return await ctx.step.wait_for_event("w", event="scored", match="data.score >", timeout="1d")

    failed = await execute(workflow(wrong))
    assert failed.error is not None
    assert failed.error.name == "ExpressionError"


@create_function(id="enricher", trigger={"event": "enrich"})
def enricher(ctx: SyncContext[str]) -> int:
    ctx.step.sleep("think", "10m")
    return ctx.step.run("measure", len, ctx.event.data)


async def test_children_answer_as_given_or_are_executed_themselves() -> None:
    async def body(ctx: Context) -> list[Any]:
        outcomes: list[Any] = []
        for name in ("enricher", "given", "failing", "unknown"):
            try:
                invoked = await ctx.step.invoke(f"invoke-{name}", workflow=name, data="abc", timeout="1h")
                outcomes.append(invoked.result)
            except (WorkflowFailedError, UnknownFunctionError) as error:
                outcomes.append(error.name)
        try:
            await ctx.step.invoke("invoke-slow", workflow="enricher", data="abc", timeout="1m")
        except WorkflowTimeoutError:
            outcomes.append("timed out")
        return outcomes

    children = {"enricher": enricher, "given": str.upper, "failing": ValueError("no")}
    execution = await execute(workflow(body), children=children)
    assert execution.output == [3, "ABC", "ValueError", "UnknownFunctionError", "timed out"]
    assert execution.elapsed == timedelta(minutes=11)


async def test_events_that_are_sent_are_kept_and_may_be_waited_for() -> None:
    async def body(ctx: Context) -> Any:
        await ctx.step.send_event("tell", name="scored", data={"score": 7})
        found = await ctx.step.wait_for_event("w", event="scored", timeout="1d")
        return found and found.data

    execution = await execute(workflow(body))
    assert execution.output == {"score": 7}
    assert [(sent.name, sent.data) for sent in execution.sent] == [("scored", {"score": 7})]
    assert execution.step("tell").output == execution.sent[0].id


async def test_a_reminder_that_races_an_answer_ends_as_the_times_say() -> None:
    async def body(ctx: Context) -> list[str]:
        answer = asyncio.create_task(ctx.step.wait_for_signal("decision", signal="s", timeout="5d"))
        nudge = asyncio.create_task(ctx.step.sleep("a-day", "1d"))
        await asyncio.wait([answer, nudge], return_when=asyncio.FIRST_COMPLETED)
        reminded = []
        if not answer.done():
            reminded.append(await ctx.step.run("remind", lambda: "reminded"))
        nudge.cancel()
        return [*reminded, await answer]

    assert (await execute(workflow(body), happens=[signal("s", "yes", after="3h")])).output == ["yes"]
    assert (await execute(workflow(body), happens=[signal("s", "yes", after="3d")])).output == ["reminded", "yes"]


def test_a_plain_handler_is_executed_too() -> None:
    def body(ctx: SyncContext) -> list[int]:
        ctx.step.sleep("nap", "1h")
        return ctx.step.parallel([lambda: ctx.step.run("a", len, "abc"), lambda: ctx.step.run("b", len, "ab")])

    assert execute_sync(workflow(body), results={"b": 7}).output == [3, 7]


def test_a_cron_function_is_given_what_its_schedule_gives() -> None:
    @create_function(id="weekly", trigger={"cron": "0 9 * * 1", "timezone": "Europe/Paris"})
    async def weekly(ctx: Context[dict[str, str]]) -> str:
        return f"{ctx.event.name} {ctx.event.data['cron']} {ctx.event.data['scheduled_at'][:2]}"

    assert execute_sync(weekly).output == "rotor/cron 0 9 * * 1 20"


async def test_the_body_is_replayed_after_each_wait() -> None:
    entered = 0

    async def body(ctx: Context) -> None:
        nonlocal entered
        entered += 1
        await ctx.step.sleep("a", 1)
        await ctx.step.sleep("b", 1)

    await execute(workflow(body))
    assert entered == 3


def test_a_step_that_was_not_taken_is_told_with_those_that_were() -> None:
    execution = execute_sync(enricher, "abc")
    assert execution.step("measure").output == 3
    with pytest.raises(LookupError, match=r"no step 'count' \(use 0\), but \['think', 'measure'\]"):
        execution.step("count")
