"""Figures of runs for people: how functions do, and how the last hour went. Each looks at a bounded number of runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from rotor.store.database import Database

__all__ = ["FunctionFigures", "Minute", "OpenRuns", "last_hour", "of_functions", "open_runs"]

RUNS_PER_FUNCTION = 200
RUNS_PER_MINUTE = 2_000
RUNS_COUNTED = 10_000


class FunctionFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How the latest runs of a function went, `RUNS_PER_FUNCTION` of them at most."""

    runs: int = 0
    completed: int = 0
    failed: int = 0
    seconds_p50: float | None = None
    """The duration that half of the completed runs did not exceed, from creation to end."""
    seconds_p95: float | None = None

    @property
    def success(self) -> float | None:
        """The share of completed runs among those that completed or failed, from 0 to 1."""
        ended = self.completed + self.failed
        return self.completed / ended if ended else None


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in one minute."""

    at: datetime
    created: int = 0
    ended: int = 0
    failed: int = 0
    wait_p50: float | None = None
    """Seconds from creation to start, of the runs created then."""
    wait_p95: float | None = None
    took_p50: float | None = None
    """Seconds from creation to end, of the runs completed then."""
    took_p95: float | None = None
    is_cut: bool = False
    """There may have been more than was looked at."""


class OpenRuns(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that are due or run; each count ends at `RUNS_COUNTED`."""

    due: int
    due_since: datetime | None
    """Since when the first of the due ones waits for its turn."""
    running: int


async def of_functions(
    database: Database, workspace_id: int, function_ids: Sequence[str]
) -> dict[str, FunctionFigures]:
    """The figures of each of these functions."""
    rows = await database.of(workspace_id).fetch("read_function_figures", list(function_ids), RUNS_PER_FUNCTION)
    found = {
        row["function_id"]: FunctionFigures(**{name: row[name] for name in FunctionFigures.__struct_fields__})
        for row in rows
    }
    return {function_id: found.get(function_id, FunctionFigures()) for function_id in function_ids}


async def last_hour(database: Database, workspace_id: int) -> list[Minute]:
    """The last sixty minutes, oldest first; the current one is the last."""
    rows = await database.of(workspace_id).fetch("read_minutes", RUNS_PER_MINUTE)
    found = {row["at"]: Minute(**row) for row in rows}
    now: datetime = await database.fetchval("read_clock")
    minutes = [now.replace(second=0, microsecond=0) - timedelta(minutes=ago) for ago in reversed(range(60))]
    return [found.get(at, Minute(at=at)) for at in minutes]


async def open_runs(database: Database, workspace_id: int) -> OpenRuns:
    """How many runs are due, and how many run."""
    row = await database.of(workspace_id).fetchrow("count_open_runs", RUNS_COUNTED)
    assert row is not None
    return OpenRuns(**row)
