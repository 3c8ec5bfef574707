"""The page of the last hour: how much runs, how fast, what fails and what waits for its turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rotor.dashboard import plots
from rotor.dashboard.door import Visit
from rotor.dashboard.live import View
from rotor.dashboard.plots import Bar, Line
from rotor.dashboard.runs import draw_rows
from rotor.dashboard.words import duration
from rotor.store import figures, run_lists
from rotor.store.figures import Minute, OpenRuns
from rotor.store.run_lists import RunFilters

__all__ = ["look"]

FAILURES_SHOWN = 5


@dataclass(frozen=True)
class Plot:
    """One plot of the last hour, and the same in words."""

    title: str
    about: str
    top: str
    bars: list[tuple[Bar, str]]
    lines: list[tuple[str, Line]]
    """Each with the name of what it shows."""
    kind: str


async def look(visit: Visit) -> View:
    database, workspace_id = visit.store.database, visit.workspace_id
    minutes = await figures.last_hour(database, workspace_id)
    open_runs = await figures.open_runs(database, workspace_id)
    failed = await run_lists.page(database, workspace_id, RunFilters(status="failed"), items_max=FAILURES_SHOWN)
    now = await visit.now()
    return View(
        (minutes, open_runs, failed),
        lambda: {
            "figures": _draw(visit, minutes, open_runs, now),
            "failures": visit.part(
                "overview_failures.html", rows=draw_rows(visit, failed, now) if failed.items else ""
            ),
        },
    )


def _draw(visit: Visit, minutes: Sequence[Minute], open_runs: OpenRuns, now: datetime) -> str:
    ended, failed = sum(minute.ended for minute in minutes), sum(minute.failed for minute in minutes)
    return visit.part(
        "overview_figures.html",
        created=sum(minute.created for minute in minutes),
        ended=ended,
        failed=failed,
        success=1 - failed / ended if ended else None,
        open_runs=open_runs,
        counted=figures.RUNS_COUNTED,
        is_cut=any(minute.is_cut for minute in minutes),
        per_minute=figures.RUNS_PER_MINUTE,
        plots=[
            _count("Runs started", "started", "created", minutes, [minute.created for minute in minutes]),
            _count("Failures", "failed", "failed", minutes, [minute.failed for minute in minutes]),
            _seconds("Duration of completed runs", "took", [(one.took_p50, one.took_p95) for one in minutes]),
            _seconds("Queue: time until the start", "wait", [(one.wait_p50, one.wait_p95) for one in minutes]),
        ],
        now=now,
    )


def _count(title: str, verb: str, kind: str, minutes: Sequence[Minute], values: Sequence[int]) -> Plot:
    top = max(plots.ceiling(values), 5)
    most = max(values, default=0)
    width = plots.WIDTH / len(minutes)
    told = [
        (bar, f"{minutes[round(bar.x / width)].at:%H:%M} UTC: {bar.value:,} {verb}") for bar in plots.bars(values, top)
    ]
    return Plot(title, f"{sum(values):,} in the last hour, at most {most:,} a minute", f"{top:,.0f}", told, [], kind)


def _seconds(title: str, kind: str, values: Sequence[tuple[float | None, float | None]]) -> Plot:
    half, most = [one for one, _ in values], [one for _, one in values]
    top = plots.ceiling([*half, *most])
    known = [one for one in most if one is not None]
    about = f"95 of 100 took at most {duration(max(known))} in each minute" if known else "none in the last hour"
    lines = [("p95", plots.line(most, top)), ("p50", plots.line(half, top))]
    return Plot(title, about, duration(top), [], lines, kind)
