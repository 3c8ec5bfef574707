"""What a type checker must accept, and read right: nothing in this file is an error in mypy or pyright, both strict."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, assert_type
from uuid import UUID

from rotor import (
    Context,
    Event,
    Function,
    InvokeResult,
    NewEvent,
    Rotor,
    SyncContext,
    SyncRotor,
    connect,
    create_function,
    serve_workflow,
)
from rotor.sdk.resources import Completion, Page, Run, Step
from rotor.testing import RUN_ID, Execution, event, execute, execute_sync, signal


class Lead(TypedDict):
    contactId: str
    score: int


class Batch(TypedDict):
    leads: list[Lead]


@dataclass
class Profile:
    email: str


async def fetch(contact_id: str) -> Profile:
    return Profile(contact_id)


def score(profile: Profile, weight: int = 1) -> int:
    return len(profile.email) * weight


def stamp() -> datetime:
    return datetime.min


@create_function(id="bare", trigger={"event": "lead.seen"})
async def bare(ctx: Context) -> dict[str, str]:
    assert_type(ctx, Context[Any])
    return {"contact": str(ctx.event.data["contactId"])}


@create_function(id="bare-and-blocking", trigger={"event": "lead.seen"})
def bare_and_blocking(ctx: SyncContext) -> None:
    assert_type(ctx.step.run("score", score, Profile("e")), int)


@create_function(id="enricher", trigger={"event": "lead.created", "match": "data.score > 3"}, retries=5)
async def enricher(ctx: Context[Lead]) -> list[UUID]:
    assert_type(ctx.event, Event[Lead])
    assert_type(ctx.event.data["contactId"], str)
    profile = await ctx.step.run("fetch", fetch, ctx.event.data["contactId"], retries=2, timeout="30s")
    assert_type(profile, Profile)
    assert_type(await ctx.step.run("score", score, profile, 3), int)
    assert_type(await ctx.step.run("default", score, profile), int)
    assert_type(await ctx.step.run("stamp", stamp), datetime)
    both = await asyncio.gather(ctx.step.run("a", fetch, "1"), ctx.step.run("b", score, profile))
    assert_type(both, tuple[Profile, int])
    return []


@create_function(id="batcher", trigger=[{"event": "batch"}, {"cron": "0 9 * * 1", "timezone": "Europe/Paris"}])
async def batcher(ctx: Context[Batch]) -> str:
    return ctx.run_id


@create_function(id="report", trigger={"cron": "@daily"})
def report(ctx: SyncContext[Profile]) -> int:
    assert_type(ctx.event.data.email, str)
    assert_type(ctx.step.run("score", score, ctx.event.data, 2), int)
    assert_type(
        ctx.step.invoke("enrich", workflow=enricher, data={"contactId": "a", "score": 1}, timeout="5m").result,
        list[UUID],
    )
    return ctx.attempt


@create_function(id="anything", trigger={"event": "anything"})
async def anything(ctx: Context[Any]) -> None:
    await ctx.step.sleep("nap", "1h30m")
    await ctx.step.sleep_until("launch", "2030-01-01T09:00:00Z")
    enriched = await ctx.step.invoke("enrich", workflow=enricher, data={"contactId": "a", "score": 1}, timeout="5m")
    assert_type(enriched, InvokeResult[list[UUID]])
    assert_type(enriched.run_id, str)
    await ctx.step.invoke("again", workflow=enricher, data=Lead(contactId="a", score=1), timeout=30)
    await ctx.step.invoke("batch", workflow=batcher, data={"leads": [{"contactId": "a", "score": 1}]}, timeout=30)
    await ctx.step.invoke("report", workflow=report, data=Profile("a"), timeout=30)
    by_name = await ctx.step.invoke("named", workflow="contact-enricher", data={"any": ["thing"]}, timeout="5m")
    assert_type(by_name, InvokeResult[Any])
    opened = await ctx.step.wait_for_event("open", event="opened", match={"data.id": 1}, timeout="7d", data_type=Lead)
    assert_type(opened, Event[Lead] | None)
    assert_type(await ctx.step.wait_for_signal("gate", signal="s", timeout="2d", data_type=Profile), Profile)
    await ctx.step.send_event("tell", name="told", data={"any": "thing"})


FUNCTIONS: list[Function[Any, Any]] = [enricher, batcher, report, anything]
WORKER = connect([*FUNCTIONS, enricher])
APP = serve_workflow(print, functions=[enricher, report])
TYPED: Function[Lead, list[UUID]] = enricher


async def use_client(rotor: Rotor) -> None:
    assert_type(await rotor.send("user.created", {"userId": "1"}, id="e1"), str)
    assert_type(await rotor.send_many([{"name": "a", "data": 1}, {"name": "b"}]), list[str])
    assert_type(await rotor.runs.list(status="failed"), Page[Run])
    assert_type(await rotor.complete_signal("gate", {"approved": True}), Completion)


def use_blocking_client(rotor: SyncRotor, events: list[NewEvent]) -> None:
    assert_type(rotor.send("user.created", {"userId": "1"}, id="e1"), str)
    assert_type(rotor.send_many(events), list[str])
    assert_type(rotor.runs.wait("r1", timeout="5m"), Run)
    for change in rotor.runs.stream("r1"):
        change.id.upper()


async def tests_of_workflows() -> None:
    happens = [event("email.opened", {"id": 1}), signal(f"approval-{RUN_ID}", {"approved": True}, after="2h")]
    execution = await execute(enricher, {"contactId": "c-1"}, results={"score": 7}, happens=happens)
    assert_type(execution, Execution)
    assert_type(execution.step("score"), Step)
    assert_type(execute_sync(batcher, children={"enricher": enricher}), Execution)
