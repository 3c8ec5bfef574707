"""`/v1/functions`: register, list, show, pause, resume and delete functions."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from rotor import limits
from rotor.api.answers import Answer, json_answer
from rotor.api.calls import Call
from rotor.api.operations import Operation, Result
from rotor.protocol.messages import FunctionSpec, Trigger
from rotor.store import functions
from rotor.store.checks import function_problems, name_problem, text_problem, url_problem
from rotor.store.functions import Function
from rotor.store.pages import Page
from rotor.store.problems import Invalid, NotFound

__all__ = ["OPERATIONS"]


class FunctionInput(msgspec.Struct, frozen=True, kw_only=True):
    """A function that an app serves at `serve_url`, with one trigger in `trigger_...` or several in `triggers`."""

    id: str
    serve_url: str
    trigger_type: Literal["event", "cron"] | None = None
    trigger_event: str | None = None
    trigger_match: str | None = None
    trigger_cron: str | None = None
    trigger_timezone: str | None = None
    triggers: list[Trigger] | None = None
    retries: int = 3
    app: str = ""
    version: str = ""


class PageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which page of a list."""

    cursor: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=limits.PAGE_ITEMS)] = 50


async def register(call: Call) -> Answer:
    given: FunctionInput = call.body
    function = FunctionSpec(id=given.id, triggers=_triggers(given), retries=given.retries)
    errors = [
        (_flat(field) if given.triggers is None else field, message) for field, message in function_problems(function)
    ]
    for field, problem in (
        ("serve_url", url_problem(given.serve_url) or await call.store.destinations.problem(given.serve_url)),
        ("app", text_problem(given.app)),
        ("version", text_problem(given.version)),
    ):
        if problem:
            errors.append((field, problem))
    if errors:
        raise Invalid(errors)
    database = call.store.database
    registered = await functions.register(
        database, call.workspace_id, [function], serve_url=given.serve_url, app=given.app, version=given.version
    )
    call.store.changes.invokes = True
    status = 201 if registered[0].result == "created" else 200
    return json_answer(await functions.get(database, call.workspace_id, given.id), status)


async def page(call: Call) -> Answer:
    query: PageQuery = call.query
    return json_answer(
        await functions.page(call.store.database, call.workspace_id, cursor=query.cursor, items_max=query.limit)
    )


async def get(call: Call) -> Answer:
    return json_answer(await functions.get(call.store.database, call.workspace_id, _function_id(call)))


async def delete(call: Call) -> Answer:
    await functions.delete(call.store.database, call.store.committer, call.workspace_id, _function_id(call))
    return Answer(204)


async def pause(call: Call) -> Answer:
    return json_answer(await functions.pause(call.store.database, call.workspace_id, _function_id(call)))


async def resume(call: Call) -> Answer:
    function = await functions.resume(call.store.database, call.workspace_id, _function_id(call))
    call.store.changes.queued.set()
    return json_answer(function)


def _function_id(call: Call) -> str:
    function_id = call.path["function_id"]
    if name_problem(function_id):
        raise NotFound(f"there is no function {function_id[:64]!r}")
    return function_id


def _triggers(given: FunctionInput) -> list[Trigger]:
    """The triggers that are meant. Raises `Invalid` where the two forms are mixed or one does not fit its type."""
    flat = {
        "trigger_event": given.trigger_event,
        "trigger_match": given.trigger_match,
        "trigger_cron": given.trigger_cron,
        "trigger_timezone": given.trigger_timezone,
    }
    if given.triggers is not None:
        mixed = [name for name, value in {"trigger_type": given.trigger_type, **flat}.items() if value is not None]
        if mixed:
            raise Invalid([(name, "stands beside triggers: give one or the other") for name in mixed])
        return given.triggers
    if given.trigger_type is None:
        raise Invalid([("trigger_type", 'is missing: "event" or "cron", or a list of triggers')])
    if flat[f"trigger_{given.trigger_type}"] is None:
        raise Invalid([(f"trigger_{given.trigger_type}", f'is missing, and trigger_type is "{given.trigger_type}"')])
    return [
        Trigger(
            event=given.trigger_event,
            match=given.trigger_match,
            cron=given.trigger_cron,
            timezone=given.trigger_timezone,
        )
    ]


def _flat(field: str) -> str:
    return field.replace("triggers[0].", "trigger_")


_SHOWN = {200: Result("The function.", Function)}

OPERATIONS = (
    Operation(
        "POST",
        "/v1/functions",
        "register_function",
        register,
        "Register a function, or change it",
        {201: Result("It is new.", Function), 200: Result("It was there: changed, or the same.", Function)},
        "functions",
        access="operate",
        body=FunctionInput,
    ),
    Operation(
        "GET",
        "/v1/functions",
        "list_functions",
        page,
        "The functions of the workspace by id",
        {200: Result("One page.", Page[Function])},
        "functions",
        access="read",
        query=PageQuery,
    ),
    Operation(
        "GET",
        "/v1/functions/{function_id}",
        "get_function",
        get,
        "One function",
        _SHOWN,
        "functions",
        access="read",
        problems=(404,),
    ),
    Operation(
        "DELETE",
        "/v1/functions/{function_id}",
        "delete_function",
        delete,
        "Delete a function and cancel its open runs",
        {204: Result("It is gone.")},
        "functions",
        access="admin",
        problems=(404,),
    ),
    Operation(
        "POST",
        "/v1/functions/{function_id}/pause",
        "pause_function",
        pause,
        "Begin no run of a function until it is resumed",
        _SHOWN,
        "functions",
        access="operate",
        problems=(404,),
    ),
    Operation(
        "POST",
        "/v1/functions/{function_id}/resume",
        "resume_function",
        resume,
        "Let a paused function go on",
        _SHOWN,
        "functions",
        access="operate",
        problems=(404,),
    ),
)
