"""What is old enough is forgotten, in bounded batches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from rotor import limits
from rotor.store.database import Database

__all__ = ["Pruned", "Retention", "prune"]

ROWS: Final = 20 * limits.BATCH
"""About how many steps and lines of logs go with a batch of runs; those of one run go together."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long ended runs (with their steps and logs) and events are kept, and lines of logs if less long."""

    runs: timedelta = timedelta(days=30)
    events: timedelta = timedelta(days=30)
    logs: timedelta | None = None
    """None: as long as their run."""
    audit: timedelta = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one round has done."""

    gone: int
    """How many runs, events, signals, used links, lines of logs and calls of apps."""
    more: bool
    """Whether there may be more of them."""


async def prune(database: Database, retention: Retention) -> Pruned:
    """Forget one batch of each kind."""
    runs = await database.fetchrow("prune_runs", retention.runs, limits.BATCH, ROWS)
    assert runs is not None
    counts: list[int] = [
        await database.fetchval("prune_events", retention.events, limits.BATCH),
        await database.fetchval("prune_signals", limits.BATCH),
        await database.fetchval("prune_audit_log", retention.audit, limits.BATCH),
        await database.fetchval("prune_signal_links", limits.BATCH),
        await database.fetchval("prune_app_calls", retention.runs, limits.BATCH),
    ]
    if retention.logs is not None:
        counts.append(await database.fetchval("prune_run_logs", retention.logs, limits.BATCH))
    return Pruned(runs["gone"] + sum(counts), runs["more"] or max(counts) >= limits.BATCH)
