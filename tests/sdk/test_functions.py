"""A function is checked where it is written: what cannot work is refused there, by the argument at fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import pytest

from rotor import Context, SyncContext, create_function
from rotor.errors import ConfigError
from rotor.protocol.messages import FunctionSpec, Trigger
from rotor.sdk.functions import Function


class Lead(TypedDict):
    contact_id: str


@create_function(id="enrich", trigger={"event": "lead.created", "match": "data.score > 3"}, retries=1)
async def enrich(ctx: Context[Lead]) -> list[str]:
    """Enriches a lead."""
    return [ctx.event.data["contact_id"]]


def test_a_function_says_what_starts_it_and_what_it_takes_and_gives() -> None:
    assert enrich.spec == FunctionSpec(
        id="enrich", triggers=[Trigger(event="lead.created", match="data.score > 3")], retries=1
    )
    assert (enrich.id, enrich.is_async, enrich.data_type) == ("enrich", True, Lead)
    assert enrich.result_type == list[str]
    assert enrich.__doc__ == "Enriches a lead."


def test_a_plain_def_is_a_function_too_and_local_classes_are_found() -> None:
    @dataclass
    class Report:
        day: str

    @create_function(id="report", trigger=[{"cron": "0 9 * * 1", "timezone": "Europe/Paris"}, {"event": "report.now"}])
    def report(ctx: SyncContext[Report]) -> Report:
        return ctx.event.data

    assert not report.is_async
    assert report.data_type is Report
    assert report.result_type is Report
    assert report.spec.triggers == [Trigger(cron="0 9 * * 1", timezone="Europe/Paris"), Trigger(event="report.now")]
    assert report.spec.retries == 3


def test_a_bare_context_takes_any_data() -> None:
    @create_function(id="bare", trigger={"event": "x"})
    async def bare(ctx: Context) -> None: ...  # type: ignore[type-arg]

    @create_function(id="untyped", trigger={"event": "x"})
    async def untyped(ctx):  # type: ignore[no-untyped-def]
        return ctx

    assert bare.data_type is Any
    assert untyped.data_type is Any
    assert untyped.result_type is Any


async def handler(ctx: Context[Any]) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"id": ""}, "id must be a text"),
        ({"id": "a\n"}, "id"),
        ({"id": "x" * 257}, "256 .ID_CHARACTERS."),
        ({"retries": -1}, "retries of function 'f'"),
        ({"retries": True}, "retries"),
        ({"retries": 101}, "from 0 to 100"),
        ({"trigger": []}, "1 to 16"),
        ({"trigger": "user.created"}, "trigger"),
        ({"trigger": ["user.created"]}, "must be a dict"),
        ({"trigger": {}}, 'either "event" or "cron"'),
        ({"trigger": {"event": "a", "cron": "* * * * *"}}, "not both"),
        ({"trigger": {"event": "a", "timezone": "UTC"}}, 'timezone; beside "event"'),
        ({"trigger": {"cron": "* * * * *", "match": "true"}}, 'match; beside "cron"'),
        ({"trigger": {"event": 3}}, "event must be a text"),
        ({"trigger": {"event": "a", "match": "x" * 1025}}, "EXPRESSION_CHARACTERS"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        create_function(**{"id": "f", "trigger": {"event": "a"}, **arguments})(handler)


async def generator(ctx: Context[Any]) -> Any:
    yield 1


async def two(ctx: Context[Any], other: int) -> None: ...


async def none() -> None: ...


async def of_sync(ctx: SyncContext[Any]) -> None: ...


def of_async(ctx: Context[Any]) -> None: ...


async def of_int(ctx: int) -> None: ...


async def lost(ctx: Context[Missing]) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (generator, "does not yield"),
        (two, "one argument"),
        (none, "one argument"),
        (Lead, "def or an async def"),
        (of_sync, "annotate its parameter as Context, not SyncContext"),
        (of_async, "annotate its parameter as SyncContext, not Context"),
        (of_int, "must take a Context"),
        (lost, "run time"),
    ],
)
def test_a_handler_that_cannot_be_used_is_refused(wrong: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        create_function(id="f", trigger={"event": "a"})(wrong)


def test_other_arguments_may_have_defaults() -> None:
    async def tunable(ctx: Context[Any], limit: int = 3, *rest: int, **options: int) -> None: ...

    function: Function[Any, Any] = create_function(id="f", trigger={"event": "a"})(tunable)
    assert function.id == "f"
