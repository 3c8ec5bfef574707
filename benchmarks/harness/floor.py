"""The floor: what this Postgres does at the same moment with rows like ours and nothing above it, by pgbench."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path
from uuid import uuid4

import asyncpg

from benchmarks.harness.figures import Figure, WrongError
from benchmarks.harness.usage import Tree, usage
from rotor.dev.binaries import find_programs
from rotor.dev.postgres import Postgres

__all__ = ["measure_floor"]

SECONDS = 3
KINDS = (
    ("one statement a step, 1 connection", 1, 1),
    ("one statement a step, 32 connections", 32, 1),
    ("100 steps a transaction", 2, 100),
)
"""Of each its connections, and its steps a transaction."""

TABLE = """
CREATE TABLE {schema}.floor (
    run_id uuid NOT NULL, id text NOT NULL, index int NOT NULL, op text NOT NULL, status text NOT NULL,
    attempts int NOT NULL, output bytea, started_at timestamptz NOT NULL, ended_at timestamptz,
    settled_group bigint NOT NULL, position int NOT NULL, PRIMARY KEY (run_id, id, index)
)
"""
STEPS = """
INSERT INTO {schema}.floor
SELECT gen_random_uuid(), 'step-' || n % 5, 0, 'run', 'completed', 1, '[123456,1790000000.123456]', now(), now(), n, n
FROM generate_series(1, {count}) AS n;
"""


async def measure_floor(postgres: Postgres, folder: Path, *, seconds: int = SECONDS) -> list[Figure]:
    """Steps per second with one statement each, at 1 and at 32 connections, and with 100 in each transaction."""
    schema = f"floor_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute(f"CREATE SCHEMA {schema}")
    await connection.execute(TABLE.format(schema=schema))
    script = folder / "floor.sql"
    try:
        figures = []
        for what, connections, steps in KINDS:
            script.write_text(STEPS.format(schema=schema, count=steps), encoding="ascii")
            figures.append(
                await _measure(postgres, script, what, connections=connections, steps=steps, seconds=seconds)
            )
        return figures
    finally:
        await connection.execute(f"DROP SCHEMA {schema} CASCADE")
        await connection.close()


async def _measure(
    postgres: Postgres, script: Path, what: str, *, connections: int, steps: int, seconds: int
) -> Figure:
    assert postgres.process is not None
    assert postgres.process.process_id is not None
    trees = [Tree("postgres", postgres.process.process_id)]
    before = usage(trees)
    answer = await asyncio.to_thread(_pgbench, postgres, script, connections, seconds)
    used = usage(trees).since(before)["postgres"]
    transactions = int(_number(r"actually processed: (\d+)", answer))
    return Figure(
        what=f"floor: {what}",
        value=_number(r"tps = ([\d.]+)", answer) * steps,
        unit="steps/s",
        details={
            "latency_ms": _number(r"latency average = ([\d.]+)", answer),
            "postgres_seconds_per_1000": round(used / (transactions * steps) * 1_000, 4),
        },
    )


def _pgbench(postgres: Postgres, script: Path, connections: int, seconds: int) -> str:
    program = find_programs(postgres.data, None) / "pgbench"
    options = ["-n", "-M", "prepared", "-T", str(seconds), "-c", str(connections), "-j", "1", "-f", str(script)]
    done = subprocess.run([program, *options, postgres.dsn], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongError(f"pgbench failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise WrongError(f"pgbench said nothing of {pattern!r}")
    return float(found[1])
