"""`execute`: one run of a function in a test, and what is left of it to look at."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rotor.protocol import json
from rotor.protocol.json import NULL
from rotor.protocol.messages import Error, Event
from rotor.sdk.codec import encode_value, error_of
from rotor.sdk.functions import Function
from rotor.sdk.resources import EventRecord, Run, Step
from rotor.testing.script import RUN_ID, Happening, given, with_results
from rotor.testing.server import ChildOutcome, MemoryServer, Record

__all__ = ["Execution", "execute", "execute_sync"]


class Execution(Run, frozen=True, kw_only=True):
    """A run that a test has executed: what the API would answer about it, and what it has sent."""

    sent: Sequence[EventRecord] = ()
    """The events of its `send_event` steps, in order."""
    elapsed: timedelta = timedelta()
    """How long it took by the simulated clock."""

    def step(self, id: str, index: int = 0) -> Step:
        """The step `id`; `index` counts its uses from 0. Raises `LookupError` that names the steps there are."""
        for step in self.steps:
            if (step.id, step.index) == (id, index):
                return step
        raise LookupError(f"the run took no step {id!r} (use {index}), but {[step.id for step in self.steps]}")


async def execute(
    function: Function[Any, Any],
    data: Any = None,
    *,
    results: Mapping[str, Any] | None = None,
    children: Mapping[str, Any] | None = None,
    happens: Sequence[Happening] = (),
) -> Execution:
    """Run `function` on an event with `data` until it has ended, and return what is on record then.

    Steps run their functions, except those whose id is in `results`: there a value is the step's result, an exception
    fails each of its tries, and a function stands in for the step's own, with its arguments. `children` says the same
    of workflows that are invoked, by their id, and a stand-in is given their data; a durable function among them is
    executed likewise. An id that is not there is an unknown function to the run. `happens` are the events and signals
    that reach the run.

    Time is simulated: a sleep, a timeout and the backoff before another try are over as soon as the run has nothing
    else to wait for. After each wait the body is run from the top, as on another worker, with its steps answered from
    the record. So what is outside of steps runs several times.

        execution = await execute(welcome, {"email": "ada@example.com"}, results={"greet": "hello"})
        assert execution.step("greet").output == "hello"

    A run that fails is an `Execution` too, with `status` "failed" and `error`.
    """
    results, children = results or {}, children or {}

    async def invoke(workflow: str, child_data: Any) -> ChildOutcome:
        return await _child(workflow, child_data, results, children)

    server = MemoryServer(with_results(function, results), _event(function, data), invoke)
    server.expect(happens)
    try:
        await server.run()
    finally:
        server.threads.shutdown(wait=False)
    return _execution(server)


def execute_sync(
    function: Function[Any, Any],
    data: Any = None,
    *,
    results: Mapping[str, Any] | None = None,
    children: Mapping[str, Any] | None = None,
    happens: Sequence[Happening] = (),
) -> Execution:
    """`execute` of the same `function`, `data`, `results`, `children` and `happens`, in a test without an event loop.

    execution = execute_sync(welcome, {"email": "ada@example.com"}, results={"greet": "hello"})
    """
    return asyncio.run(execute(function, data, results=results, children=children, happens=happens))


def _event(function: Function[Any, Any], data: Any) -> Event:
    """The event that starts the run: of the function's first trigger by an event, or else of its cron."""
    now = datetime.now(UTC)
    named = [trigger.event for trigger in function.spec.triggers if trigger.event]
    if named:
        return Event(id="event-0", name=named[0], data=encode_value(data), ts=now)
    cron = function.spec.triggers[0]
    fired = {"cron": cron.cron, "timezone": cron.timezone, "scheduled_at": now} if data is None else data
    return Event(id="event-0", name="rotor/cron", data=encode_value(fired), ts=now)


async def _child(workflow: str, data: Any, results: Mapping[str, Any], children: Mapping[str, Any]) -> ChildOutcome:
    if workflow not in children:
        text = f"no function {workflow!r} is among the children that the test gives: {sorted(children)}"
        return ChildOutcome(NULL, error=Error(name="UnknownFunctionError", message=text))
    stand_in = children[workflow]
    if isinstance(stand_in, Function):
        ended = await execute(stand_in, data, results=results, children=children)
        return ChildOutcome(encode_value(ended.output), ended.error, ended.elapsed)
    try:
        value = given(stand_in, data)
        return ChildOutcome(encode_value(await value if inspect.isawaitable(value) else value))
    except Exception as error:
        return ChildOutcome(NULL, error=error_of(error))


def _execution(server: MemoryServer) -> Execution:
    event = server.event
    return Execution(
        id=RUN_ID,
        function_id=server.function.id,
        status=server.status,
        event=EventRecord(id=event.id, name=event.name, data=json.decode(event.data), ts=event.ts),
        output=json.decode(server.output),
        error=server.error,
        attempt=server.attempt,
        created_at=server.started_at,
        started_at=server.started_at,
        ended_at=server.now,
        steps=[_step(record) for record in server.records.values()],
        sent=[EventRecord(id=one.id, name=one.name, data=json.decode(one.data), ts=one.at) for one in server.sent],
        elapsed=server.now - server.started_at,
    )


def _step(record: Record) -> Step:
    memo, parked = record.memo, record.parked
    return Step(
        id=memo.id,
        index=memo.index,
        op=memo.op,
        status=memo.status,
        attempts=memo.attempts,
        output=json.decode(memo.output),
        error=memo.error,
        started_at=record.started_at,
        ended_at=record.ended_at,
        waits_for=parked.topic if parked else None,
        child_run_id=memo.child_run_id,
    )
