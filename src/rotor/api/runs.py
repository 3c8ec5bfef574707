"""`/v1/runs`: list, show, follow, cancel and replay runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime
from functools import partial
from typing import Annotated
from uuid import UUID

import msgspec

from rotor import limits
from rotor.api.answers import Answer, StreamAnswer, json_answer
from rotor.api.authentication import authenticate, require, still_may
from rotor.api.calls import Call, header
from rotor.api.instants import read_instant
from rotor.api.operations import Operation, Result
from rotor.protocol.messages import RunStatus
from rotor.store import cancellation, replays, run_logs, runs
from rotor.store.checks import text_problem
from rotor.store.pages import Page
from rotor.store.problems import Invalid
from rotor.store.run_logs import Line
from rotor.store.runs import Run, RunReading, RunWithSteps, Step
from rotor.store.streams import Follower

__all__ = ["OPERATIONS"]

GROUP_MAX = 2**62

_encoder = msgspec.json.Encoder()


class RunQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs. `since` and `until` bound `created_at`: RFC 3339, or milliseconds since 1970."""

    function_id: str | None = None
    status: RunStatus | None = None
    event_id: str | None = None
    since: str | None = None
    until: str | None = None
    cursor: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=limits.PAGE_ITEMS)] = 50


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which page of a log."""

    cursor: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=limits.PAGE_ITEMS)] = limits.PAGE_ITEMS


class WaitQuery(msgspec.Struct, frozen=True, kw_only=True):
    """For how long."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=limits.RUN_WAIT.total_seconds())] = limits.RUN_WAIT.total_seconds()


class Replayed(msgspec.Struct, frozen=True):
    """The new run."""

    run_id: UUID


async def page(call: Call) -> Answer:
    query: RunQuery = call.query
    errors: list[tuple[str, str]] = []
    for name in ("function_id", "event_id"):
        problem = text_problem(getattr(query, name) or "")
        if problem:
            errors.append((name, problem))
    since, until = _instant("since", query.since, errors), _instant("until", query.until, errors)
    if errors:
        raise Invalid(errors)
    found = await runs.page(
        call.store.database,
        call.workspace_id,
        function_id=query.function_id,
        event_id=query.event_id,
        status=query.status,
        since=since,
        until=until,
        cursor=query.cursor,
        items_max=query.limit,
    )
    return json_answer(found)


async def get(call: Call) -> Answer | StreamAnswer:
    return _with_steps(await runs.get(call.store.database, call.workspace_id, call.run_id()))


async def wait(call: Call) -> Answer | StreamAnswer:
    query: WaitQuery = call.query
    run_id = call.run_id()

    async def read() -> RunReading:
        require(await authenticate(call.api, call.scope), "read")  # the key may have been revoked since
        return await runs.get(call.store.database, call.workspace_id, run_id, steps_before_end=False)

    is_open = partial(call.store.holders.has, call.workspace_id, run_id)
    found = await call.api.streams.end_of(call.workspace_id, run_id, is_open, read, call.receive, seconds=query.seconds)
    return _with_steps(found) if found.run.ended_at is not None else await get(call)


async def logs(call: Call) -> Answer:
    query: LogQuery = call.query
    found = await run_logs.page(
        call.store.database, call.workspace_id, call.run_id(), cursor=query.cursor, items_max=query.limit
    )
    return json_answer(found)


async def cancel(call: Call) -> Answer | StreamAnswer:
    await cancellation.cancel(call.store, call.workspace_id, call.run_id())
    return await get(call)


async def replay(call: Call) -> Answer:
    return json_answer(Replayed(await replays.replay(call.store, call.workspace_id, call.run_id())), 202)


