"""A run, its steps and its children as a tree of lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.text import Text
from rich.tree import Tree

from rotor.cli.output import COLOURS, MARKS
from rotor.sdk.resources import Run, Step

__all__ = ["RunTree", "render"]

PREVIEW_CHARACTERS = 80
RUNS_SHARING = 5
"""Among how many runs the lines of a terminal are shared out at most: each shows a few steps, or it says nothing."""


@dataclass
class RunTree:
    """What is known of a run and of the children that it invoked, by run id."""

    root: str
    runs: dict[str, Run] = field(default_factory=dict)
    steps: dict[str, dict[tuple[str, int], Step]] = field(default_factory=dict)

    def add(self, run_id: str, change: Run | Step) -> None:
        """Take in a whole run, or one changed step of the run `run_id`."""
        known = self.steps.setdefault(run_id, {})
        if isinstance(change, Run):
            self.runs[run_id] = change
        for step in change.steps if isinstance(change, Run) else [change]:
            known[step.id, step.index] = step

    def children(self) -> Iterator[str]:
        """The ids of the invoked runs."""
        for steps in list(self.steps.values()):
            yield from (step.child_run_id for step in list(steps.values()) if step.child_run_id)


def render(tree: RunTree, *, now: datetime | None = None, lines_max: int | None = None) -> Tree:
    """The tree for a terminal. Where it has more than `lines_max` lines, each run shows its open and its latest steps,
    and counts the others.
    """
    now = now or datetime.now(UTC)
    branch = Tree(_run_line(tree.runs[tree.root], now), guide_style="dim")
    _add_steps(branch, tree, tree.root, now, _steps_max(tree, lines_max))
    return branch


def _steps_max(tree: RunTree, lines_max: int | None) -> int | None:
    """How many steps each run may show; None: all."""
    runs = max(1, len(tree.runs))
    lines = 2 * runs + sum(map(len, tree.steps.values()))
    return None if lines_max is None or lines <= lines_max else max(1, lines_max // min(runs, RUNS_SHARING) - 3)


def _add_steps(branch: Tree, tree: RunTree, run_id: str, now: datetime, most: int | None) -> None:
    steps = list(tree.steps.get(run_id, {}).values())
    shown = _most_telling(steps, most)
    if len(shown) < len(steps):
        statuses = Counter(step.status for position, step in enumerate(steps) if position not in shown)
        branch.add(Text("… " + ", ".join(f"{count:,} {status}" for status, count in statuses.items()), "dim"))
    for position, step in enumerate(steps):
        if position not in shown:
            continue
        below = branch.add(_step_line(step, now))
        if step.child_run_id in tree.runs and step.child_run_id != run_id:
            child = below.add(_run_line(tree.runs[step.child_run_id], now))
            _add_steps(child, tree, step.child_run_id, now, most)


def _most_telling(steps: list[Step], most: int | None) -> set[int]:
    """The positions of `most` steps: open ones before ended ones, later before earlier."""
    positions = sorted(range(len(steps)), key=lambda position: (steps[position].ended_at is not None, -position))
    return set(positions[:most])


def _run_line(run: Run, now: datetime) -> Text:
    line = Text.assemble(
        _mark(run.status), (run.function_id, "bold"), f"  {run.id}  ", (run.status, COLOURS[run.status])
    )
    if run.started_at:
        line.append(f"  {_span(run.started_at, run.ended_at or now)}", "dim")
    if run.attempt:
        line.append(f"  attempt {run.attempt + 1}", "yellow")
    return _with_outcome(line, run)


def _step_line(step: Step, now: datetime) -> Text:
    name = step.id if step.index == 0 else f"{step.id} #{step.index + 1}"
    line = Text.assemble(_mark(step.status), name, (f"  {step.op}", "dim"))
    if step.status == "waiting":
        line.append(f"  {step.waits_for}" if step.waits_for else "", "blue")
        line.append(f"  until {step.deadline.astimezone():%Y-%m-%d %H:%M:%S}" if step.deadline else "", "blue")
    elif step.started_at:
        line.append(f"  {_span(step.started_at, step.ended_at or now)}", "dim")
    if step.attempts > 1:
        line.append(f"  {step.attempts} attempts", "yellow")
    if step.version:
        line.append(f"  code {step.version}", "dim")
    return _with_outcome(line, step)


def _with_outcome(line: Text, row: Run | Step) -> Text:
    if row.error is not None:
        line.append(f"  {row.error.name}: {_cut(row.error.message)}", "red")
    elif row.status == "completed" and row.output is not None:
        line.append(f"  {_cut(_json(row.output))}", "green")
    return line


def _mark(status: str) -> tuple[str, str]:
    return f"{MARKS[status]} ", COLOURS[status]


def _span(start: datetime, end: datetime) -> str:
    """How long something took: milliseconds below a second, else seconds, minutes or hours."""
    seconds = max(0.0, (end - start).total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:.1f} h"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _cut(text: str) -> str:
    first, _, rest = text.partition("\n")
    return first[: PREVIEW_CHARACTERS - 1] + "…" if rest or len(first) > PREVIEW_CHARACTERS else first
