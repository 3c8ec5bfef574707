"""What is old enough is forgotten, in bounded batches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from rotor import limits
from rotor.store.database import Database

__all__ = ["Retention", "prune"]


@dataclass(frozen=True, slots=True)
class Retention:
    """How long ended runs (with their steps) and events are kept."""

    runs: timedelta = timedelta(days=30)
    events: timedelta = timedelta(days=30)


async def prune(database: Database, retention: Retention) -> int:
    """Forget one batch of each kind; return how many things went."""
    runs: int = await database.fetchval("prune_runs", retention.runs, limits.BATCH)
    events: int = await database.fetchval("prune_events", retention.events, limits.BATCH)
    signals: int = await database.fetchval("prune_signals", limits.BATCH)
    return runs + events + signals
