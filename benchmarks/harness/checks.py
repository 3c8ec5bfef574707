"""What a figure needs to count: every run complete, every result right, each step committed before the next began."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import asyncpg

from benchmarks.arithmetic import after
from benchmarks.harness.figures import WrongError

__all__ = ["Ended", "Span", "check_chain", "check_chains", "check_parallel", "ended_runs", "until_status"]

GIVEN_UP_AFTER_SECONDS = 120
LOOK_SECONDS = 0.1
LOOK_SHARE = 50
"""So many times as long as a look took, the next one waits: to count 20,000 runs takes Postgres 15 ms."""

ENDED = ("completed", "failed", "cancelled")


class Ended(NamedTuple):
    """A run that is complete."""

    id: Any
    data: Any
    output: Any
    committed: float
    """When its end was committed, in seconds since the epoch."""


class Span(NamedTuple):
    """When a step's body began, and when its result was committed, in seconds since the epoch."""

    began: float
    committed: float


async def until_status(
    rows: asyncpg.Connection[Any],
    function_id: str,
    count: int,
    *,
    since: float = 0,
    statuses: tuple[str, ...] = ENDED,
    within_seconds: float = GIVEN_UP_AFTER_SECONDS,
) -> None:
    """Until `count` of the runs that were made since then are in one of the statuses. Raises `WrongError` where not."""
    deadline = time.monotonic() + within_seconds
    looked = time.monotonic()
    while await _count(rows, function_id, since, statuses) < count:
        if time.monotonic() > deadline:
            raise WrongError(f"not all of {count} runs came to {statuses}: {await _statuses(rows, function_id, since)}")
        await asyncio.sleep(max(LOOK_SECONDS, LOOK_SHARE * (time.monotonic() - looked)))
        looked = time.monotonic()


async def _count(rows: asyncpg.Connection[Any], function_id: str, since: float, statuses: tuple[str, ...]) -> int:
    count: int = await rows.fetchval(
        """
        SELECT count(*) FROM runs
        WHERE workspace_id > 0 AND function_id = $1 AND created_at >= to_timestamp($2) AND status = ANY ($3)
        """,
        function_id,
        since,
        statuses,
    )
    return count


async def _statuses(rows: asyncpg.Connection[Any], function_id: str, since: float) -> dict[str, int]:
    found = await rows.fetch(
        "SELECT status, count(*) FROM runs WHERE function_id = $1 AND created_at >= to_timestamp($2) GROUP BY 1",
        function_id,
        since,
    )
    return {row[0]: row[1] for row in found}


async def ended_runs(
    rows: asyncpg.Connection[Any],
    function_id: str,
    count: int,
    *,
    since: float = 0,
    within_seconds: float = GIVEN_UP_AFTER_SECONDS,
) -> list[Ended]:
    """Wait until `count` runs made since then have ended. Raises `WrongError` unless all of them are completed."""
    await until_status(rows, function_id, count, since=since, within_seconds=within_seconds)
    runs = await rows.fetch(
        """
        SELECT runs.id, runs.status, runs.output, runs.error, events.data,
               extract(epoch FROM pg_xact_commit_timestamp(runs.xmin))::float8 AS committed
        FROM runs JOIN events ON events.workspace_id = runs.workspace_id AND events.id = runs.event_id
        WHERE runs.function_id = $1 AND runs.created_at >= to_timestamp($2)
        """,
        function_id,
        since,
    )
    if len(runs) != count or any(run["status"] != "completed" for run in runs):
        errors = Counter(run["error"] for run in runs if run["error"])
        raise WrongError(
            f"of {count} runs of {function_id} there are {dict(Counter(run['status'] for run in runs))}; "
            f"errors: {errors.most_common(1)}"
        )
    return [Ended(run["id"], json.loads(run["data"]), json.loads(run["output"]), run["committed"]) for run in runs]


async def check_chains(rows: asyncpg.Connection[Any], runs: list[Ended], *, since: float = 0) -> list[list[Span]]:
    """Check runs that are chains of steps; of each run its steps. Raises `WrongError` that says what was wrong."""
    steps = await _steps(rows, since)
    return [check_chain(run, steps.get(run.id, {})) for run in runs]


async def _steps(rows: asyncpg.Connection[Any], since: float) -> dict[Any, dict[str, dict[str, Any]]]:
    found: dict[Any, dict[str, dict[str, Any]]] = {}
    for step in await rows.fetch(
        """
        SELECT steps.run_id, steps.id, steps.status, steps.output,
               extract(epoch FROM pg_xact_commit_timestamp(steps.xmin))::float8 AS committed
        FROM steps JOIN runs ON runs.id = steps.run_id
        WHERE steps.op = 'run' AND runs.created_at >= to_timestamp($1)
        """,
        since,
    ):
        found.setdefault(step["run_id"], {})[step["id"]] = dict(step)
    return found


def check_chain(run: Ended, steps: Mapping[str, Mapping[str, Any]]) -> list[Span]:
    """Check one run against the steps on record of it, by their ids."""
    value, committed, spans = run.data["n"], 0.0, []
    for k in range(run.data["steps"]):
        step = steps.get(f"step-{k}")
        if step is None or step["status"] != "completed":
            raise WrongError(f"run {run.id} ended without its step {k}")
        result, began = json.loads(step["output"])
        value = after(value, k)
        if result != value:
            raise WrongError(f"step {k} of run {run.id} returned {result} where {value} is right")
        if began < committed:
            raise WrongError(f"step {k} of run {run.id} began before the step before it was committed")
        committed = step["committed"]
        spans.append(Span(began, committed))
    if run.output != value:
        raise WrongError(f"run {run.id} returned {run.output} where {value} is right")
    if run.committed < committed:
        raise WrongError(f"run {run.id} ended before its last step was committed")
    return spans


async def check_parallel(rows: asyncpg.Connection[Any], run: Ended) -> None:
    """Check a run whose steps are side by side: all of them right, and committed before the run ended."""
    steps = (await _steps(rows, 0)).get(run.id, {})
    values = [after(run.data["n"], k) for k in range(run.data["steps"])]
    found = [json.loads(steps[f"step-{k}"]["output"])[0] if f"step-{k}" in steps else None for k in range(len(values))]
    if found != values or run.output != sum(values):
        raise WrongError(f"run {run.id} has other results than are right")
    if max(step["committed"] for step in steps.values()) > run.committed:
        raise WrongError(f"run {run.id} ended before all its steps were committed")
