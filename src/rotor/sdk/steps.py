"""`ctx.step`: the steps that an `async def` handler may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias, TypeVar, TypeVarTuple, overload

from rotor.protocol import json
from rotor.protocol.durations import parse_duration
from rotor.protocol.json import Raw
from rotor.protocol.messages import Child, Emission, Memo, StepDone, StepOp, StepParked
from rotor.sdk import step_arguments
from rotor.sdk.bodies import Bodies, Options, encode_payload
from rotor.sdk.call import Call
from rotor.sdk.calls import Calls
from rotor.sdk.functions import DataOf, Function
from rotor.sdk.outcomes import (
    Event,
    InvokeResult,
    event_outcome,
    invoke_outcome,
    sent_outcome,
    signal_outcome,
    sleep_outcome,
)
from rotor.sdk.place import idempotency_key

__all__ = ["Duration", "Match", "Step"]

R = TypeVar("R")
T = TypeVar("T")
D = TypeVar("D")
Ts = TypeVarTuple("Ts")

Duration: TypeAlias = str | float | timedelta
"""`"30m"`, `"2d"`, `"1h30m"`, `"500ms"`, a number of seconds, or a timedelta."""

Match: TypeAlias = str | Mapping[str, Any]
"""A CEL expression over `data`, `name`, `id` and `ts`, or a mapping of path to value: `{"data.contactId": "c-1"}`."""


class Step:
    """Each method is a durable step: what it gives is recorded under its `id`, and a replay gets the record.

    The n-th use of an id in a run is its own step. Steps may run side by side: use `asyncio.gather`, a task group,
    `asyncio.wait` or `asyncio.as_completed` as usual.
    """

    def __init__(self, calls: Calls, bodies: Bodies) -> None:
        self._calls = calls
        self._bodies = bodies

    @overload
    async def run(
        self,
        id: str,
        fn: Callable[[*Ts], Awaitable[R]],
        /,
        *args: *Ts,
        retries: int | None = None,
        timeout: Duration | None = None,
        at_most_once: bool = False,
    ) -> R: ...
    @overload
    async def run(
        self,
        id: str,
        fn: Callable[[*Ts], R],
        /,
        *args: *Ts,
        retries: int | None = None,
        timeout: Duration | None = None,
        at_most_once: bool = False,
    ) -> R: ...
    async def run(
        self,
        id: str,
        fn: Callable[[*Ts], Any],
        /,
        *args: *Ts,
        retries: int | None = None,
        timeout: Duration | None = None,
        at_most_once: bool = False,
    ) -> Any:
        """Run `fn(*args)` once and record what it returns, decoded to its return annotation. Keywords are options.

        `fn` may be `async`, or plain: then it runs in a thread. It runs again only if it raises, as often as `retries`
        says (else as the function's do), or if its process is lost before its result is recorded; with `at_most_once`
        not even then: a step that was cut off fails. A try that takes longer than `timeout` fails with `TimeoutError`;
        a thread cannot be stopped, so a plain `fn` goes on in vain. `rotor.current_step()` gives `fn` a stable
        idempotency key.

        Raises `StepError` once the retries are used up, or at once for a `NonRetriableError` and for a result that has
        no JSON form.

            profile = await ctx.step.run("fetch-profile", fetch_profile, contact_id, retries=5, timeout="30s")
        """
        options = self._bodies.usual
        if retries is not None or timeout is not None or at_most_once:
            options = Options(
                retries=options.retries if retries is None else retries,
                timeout=None if timeout is None else parse_duration(timeout),
                at_most_once=at_most_once,
            )
        return await self._bodies.run(id, fn, args, options)

    async def sleep(self, id: str, duration: Duration) -> None:
        """Go on after `duration`, by the database's clock.

            await ctx.step.sleep("cool-off", "2d")

        No worker is held meanwhile, and no sleep ends early.
        """
        sleep_outcome(await self._park(id, "sleep", seconds=parse_duration(duration).total_seconds()))

    async def sleep_until(self, id: str, when: str | datetime) -> None:
        """Go on at `when`: an aware datetime or RFC 3339 text.

            await ctx.step.sleep_until("launch", "2030-01-01T09:00:00+01:00")

        An instant that has passed ends it at once.
        """
        until = step_arguments.instant(f"step.sleep_until({id!r})", "when", when)
        sleep_outcome(await self._park(id, "sleep", until=until))

    @overload
    async def wait_for_event(
        self,
        id: str,
        *,
        event: str,
        timeout: Duration,
        match: Match | None = None,
        since: str | datetime | None = None,
        data_type: type[D],
    ) -> Event[D] | None: ...
    @overload
    async def wait_for_event(
        self,
        id: str,
        *,
        event: str,
        timeout: Duration,
        match: Match | None = None,
        since: str | datetime | None = None,
        data_type: None = None,
    ) -> Event[Any] | None: ...
    async def wait_for_event(
        self,
        id: str,
        *,
        event: str,
        timeout: Duration,
        match: Match | None = None,
        since: str | datetime | None = None,
        data_type: Any = None,
    ) -> Event[Any] | None:
        """The first event of that name that fits `match` and that no earlier wait of this run took; None on timeout.

        Events count from the start of the run, though they came before this call; `since` narrows that: `"now"`, or an
        instant. The event's data is validated into `data_type`.

            opened = await ctx.step.wait_for_event(
                "wait-for-open", event="email.opened", match={"data.contactId": contact_id}, timeout="7d"
            )
        """
        call = f"step.wait_for_event({id!r})"
        topic = f"event:{step_arguments.name(call, 'event', event, 'the name of an event')}"
        wait = {**step_arguments.matching(call, match), **step_arguments.looking_back(since)}
        seconds = parse_duration(timeout).total_seconds()
        memo = await self._park(id, "wait_for_event", topic=topic, seconds=seconds, **wait)
        return event_outcome(memo, _type(data_type))

    @overload
    async def wait_for_signal(self, id: str, *, signal: str, timeout: Duration, data_type: type[D]) -> D: ...
    @overload
    async def wait_for_signal(self, id: str, *, signal: str, timeout: Duration, data_type: None = None) -> Any: ...
    async def wait_for_signal(self, id: str, *, signal: str, timeout: Duration, data_type: Any = None) -> Any:
        """The data with which `signal` is completed, now or earlier. Signal ids are unique in a workspace.

        The data is validated into `data_type`. Raises `SignalTimeoutError`, and `SignalConflictError` where another run
        waits for the same id.

            approval = await ctx.step.wait_for_signal("gate", signal=f"approval-{ctx.run_id}", timeout="48h")
        """
        step_arguments.name(f"step.wait_for_signal({id!r})", "signal", signal, "the id of a signal")
        seconds = parse_duration(timeout).total_seconds()
        memo = await self._park(id, "wait_for_signal", topic=f"signal:{signal}", seconds=seconds)
        return signal_outcome(memo, signal, _type(data_type))

    @overload
    async def invoke(
        self, id: str, *, workflow: Function[T, R], data: DataOf[T], timeout: Duration
    ) -> InvokeResult[R]: ...
    @overload
    async def invoke(self, id: str, *, workflow: str, data: object = None, timeout: Duration) -> InvokeResult[Any]: ...
    async def invoke(
        self, id: str, *, workflow: str | Function[Any, Any], data: object = None, timeout: Duration
    ) -> InvokeResult[Any]:
        """Start a run of another workflow, by its id or its function, with `data`, and wait for its result.

        Raises `WorkflowFailedError`, `WorkflowTimeoutError` (the child is then cancelled), `WorkflowCancelledError` and
        `UnknownFunctionError`.

            enriched = await ctx.step.invoke("enrich", workflow=enricher, data={"contactId": "c-1"}, timeout="5m")
            enriched.result, enriched.run_id
        """
        function_id = step_arguments.function_id(f"step.invoke({id!r})", workflow)
        result_type = Any if isinstance(workflow, str) else workflow.result_type
        payload = self._payload(data, id)
        seconds = parse_duration(timeout).total_seconds()

        def park(call: Call) -> None:
            traceparent = self._bodies.spans.of_sending(id, call.index)
            child = Child(function_id=function_id, data=payload, traceparent=traceparent)
            self._send_parked(call, "invoke", topic="child", seconds=seconds, child=child)

        memo = await self._calls.take(id, "invoke", park)
        return invoke_outcome(memo, function_id, result_type)

    async def send_event(
        self,
        id: str,
        *,
        name: str,
        data: object = None,
        event_id: str | None = None,
        ts: str | datetime | None = None,
    ) -> str:
        """Send an event exactly once, and return its id.

            await ctx.step.send_event("tell", name="contact.scored", data={"score": 7})

        `ts` in the future defers it. `event_id` is the event's own id, under which a second event starts nothing;
        unless given it is made of the run and the step.
        """
        step = f"step.send_event({id!r})"
        step_arguments.name(step, "name", name, "the name of an event")
        if event_id is not None:
            step_arguments.name(step, "event_id", event_id, "the id of the event")
        at = None if ts is None else step_arguments.instant(step, "ts", ts)
        payload = self._payload(data, id)

        def emit(call: Call) -> None:
            sent_id = event_id or idempotency_key(self._calls.outbox.run_id, id, call.index)
            traceparent = self._bodies.spans.of_sending(id, call.index)
            emission = Emission(name=name, data=payload, id=sent_id, ts=at, traceparent=traceparent)
            output = Raw(json.encode(sent_id))
            self._calls.report(call, StepDone, op="send_event", output=output, emit=emission)

        return sent_outcome(await self._calls.take(id, "send_event", emit))

    def _park(self, id: str, op: StepOp, **wait: Any) -> Awaitable[Memo]:
        return self._calls.take(id, op, partial(self._send_parked, op=op, **wait))

    def _send_parked(self, call: Call, op: StepOp, **wait: Any) -> None:
        self._calls.move(call, "waiting")
        self._calls.outbox.hold(StepParked, id=call.id, index=call.index, op=op, **wait)

    def _payload(self, data: object, id: str) -> Raw:
        return encode_payload(data, self._bodies.payload_bytes_max, f"the data of step {id!r}")


def _type(data_type: Any) -> Any:
    return Any if data_type is None else data_type