async def stream(call: Call) -> Answer | StreamAnswer:
    run_id = call.run_id()
    since = _last_event_id(call)
    follower = Follower(call.store.database, call.workspace_id, run_id, since=since or 0)
    first = await follower.read()
    if since is not None and not first and follower.ended:
        # What tells an EventSource that there is nothing to come back for.
        return Answer(204)
    text = call.api.streams.follow(follower, first, call.receive, partial(still_may, call.api, call.scope, "read"))
    headers = [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
    return StreamAnswer(text, content_type=b"text/event-stream", headers=headers)


def _with_steps(found: RunReading) -> Answer | StreamAnswer:
    """The run with its steps: in one piece where they are few, else sent as they are read."""
    text = _encoder.encode(found.run)[:-1] + b',"steps":[' + _items(found.steps)
    return Answer(200, text + b"]}") if found.rest is None else StreamAnswer(_texts(text, found.rest))


async def _texts(text: bytes, rest: AsyncIterator[list[Step]]) -> AsyncGenerator[bytes, None]:
    yield text
    async for steps in rest:
        yield b"," + _items(steps)
    yield b"]}"


def _items(steps: list[Step]) -> bytes:
    return _encoder.encode(steps)[1:-1]


def _instant(name: str, given: str | None, errors: list[tuple[str, str]]) -> datetime | None:
    if given is None:
        return None
    try:
        return read_instant(int(given) if given.isdecimal() and len(given) < 20 else given)
    except ValueError as error:
        errors.append((name, str(error)))
        return None


def _last_event_id(call: Call) -> int | None:
    given = header(call.scope, b"last-event-id")
    if not given:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) < 20 and int(given) < GROUP_MAX):
        raise Invalid([("Last-Event-ID", "is not the id of an event of this stream")])
    return int(given)


OPERATIONS = (
    Operation(
        "GET",
        "/v1/runs",
        "list_runs",
        page,
        "Runs, newest first",
        {200: Result("One page; its runs carry no steps.", Page[Run])},
        "runs",
        access="read",
        query=RunQuery,
        details="A page ends before `limit` where its payloads grow large.",
    ),
    Operation(
        "GET",
        "/v1/runs/{run_id}",
        "get_run",
        get,
        "One run with its steps",
        {200: Result("The run.", RunWithSteps)},
        "runs",
        access="read",
        problems=(404,),
    ),
    Operation(
        "GET",
        "/v1/runs/{run_id}/stream",
        "stream_run",
        stream,
        "Every change of a run and its steps",
        {
            200: Result("`event: run` and `event: step`, each with the whole row as data.", None, "text/event-stream"),
            204: Result("The run has ended, and `Last-Event-ID` has seen it all."),
        },
        "runs",
        access="read",
        headers={"Last-Event-ID": "Go on after this event."},
        problems=(404,),
        details="The stream begins with what is there, and ends after the run's end.",
    ),
    Operation(
        "GET",
        "/v1/runs/{run_id}/wait",
        "wait_for_run",
        wait,
        "One run with its steps, once it has ended",
        {200: Result("The run. One whose `ended_at` is null has not ended in this time: ask again.", RunWithSteps)},
        "runs",
        access="read",
        query=WaitQuery,
        problems=(404,),
        details="Answers at once where the run has ended already, and otherwise when it ends or `seconds` have passed.",
    ),
    Operation(
        "GET",
        "/v1/runs/{run_id}/logs",
        "list_run_logs",
        logs,
        "What a run has logged, oldest first",
        {200: Result("One page.", Page[Line])},
        "runs",
        access="read",
        query=LogQuery,
        problems=(404,),
        details="Lines of `ctx.logger`. `missed` counts the lines right before that were lost on their way.",
    ),
    Operation(
        "POST",
        "/v1/runs/{run_id}/cancel",
        "cancel_run",
        cancel,
        "Cancel a run",
        {200: Result("It is cancelled, or will be once its step in flight is recorded.", RunWithSteps)},
        "runs",
        access="operate",
        problems=(404, 409),
    ),
    Operation(
        "POST",
        "/v1/runs/{run_id}/replay",
        "replay_run",
        replay,
        "Start a new run with the same event",
        {202: Result("It is queued.", Replayed)},
        "runs",
        access="operate",
        problems=(404,),
    ),
)
