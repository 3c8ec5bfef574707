"""How soon does an event find its waiter among 1,000,000 waiting runs?"""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

from benchmarks.arithmetic import after
from benchmarks.harness.checks import ended_runs
from benchmarks.harness.figures import Figure, WrongError, milliseconds
from benchmarks.harness.stage import Stage
from benchmarks.questions.events_to_waiters import wait
from rotor.engine.matching import parse_match

WAITERS = 1_000_000
EVENTS = 500
PAUSE_SECONDS = 0.02
FIRST_COPY = 10_000_000
"""What the copies wait for; nobody sends it."""

COPIES = "CREATE TEMPORARY TABLE copies (n int, run_id uuid, match_hash bigint, equals bytea)"
COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2"
CHANGED = {
    "events": ("id", {"id": "'copy-' || n", "data": "equals", "position": "nextval('event_order')"}),
    "runs": (
        "id",
        {"id": "copies.run_id", "event_id": "'copy-' || n", "created_at": "given.created_at - interval '1 day'"},
    ),
    "steps": ("run_id", {"run_id": "copies.run_id"}),
    "waits": ("run_id", {"run_id": "copies.run_id", "match_hash": "copies.match_hash", "equals": "copies.equals"}),
}
"""By table: the column that finds the row of a run that waits, and what is other in its copies."""


async def ask(stage: Stage) -> list[Figure]:
    """From the commit of the event to the commit that wakes the run; and to the end of the run, from the call.

    A wait that the server remembers is woken by the event's own commit, and nothing would be found among the others.
    """
    await stage.open()
    waiters, events = stage.size(WAITERS), stage.size(EVENTS)
    since = await wait(stage, 0, events)
    await fill(stage, since, waiters)
    await forget(stage)
    sent = {}
    for n in range(events):
        await asyncio.sleep(PAUSE_SECONDS)
        sent[n] = time.time()
        await stage.sender.send("benchmark.answer", {"n": n, "value": after(n, 7)})
    ended = await ended_runs(stage.rows, "waiter", events, since=since)
    whole = [(run.committed - sent[run.data["n"]]) * 1_000 for run in ended]
    found = [
        row[0] * 1_000
        for row in await stage.rows.fetch(
            """
            SELECT extract(epoch FROM pg_xact_commit_timestamp(steps.xmin) - pg_xact_commit_timestamp(events.xmin))
            ::float8 FROM steps JOIN events ON events.id = steps.event_id
            WHERE steps.op = 'wait_for_event' AND steps.status = 'completed'
            """
        )
    ]
    if len(found) != events:
        raise WrongError(f"{len(found)} of {events} waits were found")
    return [
        milliseconds("an event finds its waiter among 1,000,000, p99", found, 0.99, reach=10, aim=2),
        milliseconds("the same, from the call to the run's end, p50", whole, 0.5),
    ]


async def forget(stage: Stage) -> None:
    """A server that starts anew remembers none of the waits."""
    server, worker = stage.programs
    await server.stop()
    await stage.server()
    await worker.says("connected to", times=2)


async def fill(stage: Stage, since: float, count: int) -> None:
    """Copy a run that waits, as the product has written it, under other ids and for other events.

    They waited already for long: nothing of this writing, a GB and a half, is left to do while the events come.
    """
    run = await stage.rows.fetchrow(
        "SELECT id, event_id FROM runs WHERE function_id = 'waiter' AND created_at >= to_timestamp($1) LIMIT 1", since
    )
    assert run is not None
    await stage.rows.execute(COPIES)
    numbers = range(FIRST_COPY, FIRST_COPY + count)
    matches = ((n, uuid4(), parse_match(None, {"data.n": n}).match_hash, b'{"data.n":%d}' % n) for n in numbers)
    await stage.rows.copy_records_to_table("copies", records=matches)
    for table, (key, changed) in CHANGED.items():
        columns = [row[0] for row in await stage.rows.fetch(COLUMNS, stage.schema, table)]
        values = ", ".join(changed.get(column, f"given.{column}") for column in columns)
        await stage.rows.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} AS given, copies "
            f"WHERE given.{key} = $1",
            run["event_id"] if table == "events" else run["id"],
            timeout=300,
        )
    for table in CHANGED:
        await stage.rows.execute(f"VACUUM ANALYZE {table}", timeout=300)
    await stage.rows.execute("CHECKPOINT", timeout=300)
