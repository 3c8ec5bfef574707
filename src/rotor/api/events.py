"""`/v1/events`: accept events, and show one with the runs that it started."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec
from msgspec import structs

from rotor import limits, telemetry, tracing
from rotor.api.answers import Answer, json_answer
from rotor.api.authentication import require
from rotor.api.bodies import field_error
from rotor.api.calls import Call, header
from rotor.api.instants import Instant, read_event_time
from rotor.api.operations import Operation, Result
from rotor.engine.states import RUN_ENDED
from rotor.errors import PayloadError
from rotor.protocol import json
from rotor.protocol.json import Raw
from rotor.store import events, runs
from rotor.store.checks import CANCEL_RUN, event_name_problem, name_problem
from rotor.store.events import AcceptedEvent
from rotor.store.intake import NewEvent
from rotor.store.problems import Conflict, Invalid, NotFound

__all__ = ["OPERATIONS"]


class EventInput(msgspec.Struct, frozen=True):
    """An event to accept. The same `id` again changes nothing; `ts` in the future defers it."""

    name: str
    data: Raw
    id: str | None = None
    ts: Instant | None = None


class RunToCancel(msgspec.Struct, frozen=True, rename="camel"):
    """The data of `rotor/cancel.run`."""

    run_id: UUID


class EventIds(msgspec.Struct, frozen=True):
    """The ids of the accepted events, in their order."""

    ids: list[str]


_cancellation = msgspec.json.Decoder(RunToCancel)


async def send(call: Call) -> Answer:
    given: EventInput | list[EventInput] = call.body
    traceparent = tracing.current() or tracing.checked(header(call.scope, b"traceparent"))
    accepted = _new_events(given, call.api.store.payload_bytes_max, traceparent)
    for event in accepted:
        if event.name == CANCEL_RUN:
            require(call.caller, "operate")
            await _check_cancellation(call, event)
    ids = await call.store.intake.accept(call.workspace_id, accepted)
    telemetry.EVENTS.inc(len(ids))
    return json_answer(EventIds(ids), 202)


async def get(call: Call) -> Answer:
    event_id = call.path["event_id"]
    if name_problem(event_id):
        raise NotFound(f"there is no event {event_id[:64]!r}")
    return json_answer(await events.get(call.store.database, call.workspace_id, event_id))


async def _check_cancellation(call: Call, event: NewEvent) -> None:
    """Say at once that an event would cancel nothing, instead of letting it do nothing later.

    Raises `NotFound` for an unknown run and `Conflict` for one that has ended, unless the event was accepted before: a
    client that sends it again has only missed the answer.
    """
    database = call.store.database
    run_id = _cancellation.decode(event.data).run_id
    if event.id is not None and await events.exists(database, call.workspace_id, event.id):
        return
    if (await runs.status(database, call.workspace_id, run_id)) in RUN_ENDED:
        raise Conflict(f"run {run_id} has ended already: there is nothing to cancel")


def _new_events(
    given: EventInput | list[EventInput], payload_bytes_max: int, traceparent: str | None
) -> Sequence[NewEvent]:
    """The events to accept, all or none. Raises `Invalid` that names each field at fault, as in `[3].data`."""
    errors: list[tuple[str, str]] = []
    if isinstance(given, EventInput):
        accepted = [_new_event(given, "", payload_bytes_max, errors)]
    elif len(given) > limits.EVENTS_PER_REQUEST:
        message = f"holds {len(given):,} events; the limit is {limits.EVENTS_PER_REQUEST:,} (EVENTS_PER_REQUEST)"
        raise Invalid([("body", message)])
    else:
        accepted = [_new_event(one, f"[{number}].", payload_bytes_max, errors) for number, one in enumerate(given)]
    if errors:
        raise Invalid(errors[: limits.PAGE_ITEMS])
    return accepted if traceparent is None else [structs.replace(event, traceparent=traceparent) for event in accepted]


def _new_event(given: EventInput, place: str, payload_bytes_max: int, errors: list[tuple[str, str]]) -> NewEvent:
    problem = event_name_problem(given.name)
    if problem:
        errors.append((f"{place}name", problem))
    if given.id is not None:
        problem = name_problem(given.id)
        if problem:
            errors.append((f"{place}id", problem))
    try:
        json.check(given.data, payload_bytes_max=payload_bytes_max)
    except PayloadError as error:
        errors.append((f"{place}data", str(error)))
    else:
        if given.name == CANCEL_RUN:
            errors += _cancellation_errors(given.data, place)
    ts = None
    if given.ts is not None:
        try:
            ts = read_event_time(given.ts)
        except ValueError as error:
            errors.append((f"{place}ts", str(error)))
    return NewEvent(given.name, given.data, given.id, ts)


def _cancellation_errors(data: Raw, place: str) -> list[tuple[str, str]]:
    try:
        _cancellation.decode(data)
    except msgspec.ValidationError as error:
        field, message = field_error(error)
        return [(f"{place}data" if field == "body" else f"{place}data.{field}", message)]
    return []


OPERATIONS = (
    Operation(
        "POST",
        "/v1/events",
        "send_events",
        send,
        "Accept one event or a list of them",
        {202: Result("They are durable, and so are the runs that they start.", EventIds)},
        "events",
        access="send",
        body=EventInput | list[EventInput],
        details="All are accepted or none. The same `id` again, in this request or a later one, starts nothing again.",
    ),
    Operation(
        "GET",
        "/v1/events/{event_id}",
        "get_event",
        get,
        "One event with the runs that it started",
        {200: Result("The event.", AcceptedEvent)},
        "events",
        access="read",
        problems=(404,),
    ),
)
