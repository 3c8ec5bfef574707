"""The statements that servers run all day find their rows by index, however full the tables are."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from rotor.store.database import Database
from rotor.store.statements import statement, workspace_statement

LEASE = UUID(int=1)
ROWS = 20_000
BATCH = 20
LARGE = "runs|steps|waits|events|event_values|signals|deliveries"

FILL = f"""
INSERT INTO functions (workspace_id, id, serve_url)
SELECT 1, 'f' || n, CASE WHEN n > 4 THEN 'https://app.example.com' END FROM generate_series(0, 9) AS n;

INSERT INTO triggers (workspace_id, function_id, position, event_name)
SELECT 1, 'f' || n % 10, n, 'name' || n FROM generate_series(1, {ROWS // 10}) AS n;

INSERT INTO leases (id, workspace_id, kind, holder, slots, expires_at)
VALUES ('{LEASE}', 1, 'worker', 'w', 10, rotor_now() + interval '1 hour');

CREATE FUNCTION run(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT lpad(to_hex(n), 32, '0')::uuid $$;

INSERT INTO events (workspace_id, id, name, data, ts, accepted_at, effective_at, position)
SELECT 1, 'e' || n, 'name' || n % 50, '{{}}', at, at, at, n
FROM generate_series(1, {ROWS}) AS n, LATERAL (SELECT rotor_now() - n * interval '1 second' AS at) AS clock;

INSERT INTO runs (id, workspace_id, function_id, event_id, parent_run_id, parent_step_id, parent_step_index,
                  status, due_at, lease_id, ended_at, changed_group, created_at)
SELECT run(n), 1, 'f' || n % 10, 'e' || n,
       CASE WHEN n % 21 = 0 THEN run(n / 21) END, CASE WHEN n % 21 = 0 THEN 's0' END, CASE WHEN n % 21 = 0 THEN 0 END,
       status,
       CASE WHEN status = 'queued' THEN rotor_now() + n % 3 * interval '1 hour' END,
       CASE WHEN status = 'running' THEN '{LEASE}'::uuid END,
       CASE WHEN status = 'completed' THEN rotor_now() END, n, rotor_now()
FROM generate_series(1, {ROWS}) AS n,
     LATERAL (SELECT (ARRAY['queued', 'waiting', 'running', 'completed'])[n % 4 + 1] AS status) AS drawn;

INSERT INTO steps (run_id, id, index, op, status, started_at, ended_at, settled_group, position)
SELECT run(n), 's' || k, 0, CASE WHEN k = 0 THEN 'wait_for_event' ELSE 'run' END,
       CASE WHEN k = 0 THEN 'waiting' ELSE 'completed' END, rotor_now(), CASE WHEN k > 0 THEN rotor_now() END, n, k
FROM generate_series(1, {ROWS}) AS n, generate_series(0, 2) AS k;

INSERT INTO waits (run_id, step_id, step_index, workspace_id, deadline, topic, path, match_hash, since)
SELECT run(n), 's0', 0, 1, rotor_now() + n * interval '1 second', 'event:name' || n % 50, 'data.id', n, rotor_now()
FROM generate_series(1, {ROWS}) AS n;

INSERT INTO event_names SELECT 1, 'name' || n FROM generate_series(0, 49) AS n;
INSERT INTO event_paths SELECT 1, 'name' || n, 'data.id', rotor_now() FROM generate_series(0, 49) AS n;
INSERT INTO event_values SELECT workspace_id, name, position, effective_at, position, id FROM events;

INSERT INTO signals (workspace_id, id, run_id, step_id, step_index)
SELECT 1, 'sig' || n, run(n), 's0', 0 FROM generate_series(1, {ROWS}) AS n;

INSERT INTO deliveries (due_at, deferred, workspace_ids, event_ids)
SELECT rotor_now() + n * interval '1 minute', true, ARRAY[1], ARRAY['e' || n] FROM generate_series(1, {ROWS}) AS n;

ANALYZE;
"""

runs = [UUID(int=n) for n in range(1, BATCH + 1)]
joined, each_one = ",".join(map(str, runs)), ",".join(["1"] * BATCH)
none: list[Any] = [None] * BATCH
zeros = [0] * BATCH
ones = [1] * BATCH
first_steps = ["s0"] * BATCH
long_ago = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
month = timedelta(days=30)

CASES: dict[str, tuple[set[str], tuple[Any, ...]]] = {
    "claim_runs": ({"runs_due", "runs_pkey"}, (1, LEASE, ["f1", "f2"], BATCH, 1, 100)),
    "claim_invocations": ({"runs_due", "runs_pkey"}, (BATCH, month, 100, [2], ones, ["f9"] * BATCH)),
    "lock_runs": ({"leases_pkey", "runs_pkey"}, (runs, runs[:5], [LEASE], [LEASE])),
    "put_progress": (
        {"leases_pkey", "runs_pkey", "steps_pkey"},
        (
            [LEASE],
            [1],
            joined,
            each_one,
            ["s3"] * BATCH,
            each_one,
            [b"1"] * BATCH,
            each_one,
            joined,
            each_one,
            [b"1"] * BATCH,
        ),
    ),
    "put_end": ({"leases_pkey", "runs_pkey", "steps_pkey"}, (LEASE, 1, runs[0], b"1")),
    "put_result": ({"leases_pkey", "runs_pkey"}, (LEASE, 1, runs[0], "s3", 0, b"1", 5)),
    "put_parks": (
        {"leases_pkey", "runs_pkey"},
        (
            [LEASE],
            [1],
            joined,
            each_one,
            each_one,
            ",".join(["true"] * BATCH),
            ["s4"] * BATCH,
            each_one,
            [60.0] * BATCH,
            none,
        ),
    ),
    "put_wakes": (
        {"leases_pkey", "runs_pkey", "functions_pkey", "waits_pkey", "steps_pkey"},
        ([LEASE], [1], joined, each_one, first_steps, each_one, ["e1"] * BATCH, [b"1"] * BATCH),
    ),
    "read_known": (
        {"steps_pkey", "waits_pkey", "steps_taken"},
        (runs, first_steps, zeros, runs, ["e1"] * BATCH, runs, [True] * BATCH),
    ),
    "lock_signals": ({"signals_pkey"}, (ones, [f"sig{n}" for n in range(BATCH)])),
    "put_batch": (
        {"steps_pkey", "waits_pkey", "runs_pkey"},
        (
            *(runs, ["s1"] * BATCH, zeros, ["run"] * BATCH, ["completed"] * BATCH, ones, *[none] * 7, zeros),
            *(runs, first_steps, zeros),
            *(runs, ["s2"] * BATCH, zeros, ones, [60.0] * BATCH, *[none] * 7),
            *(runs, ["running"] * BATCH, none, zeros, zeros, zeros, *[none] * 4, [False] * BATCH),
        ),
    ),
    "close_steps": ({"steps_pkey", "waits_pkey", "signals_run"}, (runs, month, long_ago)),
    "release_signals": ({"signals_pkey"}, (ones, [f"sig{n}" for n in range(BATCH)], month)),
    "read_memos": ({"steps_pkey"}, (runs, zeros)),
    "read_news": ({"steps_pkey"}, (runs, runs)),
    "read_held_news": ({"runs_pkey"}, (runs, zeros)),
    "read_held_runs": ({"runs_held"}, (UUID(int=2),)),
    "read_due_waits": ({"waits_deadline"}, (1_000,)),
    "accept_events": (
        {"workspaces_pkey", "events_pkey", "functions_pkey", "leases_pkey"},
        (
            *(
                [1],
                [0],
                ["1"] * BATCH,
                [f"new{n}" for n in range(BATCH)],
                ["name1"] * BATCH,
                [b"1"] * BATCH,
                none,
                none,
            ),
            *(["1"] * BATCH, ["name1"] * BATCH, ones, ["e"] * BATCH, ones, [1], month),
            *(runs, ["1"] * BATCH, ["f1"] * BATCH, ["e"] * BATCH, ones, ["1"], ["f1"]),
            *([LEASE], [1], ones),
        ),
    ),
    "accept_event": (
        {"workspaces_pkey", "events_pkey", "functions_pkey", "leases_pkey"},
        (1, 0, "new", "name1", b"1", None, [1], month, runs, ["f1"] * BATCH, [LEASE], [1], ones),
    ),
    "accept_event_and_wake": (
        {
            *("workspaces_pkey", "events_pkey", "deliveries_oldest"),
            *("leases_pkey", "runs_pkey", "functions_pkey", "waits_pkey", "steps_pkey"),
        },
        (1, 0, "new", "name1", b"1", None, [1], month, LEASE, 1, UUID(int=1), 1, "s1", 0, b"1", [1]),
    ),
    "accept_and_wake": (
        {
            *("workspaces_pkey", "events_pkey", "deliveries_oldest"),
            *("leases_pkey", "runs_pkey", "functions_pkey", "waits_pkey", "steps_pkey"),
        },
        (
            *(
                [1],
                [0],
                ["1"] * BATCH,
                [f"new{n}" for n in range(BATCH)],
                ["name1"] * BATCH,
                [b"1"] * BATCH,
                none,
                none,
            ),
            *(["1"] * BATCH, ["name1"] * BATCH, ones, ["e"] * BATCH, ones, [1], month),
            *([LEASE], [1], joined, each_one, each_one, first_steps, each_one, each_one, ["e1"] * BATCH),
            *([b"1"] * BATCH, ones),
        ),
    ),
    "insert_runs": (
        {"leases_pkey", "functions_pkey"},
        (*(runs, ones, ["f1"] * BATCH, ["e"] * BATCH, zeros, none, none, none, none), *([LEASE], [1], ones)),
    ),
    "read_event_subscribers": (
        {"workspaces_pkey", "triggers_event", "event_names_pkey", "event_paths_pkey"},
        (ones, [f"name{n}" for n in range(BATCH)]),
    ),
    "find_waits": (
        {"waits_topic", "runs_pkey", "deliveries_oldest", "event_values_pkey", "event_paths_pkey"},
        (ones, [f"event:name{n % 50}" for n in range(BATCH)], list(range(BATCH)), ones, 1_000),
    ),
    "find_wait_keys": ({"waits_topic"}, (ones, [f"event:name{n % 50}" for n in range(BATCH)], list(range(BATCH)))),
    "delete_deliveries": ({"deliveries_pkey", "workspaces_pkey"}, (ones, [1], [0])),
    "find_events": (
        {"event_values_pkey", "events_name", "events_pkey", "waits_pkey"},
        (runs, first_steps, zeros, [long_ago] * BATCH, zeros, 50),
    ),
    "read_waits": ({"waits_pkey", "steps_pkey"}, (runs, first_steps, zeros)),
    "read_events": ({"events_pkey"}, (ones, [f"e{n}" for n in range(BATCH)])),
    "read_unlooked_waits": ({"waits_unlooked"}, (1_000,)),
    "read_due_deliveries": ({"deliveries_due", "deliveries_pkey"}, (20, month)),
    "read_oldest_delivery": ({"deliveries_oldest"}, ()),
    "read_open_children": ({"runs_open_children"}, (runs, 1_000)),
    "read_undelivered_signals": ({"signals_undelivered"}, (1_000,)),
    "read_orphans": ({"runs_open_children", "runs_cancelling"}, (1_000,)),
    "read_pulse": ({"deliveries_due", "waits_unlooked", "waits_deadline", "runs_due", "runs_cancelling"}, ()),
    "prune_runs": ({"runs_ended", "steps_pkey"}, (month, 1_000, 20_000)),
    "prune_events": ({"events_age"}, (month, 1_000)),
    "prune_signals": ({"signals_expiry"}, (1_000,)),
    "list_events": ({"events_newest", "runs_event"}, (1, None, None, 51, 100, 100)),
    "list_events_of_name": ({"events_name", "runs_event"}, (1, None, None, 51, 100, 100, "name7")),
    "list_resumed_waits": ({"steps_taken", "runs_pkey"}, (1, "e7", 100)),
    "list_waiting_signals": ({"signals_waiting", "waits_pkey", "runs_pkey"}, (1, None, None, 21)),
    "list_next_deadlines": ({"waits_deadline", "steps_pkey", "runs_pkey"}, (1, 1_000, 20)),
    "read_function_figures": ({"runs_function"}, (1, ["f1", "f2"], 200)),
    "read_minutes": ({"runs_newest", "runs_ended"}, (1, 2_000)),
    "count_open_runs": ({"runs_due", "runs_held"}, (1, 1_000)),
}


@pytest.fixture
async def filled(fresh_database: Database) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy[Any]]:
    """A connection to a database with twenty thousand rows in each large table."""
    async with fresh_database.connection() as connection:
        await connection.raw.execute(FILL)
        yield connection.raw


async def plans(connection: asyncpg.pool.PoolConnectionProxy[Any], name: str, arguments: tuple[Any, ...]) -> list[str]:
    """How a statement is run: planned for its arguments, and planned once for any if it is run that often."""
    try:
        text = statement(name)
    except LookupError:
        text = workspace_statement(name)
    custom = await connection.fetch(f"EXPLAIN {text}", *arguments)
    if not arguments or name.startswith("prune_"):
        return ["\n".join(row[0] for row in custom)]
    await connection.execute(f"SET plan_cache_mode = force_generic_plan; PREPARE planned AS {text}")
    unknown = ", ".join(["NULL"] * len(arguments))
    generic = await connection.fetch(f"EXPLAIN EXECUTE planned ({unknown})")
    await connection.execute("DEALLOCATE planned; RESET plan_cache_mode")
    return ["\n".join(row[0] for row in plan) for plan in (custom, generic)]


async def test_statements_find_their_rows_by_index(filled: asyncpg.pool.PoolConnectionProxy[Any]) -> None:
    wrong = []
    for name, (indexes, arguments) in CASES.items():
        custom, *generic = await plans(filled, name, arguments)
        scanned = {table for plan in (custom, *generic) for table in re.findall(rf"Seq Scan on ({LARGE})\b", plan)}
        scanned |= {"hashed SubPlan" for plan in (custom, *generic) if "hashed SubPlan" in plan}
        used = set(re.findall(r"(?:using|on|Indexes:) (\w+)", custom))
        if scanned or not indexes <= used:
            wrong.append(f"{name} scans {sorted(scanned)} and does not use {sorted(indexes - used)}")

    assert wrong == [], "\n".join(wrong)
