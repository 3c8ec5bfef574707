"""The examples in the docstrings of public names, and what each needs to run: stand-ins for what its reader has."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import textwrap
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI

import rotor
from rotor import Context, Function, Rotor, SyncContext, create_function, errors, testing
from rotor.sdk import client
from rotor.sdk.steps import Step
from rotor.sdk.sync_steps import SyncStep
from tests.docs.stage import Stage

__all__ = ["Example", "examples", "run"]

_INDENTED = re.compile(r"(?:^(?: {4}.*|)(?:\n|\Z))+", re.MULTILINE)
_BARE = re.compile(r"^await .*$", re.MULTILINE)
"""Where the whole rest of a docstring is its example, a formatter takes the indent away."""
_WORKER_SECONDS = 0.3


@dataclass(frozen=True)
class Example:
    """One example: the name whose docstring has it, and its code."""

    name: str
    code: str


def examples() -> list[Example]:
    """Every example in the docstrings of what is public, and of the methods of its classes."""
    public = [rotor, *(getattr(rotor, name) for name in rotor.__all__)]
    public += [getattr(errors, name) for name in errors.__all__]
    public += [getattr(testing, name) for name in testing.__all__ if name != "RUN_ID"]
    public += [Step, SyncStep, client.Runs, client.Events, client.Functions, client.Apps]
    found: dict[str, Example] = {}
    for thing in public:
        for name, documented in _with_methods(thing):
            for code in _code(inspect.getdoc(documented) or ""):
                found.setdefault(code, Example(name, code))
    return list(found.values())


def run(example: Example, stage: Stage) -> None:
    """Run an example: as the body of a workflow where it takes steps, else as a script."""
    names = _names(example)
    if "ctx.step" in example.code and "create_function" not in example.code:
        _run_workflow(example, names, stage)
        return
    code = compile(example.code, example.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    awaited = eval(code, names)
    if inspect.iscoroutine(awaited):
        asyncio.run(awaited)


def _with_methods(thing: Any) -> Iterator[tuple[str, Any]]:
    name = thing.__name__
    yield name, thing
    if inspect.isclass(thing):
        for method, function in vars(thing).items():
            if not method.startswith("_") and inspect.isfunction(function):
                yield f"{name}.{method}", function


def _code(docstring: str) -> Iterator[str]:
    body = docstring.partition("\n\n")[2]
    blocks = [textwrap.dedent(block[0]).strip() for block in _INDENTED.finditer(body) if block[0].strip()]
    for block in blocks or _BARE.findall(body):
        if not block.startswith(">>>"):
            yield block


def _run_workflow(example: Example, names: dict[str, Any], stage: Stage) -> None:
    kind = "async def" if "await " in example.code else "def"
    exec(f"{kind} body(ctx):\n" + textwrap.indent(example.code, "    "), names)
    event = f"docstring.{example.name}"
    function: Function[Any, Any] = create_function(id=event, trigger={"event": event})(names["body"])
    stage.work(function, names["enricher"])
    run_id = stage.begin(function, {})
    if "wait_for_event" in example.code:
        stage.rotor.send("email.opened", {"contactId": names["contact_id"]})
    if "wait_for_signal" in example.code:
        stage.rotor.complete_signal(f"approval-{run_id}", {"approved": True})
    ended = stage.finish(run_id)
    assert ended.status == "completed", ended.error
    assert ended.steps


def _names(example: Example) -> dict[str, Any]:
    """What the examples take for granted."""
    return {
        **{name: getattr(rotor, name) for name in rotor.__all__},
        **{name: getattr(testing, name) for name in testing.__all__},
        "rotor": Rotor() if example.name.startswith("Rotor.") else rotor,
        "User": SimpleNamespace,
        "FastAPI": FastAPI,
        "admin": SimpleNamespace(site=SimpleNamespace(urls=[])),
        "application": _application,
        "asyncio": SimpleNamespace(run=_run_briefly),
        "contact_id": "c-1",
        "contacts": ["c-1", "c-2"],
        "enrich": _enrich,
        "enricher": _enricher,
        "fetch_profile": _echo,
        "greet": _echo,
        "partial": partial,
        "path": lambda route, view: (route, view),
        "payments": SimpleNamespace(charge=lambda amount, idempotency_key: idempotency_key),
        "send_mail": _echo,
        "send_welcome": _echo,
        "welcome": _welcome,
    }


def _echo(value: Any) -> Any:
    return value


def _enrich(ctx: SyncContext[Any], contact: str) -> str:
    return ctx.step.run(f"enrich-{contact}", str.upper, contact)


@create_function(id="enricher", trigger={"event": "docstring.enricher"})
async def _enricher(ctx: Context[Any]) -> int:
    return 7


@create_function(id="welcome", trigger={"event": "docstring.welcome"})
async def _welcome(ctx: Context[Any]) -> Any:
    return await ctx.step.run("greet", _echo, "hello")


async def _application(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """Any ASGI callable."""


def _run_briefly(work: Coroutine[Any, Any, None]) -> None:
    """`asyncio.run` of what would go on for ever."""

    async def briefly() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_WORKER_SECONDS):
                await work

    asyncio.run(briefly())
