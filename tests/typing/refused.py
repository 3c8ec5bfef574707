"""What a type checker must refuse: mypy and pyright refuse each marked line, and no other."""

from __future__ import annotations

from typing import Any, TypedDict

from rotor import Context, Rotor, SyncContext, SyncRotor, create_function


class Lead(TypedDict):
    contactId: str
    score: int


async def fetch(contact_id: str) -> int:
    return len(contact_id)


def score(contact_id: str, weight: int) -> int:
    return len(contact_id) * weight


@create_function(id="enricher", trigger={"event": "lead.created"})
async def enricher(ctx: Context[Lead]) -> str:
    ctx.event.data["contactID"]  # refused
    number: int = ctx.event.data["contactId"]  # refused
    return str(number)


@create_function(id="wrong", trigger={"event": "wrong"})
async def wrong(ctx: Context[Any]) -> None:
    await ctx.step.run("fetch", fetch, 3)  # refused
    await ctx.step.run("score", score, "a", "b")  # refused
    await ctx.step.run("score", score, "a")  # refused
    await ctx.step.run("fetch", fetch, "a", retrys=3)  # refused
    text: str = await ctx.step.run("fetch", fetch, "a")  # refused
    await ctx.step.invoke("no-timeout", workflow="enricher", data=None)  # refused
    await ctx.step.invoke("no-timeout", workflow=enricher, data={"contactId": "a", "score": 1})  # refused
    await ctx.step.invoke("wrong-data", workflow=enricher, data={"contactId": 1, "score": 1}, timeout=1)  # refused
    await ctx.step.invoke("less-data", workflow=enricher, data={"contactId": "a"}, timeout=1)  # refused
    await ctx.step.invoke("other-data", workflow=enricher, data=3, timeout=1)  # refused
    number: int = (  # refused
        await ctx.step.invoke("result", workflow=enricher, data=Lead(contactId="a", score=1), timeout=1)
    ).result
    await ctx.step.wait_for_signal("gate", signal="s")  # refused
    await ctx.step.wait_for_event("open", event="opened")  # refused
    await ctx.step.sleep("nap", [1])  # refused
    assert text
    assert number


@create_function(id="blocking", trigger={"event": "wrong"})
def blocking(ctx: SyncContext[Lead]) -> None:
    ctx.step.run("score", score, 1, 2)  # refused
    ctx.step.invoke("no-timeout", workflow=enricher, data={"contactId": "a", "score": 1})  # refused


@create_function(id="a", trigger={"evnt": "a"})  # refused
async def misspelt(ctx: Context[Any]) -> None: ...


@create_function(id="b", trigger={"event": "a", "timezone": "UTC"})  # refused
async def mixed(ctx: Context[Any]) -> None: ...


@create_function(id="c", trigger={"event": 3})  # refused
async def number_for_a_name(ctx: Context[Any]) -> None: ...


@create_function(id="d")  # refused
async def never_started(ctx: Context[Any]) -> None: ...


@create_function(id="e", trigger={"event": "a"})  # refused
async def of_no_context(ctx: int) -> None: ...


async def use_client(rotor: Rotor, blocking: SyncRotor) -> None:
    await rotor.send(3)  # refused
    await rotor.send_many([{"nmae": "a"}])  # refused
    await rotor.runs.list(status="done")  # refused
    blocking.send("a", {}, "id")  # refused
    blocking.runs.wait(3)  # refused
