"""One trace leads from whoever sent an event through runs and steps to children, and holds no payload."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp.web
import asyncpg
import pytest
from aiohttp.test_utils import TestServer
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rotor import Context, Rotor, create_function, serve_workflow, tracing
from rotor.sdk.resources import Run
from rotor.store.migrate import migrate
from tests.crashes.bench import Bench
from tests.operate.collector import Collector
from tests.operate.house import reaches, serving

MARK = "hush-4f1c"


@create_function(id="child", trigger={"event": "child.asked"})
async def child(ctx: Context) -> str:
    return await ctx.step.run("work", lambda: f"{MARK} worked")


@create_function(id="told", trigger={"event": "parent.told"}, retries=0)
async def told(ctx: Context) -> str:
    raise ValueError(f"{MARK} in an error")


@create_function(id="parent", trigger={"event": "parent.asked"}, retries=0)
async def parent(ctx: Context) -> str:
    await ctx.step.run("first", lambda: trace.get_tracer("user").start_span("of the user").end())
    await ctx.step.sleep("nap", "10ms")
    await ctx.step.send_event("tell", name="parent.told", data=MARK)
    return str((await ctx.step.invoke("ask", workflow=child, data={"secret": MARK}, timeout="1m")).result)


@create_function(id="waiter", trigger={"event": "waits.asked"}, retries=0)
async def waiter(ctx: Context) -> None:
    await ctx.step.sleep("nap", "10ms")
    await ctx.step.wait_for_event("mail", event="mail.came", timeout="1m")
    await ctx.step.wait_for_event("no-mail", event="mail.lost", timeout="10ms")
    await ctx.step.wait_for_signal("gate", signal="open-1", timeout="1m")
    await ctx.step.invoke("ask", workflow=child, data={"secret": MARK}, timeout="1m")


@create_function(id="napper", trigger={"event": "naps.asked"})
async def napper(ctx: Context) -> str:
    await ctx.step.sleep("nap", "10ms")
    return str((await ctx.step.invoke("ask", workflow=child, data=None, timeout="1m")).result)


FUNCTIONS = [child, napper]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Tracing as a process sets it up, with its spans kept here."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


async def ended(rotor: Rotor, function_id: str) -> Run:
    (run,) = (await rotor.runs.list(function_id=function_id)).items
    return await rotor.runs.wait(run.id, timeout=60)


async def test_one_trace_leads_from_the_sender_through_runs_and_steps_to_children(
    dsn: str, clean_schema: str, spans: InMemorySpanExporter
) -> None:
    await migrate(dsn, schema=clean_schema)
    async with serving(dsn, clean_schema, [parent, child, told]) as rotor:
        with trace.get_tracer("shop").start_as_current_span("checkout"):
            sent = await rotor.events.get(await rotor.send("parent.asked", {"secret": MARK}))
        run = await rotor.runs.wait(sent.runs[0].id, timeout=60)
        assert run.status == "completed", run.error
        assert (await ended(rotor, "told")).status == "failed"
    found = spans.get_finished_spans()
    assert len({span.context.trace_id for span in found}) == 1

    checkout = one(found, "checkout")
    accepted = one(found, "rotor send_events")
    assert parent_of(found, accepted) is checkout
    stays = [span for span in found if span.name == "run parent"]
    assert {parent_of(found, stay) for stay in stays} == {accepted}
    assert [stay.attributes["rotor.stay"] for stay in stays][-1] == "completed"
    assert {stay.attributes["rotor.run_id"] for stay in stays} == {run.id}
    first = one(found, "step first")
    assert parent_of(found, first) in stays
    assert parent_of(found, one(found, "of the user")) is first
    assert (first.attributes["rotor.step_id"], first.attributes["rotor.attempt"]) == ("first", 0)
    ask, tell = one(found, "step ask"), one(found, "step tell")
    assert parent_of(found, ask) in stays
    assert parent_of(found, one(found, "run child")) is ask
    assert parent_of(found, one(found, "step work")) is one(found, "run child")
    failed = one(found, "run told")
    assert parent_of(found, failed) is tell
    assert failed.attributes["error.type"] == "ValueError"
    assert not any(MARK in span.to_json() for span in spans.get_finished_spans())


async def test_where_an_app_is_served_each_stay_of_a_run_is_within_the_call_that_it_answers(
    dsn: str, clean_schema: str, spans: InMemorySpanExporter
) -> None:
    await migrate(dsn, schema=clean_schema)
    web = aiohttp.web.Application()
    async with serving(dsn, clean_schema) as rotor:
        serve_workflow(web, functions=[parent, child, told], dev=True, base_url=rotor.base_url)
        async with TestServer(web) as app, aiohttp.ClientSession() as session:
            async with session.put(app.make_url("/api/rotor")) as answer:
                assert answer.status == 200
            with trace.get_tracer("shop").start_as_current_span("checkout"):
                sent = await rotor.events.get(await rotor.send("parent.asked", {"secret": MARK}))
            run = await rotor.runs.wait(sent.runs[0].id, timeout=60)
            assert run.status == "completed", run.error
            assert (await ended(rotor, "told")).status == "failed"
    found = spans.get_finished_spans()
    assert {span.name for span in found if span.context.trace_id != one(found, "checkout").context.trace_id} <= {
        "rotor register_app",
        "rotor commit_checkpoints",
    }

    accepted = one(found, "rotor send_events")
    calls = [span for span in found if span.name == "invoke parent"]
    stays = [span for span in found if span.name == "run parent"]
    assert {parent_of(found, call) for call in calls} == {accepted}
    assert len(calls) == len(stays) == 3
    assert {parent_of(found, stay) for stay in stays} == set(calls)
    assert {call.attributes["rotor.run_id"] for call in calls} == {run.id}
    assert parent_of(found, one(found, "step first")) in stays
    assert parent_of(found, one(found, "of the user")) is one(found, "step first")
    asked = one(found, "invoke child")
    assert parent_of(found, asked) is one(found, "step ask")
    assert parent_of(found, one(found, "run child")) is asked
    assert parent_of(found, one(found, "step work")) is one(found, "run child")
    assert not any(MARK in span.to_json() for span in found)


async def test_each_wait_is_a_span_from_its_beginning_to_its_end(
    dsn: str, clean_schema: str, spans: InMemorySpanExporter
) -> None:
    await migrate(dsn, schema=clean_schema)
    async with serving(dsn, clean_schema, [waiter, child]) as rotor:
        sent = await rotor.events.get(await rotor.send("waits.asked", {"secret": MARK}))
        await reaches(rotor, sent.runs[0].id, "mail")
        await rotor.send("mail.came", MARK)
        await rotor.complete_signal("open-1", MARK)
        run = await rotor.runs.wait(sent.runs[0].id, timeout=60)
        assert run.status == "completed", run.error
    found = spans.get_finished_spans()
    waits = {span.attributes["rotor.step_id"]: span for span in found if span.name.startswith("wait ")}
    assert {name: (span.attributes["rotor.op"], span.attributes["rotor.status"]) for name, span in waits.items()} == {
        "nap": ("sleep", "completed"),
        "mail": ("wait_for_event", "completed"),
        "no-mail": ("wait_for_event", "timed_out"),
        "gate": ("wait_for_signal", "completed"),
        "ask": ("invoke", "completed"),
    }
    assert {parent_of(found, wait).name for wait in waits.values()} == {"rotor send_events"}
    assert {wait.context.trace_id for wait in waits.values()} == {one(found, "run child").context.trace_id}
    recorded = {step.id: step for step in run.steps}
    assert {name: (wait.start_time, wait.end_time) for name, wait in waits.items()} == {
        name: (nanoseconds(recorded[name].started_at), nanoseconds(recorded[name].ended_at)) for name in waits
    }
    assert not any(MARK in span.to_json() for span in found)


async def test_server_and_worker_send_their_spans_to_a_collector(dsn: str, clean_schema: str, tmp_path: Path) -> None:
    bench = Bench(dsn, clean_schema, tmp_path)
    await bench.open()
    with Collector() as collector:
        bench.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-token=t"}
        try:
            server = await bench.server()
            worker = bench.program("rotor.cli", "worker", "tests.operate.test_traces:FUNCTIONS")
            await worker.says("connected to")
            rotor = bench.client()
            asked = await rotor.events.get(await rotor.send("naps.asked", None))
            assert (await rotor.runs.wait(asked.runs[0].id, timeout=60)).output == f"{MARK} worked"
            for program in (worker, server):
                program.signal(signal.SIGTERM)
                assert await program.ended() == 0, program.said
        finally:
            await bench.close()
    spans = collector.spans
    assert {(span.service, span.name, spans[span.parent].name if span.parent else "") for span in spans.values()} == {
        ("rotor-server", "rotor send_events", ""),
        ("rotor-worker", "run napper", "rotor send_events"),
        ("rotor-server", "wait nap", "rotor send_events"),
        ("rotor-worker", "step ask", "run napper"),
        ("rotor-server", "wait ask", "rotor send_events"),
        ("rotor-worker", "run child", "step ask"),
        ("rotor-worker", "step work", "run child"),
    }
    assert len({span.trace for span in spans.values()}) == 1
    assert collector.tokens == {"t"}
    assert not any(MARK.encode() in body for body in collector.bodies)


async def test_a_server_that_does_not_trace_hands_the_senders_trace_on_and_no_nonsense(
    dsn: str, clean_schema: str
) -> None:
    assert not tracing.active()
    given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    nonsense = [f"00-{'0' * 32}-00f067aa0ba902b7-01", given.upper(), f"{given}-more", "x" * 5_000, ""]
    await migrate(dsn, schema=clean_schema)
    async with serving(dsn, clean_schema) as rotor, aiohttp.ClientSession() as session:
        for number, header in enumerate([given, *nonsense]):
            event = {"name": "a", "data": 1, "id": str(number)}
            headers = {"traceparent": header}
            async with session.post(f"{rotor.base_url}/v1/events", json=event, headers=headers) as answer:
                assert answer.status == 202
        connection = await asyncpg.connect(dsn, server_settings={"search_path": clean_schema})
        rows = await connection.fetch("SELECT traceparent FROM events ORDER BY id")
        await connection.close()
    assert [row["traceparent"] for row in rows] == [given, *[None] * len(nonsense)]


def test_where_nobody_traces_opentelemetry_is_not_even_imported() -> None:
    code = (
        "import sys, rotor, rotor.sdk.worker, rotor.sdk.session, rotor.tracing as t\n"
        "assert not t.active() and t.current() is None and t.start('a', 'server', None, {}) is None\n"
        "with t.span('a', 'server', None, {}) as span: assert span is None\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def one(found: tuple[ReadableSpan, ...], name: str) -> Any:
    (span,) = [span for span in found if span.name == name]
    return span


def nanoseconds(instant: Any) -> int:
    return int((instant - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1_000


def parent_of(found: tuple[ReadableSpan, ...], span: ReadableSpan) -> ReadableSpan:
    assert span.parent is not None, span.name
    return next(one for one in found if one.context.span_id == span.parent.span_id)  # type: ignore[union-attr]
