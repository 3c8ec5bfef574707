"""`/v1/apps`: an app registers everything that it serves at once."""

from __future__ import annotations

import msgspec

from rotor.api.answers import Answer, json_answer
from rotor.api.calls import Call
from rotor.api.operations import Operation, Result
from rotor.protocol.messages import Manifest
from rotor.store import functions
from rotor.store.checks import url_problem
from rotor.store.functions import Registration
from rotor.store.problems import Invalid

__all__ = ["OPERATIONS"]


class Registered(msgspec.Struct, frozen=True):
    """What became of each function, in their order."""

    functions: list[Registration]


async def register(call: Call) -> Answer:
    given: Manifest = call.body
    if given.serve_url is None:
        raise Invalid([("serve_url", "is missing: where Rotor calls the app")])
    problem = url_problem(given.serve_url) or await call.store.destinations.problem(given.serve_url)
    if problem:
        raise Invalid([("serve_url", problem)])
    registered = await functions.register(
        call.store.database,
        call.workspace_id,
        given.functions,
        serve_url=given.serve_url,
        app=given.app,
        version=given.version,
    )
    call.store.changes.invokes = True
    is_new = any(one.result == "created" for one in registered)
    return json_answer(Registered(registered), 201 if is_new else 200)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/apps",
        "register_app",
        register,
        "Register all functions of an app, or change them",
        {
            201: Result("At least one is new.", Registered),
            200: Result("All were there: changed, or the same.", Registered),
        },
        "functions",
        access="operate",
        body=Manifest,
        details="All are registered or none. A function that the app no longer serves stays until it is deleted.",
    ),
)
