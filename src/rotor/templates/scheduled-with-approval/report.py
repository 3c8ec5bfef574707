"""The figures of the week: what ran in this workspace and how it ended. Put your own report here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotor import Rotor

WEEK = timedelta(days=7)


@dataclass
class Report:
    """`lines` is what people read; the week ends at `until`."""

    title: str
    lines: list[str]


async def collect(until: datetime) -> Report:
    """Count the runs of the week before `until` by function and status."""
    counts: Counter[tuple[str, str]] = Counter()
    async with Rotor() as rotor:
        cursor: str | None = None
        while True:
            page = await rotor.runs.list(since=until - WEEK, until=until, cursor=cursor)
            counts.update((run.function_id, run.status) for run in page.items)
            cursor = page.next_cursor
            if cursor is None:
                break
    lines = [f"{function}: {count} {status}" for (function, status), count in sorted(counts.items())]
    return Report(title=f"Week to {until:%Y-%m-%d}", lines=lines or ["Nothing ran this week."])
