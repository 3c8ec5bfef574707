"""What a figure needs to count: every run complete, every result right, each step committed before the next began."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import asyncpg

from benchmarks.harness.figures import WrongError
from benchmarks.workflows import after

__all__ = ["check_chains", "expected_value", "last_commit", "until_ended"]

GIVEN_UP_AFTER_SECONDS = 120
LOOK_SECONDS = 0.02


async def until_ended(rows: asyncpg.Connection[Any], count: int, *, function_id: str = "chain") -> None:
    """Until `count` runs of the function have ended. Raises `WrongError` where they do not in time."""
    deadline = time.monotonic() + GIVEN_UP_AFTER_SECONDS
    while await ended(rows, function_id) < count:
        if time.monotonic() > deadline:
            found = await rows.fetch("SELECT status, count(*) FROM runs WHERE function_id = $1 GROUP BY 1", function_id)
            raise WrongError(f"not all of {count} runs ended: {dict(map(tuple, found))}")
        await asyncio.sleep(LOOK_SECONDS)


async def ended(rows: asyncpg.Connection[Any], function_id: str) -> int:
    count: int = await rows.fetchval(
        "SELECT count(*) FROM runs WHERE ended_at IS NOT NULL AND function_id = $1", function_id
    )
    return count


async def last_commit(rows: asyncpg.Connection[Any], *, function_id: str = "chain") -> float:
    """When the last of the runs' ends was committed, in seconds since the epoch."""
    moment: float = await rows.fetchval(
        "SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)))::float8 FROM runs WHERE function_id = $1",
        function_id,
    )
    return moment


def expected_value(n: int, steps: int) -> int:
    """What a chain of `steps` that starts with `n` returns."""
    for k in range(steps):
        n = after(n, k)
    return n


async def check_chains(rows: asyncpg.Connection[Any], count: int, *, function_id: str = "chain") -> list[list[float]]:
    """Check all runs of `chain`; for each run when its steps began. Raises `WrongError` that says what was wrong."""
    runs = await rows.fetch(
        """
        SELECT runs.id, runs.status, runs.output, runs.error, events.data
        FROM runs JOIN events ON events.workspace_id = runs.workspace_id AND events.id = runs.event_id
        WHERE runs.function_id = $1
        """,
        function_id,
    )
    if len(runs) != count or any(run["status"] != "completed" for run in runs):
        errors = Counter(run["error"] for run in runs if run["error"])
        statuses = dict(Counter(run["status"] for run in runs))
        raise WrongError(f"of {count} runs there are {statuses}; errors: {errors.most_common(1)}")
    steps = await _steps(rows, function_id)
    return [_check_chain(run, steps.get(run["id"], {})) for run in runs]


async def _steps(rows: asyncpg.Connection[Any], function_id: str) -> dict[Any, dict[str, asyncpg.Record]]:
    found: dict[Any, dict[str, asyncpg.Record]] = {}
    for step in await rows.fetch(
        """
        SELECT steps.run_id, steps.id, steps.status, steps.output,
               extract(epoch FROM pg_xact_commit_timestamp(steps.xmin))::float8 AS committed
        FROM steps JOIN runs ON runs.id = steps.run_id
        WHERE runs.function_id = $1
        """,
        function_id,
    ):
        found.setdefault(step["run_id"], {})[step["id"]] = step
    return found


def _check_chain(run: asyncpg.Record, steps: dict[str, asyncpg.Record]) -> list[float]:
    data = json.loads(run["data"])
    value, committed, begins = data["n"], 0.0, []
    for k in range(data["steps"]):
        step = steps.get(f"step-{k}")
        if step is None or step["status"] != "completed":
            raise WrongError(f"run {run['id']} ended without its step {k}")
        result, began = json.loads(step["output"])
        value = after(value, k)
        if result != value:
            raise WrongError(f"step {k} of run {run['id']} returned {result} where {value} is right")
        if began < committed:
            raise WrongError(f"step {k} of run {run['id']} began before the step before it was committed")
        begins.append(began)
        committed = step["committed"]
    if json.loads(run["output"]) != value:
        raise WrongError(f"run {run['id']} returned {run['output']!r} where {value} is right")
    return begins
