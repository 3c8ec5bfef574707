"""Values of many types as results of steps, of events and of runs."""

# No `from __future__ import annotations`: the classes below are resolved where they stand.

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NotRequired, TypedDict
from uuid import UUID

import msgspec
from pydantic import BaseModel

from rotor import Context
from rotor.errors import RetryAfterError, StepError
from tests.conformance.ledger import note
from tests.conformance.workflows import KeyData, workflow


class Colour(Enum):
    RED = "red"


class Plan(TypedDict):
    name: str
    seats: NotRequired[int]


@dataclass(frozen=True)
class Line:
    amount: Decimal
    at: datetime


class Point(msgspec.Struct):
    x: int
    y: float


class Person(BaseModel):
    name: str
    born: date
    lines: list[Line] = []


def a_dataclass() -> Line:
    return Line(Decimal("10.50"), datetime(2026, 1, 2, 3, 4, 5, 678901, UTC))


def a_typed_dict() -> Plan:
    return {"name": "pro", "seats": 3}


def a_struct() -> Point:
    return Point(1, 2.0)


def a_model() -> Person:
    return Person(name="Ada", born=date(1815, 12, 10), lines=[a_dataclass()])


def a_datetime() -> datetime:
    return datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


def a_duration() -> timedelta:
    return timedelta(days=1, microseconds=7)


def a_uuid() -> UUID:
    return UUID(int=7)


def a_decimal() -> Decimal:
    return Decimal("1.10")


def an_enum() -> Colour:
    return Colour.RED


def bytes_() -> bytes:
    return b"\x00\xff"


def a_set() -> set[int]:
    return {3, 1}


def a_tuple() -> tuple[int, str]:
    return (1, "one")


def models() -> list[Person | None]:
    return [a_model(), None]


def a_float() -> float:
    return 1.0


def a_large_number() -> int:
    return 2**64


def an_untyped_tuple():  # type: ignore[no-untyped-def]
    """Without an annotation the value is what its JSON is: a list, the first time as well."""
    return (1, Colour.RED)


BODIES = (
    a_dataclass, a_typed_dict, a_struct, a_model, a_datetime, a_duration, a_uuid, a_decimal, an_enum, bytes_, a_set,
    a_tuple, models, a_float, a_large_number, an_untyped_tuple,
)  # fmt: skip


@workflow("values.typed", retries=1)
async def typed(ctx: Context[KeyData]) -> None:
    """Notes what it sees of every step, the first time and on replay."""
    for body in BODIES:
        value = await ctx.step.run(body.__name__, body)
        note(ctx.event.data["key"], f"{ctx.attempt} {body.__name__} {type(value).__name__} {value == body()} {value!r}")
    if ctx.attempt == 0:
        raise RetryAfterError("replay", 0.05)


@dataclass
class Lead:
    key: str
    at: datetime
    plan: Plan


@workflow("values.data")
async def data(ctx: Context[Lead]) -> Lead:
    """The event's data, validated into a class, and back."""
    assert isinstance(ctx.event.data, Lead)
    return ctx.event.data


@workflow("values.model")
async def model(ctx: Context[Person]) -> str:
    return f"{ctx.event.data.name} {ctx.event.data.born.year}"


@workflow("values.echo")
async def echo(ctx: Context[Any]) -> Any:
    """The event's data as it comes out of Python again."""
    await ctx.step.run("echo", lambda: ctx.event.data)
    return ctx.event.data


class Opaque:
    """Nothing that JSON can hold."""


def circular() -> list[Any]:
    whole: list[Any] = []
    whole.append(whole)
    return whole


UNSTORABLE: dict[str, Any] = {
    "nan": lambda: float("nan"),
    "infinity": lambda: {"deep": [float("inf")]},
    "surrogate": lambda: "\ud800",
    "surrogate key": lambda: {"\udfff": 1},
    "object": lambda: [Opaque()],
    "circular": circular,
    "deep": lambda: msgspec.json.decode(b"[" * 200 + b"]" * 200),
    "large": lambda: "x" * (5 * 1024 * 1024),
    "wrong type": lambda: None,
}


@workflow("values.unstorable", retries=3)
async def unstorable(ctx: Context[KeyData]) -> Any:
    """A step whose result cannot be kept."""
    data = ctx.event.data

    def body() -> Any:
        note(data["key"], "try")
        return UNSTORABLE[data["kind"]]()

    def counted() -> int:
        note(data["key"], "try")
        return "no number"  # type: ignore[return-value]

    try:
        await ctx.step.run("unstorable", counted if data["kind"] == "wrong type" else body)
    except StepError as error:
        return [error.name, error.message]
    return "nothing was raised"


@workflow("values.unstorable-result", retries=3)
async def unstorable_result(ctx: Context[KeyData]) -> Any:
    note(ctx.event.data["key"], "body")
    return UNSTORABLE[ctx.event.data["kind"]]()
