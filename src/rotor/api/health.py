"""`/healthz`, `/readyz`, `/metrics`: what those who watch over the server ask; none of it needs a key."""

from __future__ import annotations

import msgspec

from rotor import telemetry
from rotor.api.answers import Answer, json_answer
from rotor.api.calls import Call
from rotor.api.operations import Operation, Result
from rotor.api.problems import problem
from rotor.store import readiness

__all__ = ["OPERATIONS"]


class Health(msgspec.Struct, frozen=True):
    """`ok`."""

    status: str


async def alive(call: Call) -> Answer:
    return json_answer(Health("ok"))


async def ready(call: Call) -> Answer:
    hindrance = await readiness.hindrance(call.store.database)
    return json_answer(Health("ok")) if hindrance is None else problem(503, hindrance)


async def metrics(call: Call) -> Answer:
    return Answer(200, telemetry.exposition(), content_type=telemetry.CONTENT_TYPE.encode())


OPERATIONS = (
    Operation(
        "GET",
        "/healthz",
        "alive",
        alive,
        "The process answers",
        {200: Result("It does.", Health)},
        "health",
        access="open",
    ),
    Operation(
        "GET",
        "/readyz",
        "ready",
        ready,
        "The database answers and has the schema that this server needs",
        {200: Result("It does.", Health)},
        "health",
        access="open",
    ),
    Operation(
        "GET",
        "/metrics",
        "metrics",
        metrics,
        "Numbers in Prometheus' text format",
        {200: Result("The numbers.", None, telemetry.CONTENT_TYPE)},
        "health",
        access="open",
    ),
)
