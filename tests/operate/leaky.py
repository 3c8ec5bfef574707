"""Functions that fail in every way, each with the mark in all that they hold."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from rotor import Context, create_function
from rotor.errors import NonRetriableError, RotorError, StepError

__all__ = ["FUNCTIONS", "MARK", "WAYS"]

MARK = "hush-4f1c9a"


@dataclass
class Typed:
    number: int


class Unserialisable:
    def __repr__(self) -> str:
        return f"<{MARK}>"


def fails() -> None:
    raise ValueError(f"{MARK} in the message of an error")


def gives(value: Any) -> Any:
    return value


def gives_number() -> int:
    return MARK  # type: ignore[return-value]


async def takes_long() -> None:
    await asyncio.sleep(30)


async def raises(error: BaseException) -> None:
    raise error


async def catches(ctx: Context) -> None:
    try:
        await ctx.step.run("fail", fails)
    except StepError:
        raise RuntimeError(MARK) from None


WAYS: dict[str, Callable[[Context], Awaitable[Any]]] = {
    "body": lambda ctx: raises(NonRetriableError(f"{MARK} in the body")),
    "exit": lambda ctx: raises(SystemExit(MARK)),
    "error of ours": lambda ctx: raises(RotorError(MARK)),
    "step": lambda ctx: ctx.step.run("fail", fails),
    "caught step": catches,
    "result": lambda ctx: ctx.step.run("odd", gives, Unserialisable()),
    "type": lambda ctx: ctx.step.run("typed", gives_number),
    "size": lambda ctx: ctx.step.run("large", gives, MARK * 1_000_000),
    "timeout": lambda ctx: ctx.step.run("slow", takes_long, timeout="50ms"),
    "match": lambda ctx: ctx.step.wait_for_event("w", event="x", match=f'data.a == "{MARK}" +', timeout="1m"),
    "child": lambda ctx: ctx.step.invoke("sub", workflow="typed", data={"number": MARK}, timeout="1m"),
    "no child": lambda ctx: ctx.step.invoke("sub", workflow="nobody", data=MARK, timeout="1m"),
    "output": lambda ctx: asyncio.sleep(0, Unserialisable()),
    "none": lambda ctx: ctx.step.run("fine", gives, MARK),
}


@create_function(id="leaky", trigger={"event": "leaky"}, retries=0)
async def leaky(ctx: Context) -> Any:
    return await WAYS[ctx.event.data["way"]](ctx)


@create_function(id="naps", trigger={"event": "naps"})
async def naps(ctx: Context) -> None:
    await ctx.step.sleep("nap", "1h")


@create_function(id="typed", trigger={"event": "typed"}, retries=0)
async def typed(ctx: Context[Typed]) -> int:
    return ctx.event.data.number


FUNCTIONS = [leaky, naps, typed]
