"""A run's steps as a graph: what is drawn where, which words stand on it, and what is unfolded within."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from math import ceil, sqrt

from rotor.dashboard.focus import Focus
from rotor.dashboard.folding import Folded
from rotor.dashboard.grouping import Grouped, StepGroup
from rotor.dashboard.layout import Drawing, Place, Size, lay_out
from rotor.dashboard.words import OPS, beginning, cut, duration, waits_for
from rotor.store.outlines import RunOutline, StepOutline

__all__ = ["Cell", "Graph", "Node", "draw"]

NODE = Size(244, 78)
PILL = Size(200, 32)
JOINT = Size(8, 8)
MARGIN = 16
HEAD = 54
"""The height of what stands above what is unfolded in a node."""
CELL = 16
CELLS_DRAWN = 1_000
TITLE_CHARACTERS = 24
ABOUT_CHARACTERS = 38
LINE_CHARACTERS = 32
BESIDE_LINK_CHARACTERS = 19


@dataclass(frozen=True, slots=True)
class Cell:
    """One step of an unfolded group."""

    step: StepOutline
    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class Node:
    """One thing that is drawn."""

    kind: str
    """`pill` (where the run began or ended), `joint`, `step` or `group`."""
    place: Place
    key: str
    status: str = ""
    title: str = ""
    about: str = ""
    text: str = ""
    group: StepGroup | None = None
    since: datetime | None = None
    """Counts up from here."""
    until: datetime | None = None
    """Counts down to here."""
    shares: list[tuple[str, float, float]] = field(default_factory=list)
    """Of a group: status, beginning and width of its part of a bar."""
    cells: list[Cell] = field(default_factory=list)
    """Of an unfolded group."""
    inner: Graph | None = None
    """Of a step whose child is unfolded."""

    @property
    def is_unfolded(self) -> bool:
        return bool(self.cells) or self.inner is not None


@dataclass(frozen=True, kw_only=True)
class Graph:
    """All that is drawn of a run."""

    run: RunOutline
    nodes: list[Node]
    edges: list[tuple[str, str]]
    """Path and the status of what it leads to."""
    width: int
    height: int


def draw(drawn: Grouped, focus: Focus) -> Graph:
    """The graph of a run: where it began, its steps, and its end once it is there."""
    run, groups = drawn.run, drawn.groups
    inner = {
        number: draw(child, focus)
        for number, group in enumerate(groups)
        if not group.is_group and (child := drawn.children.get(group.first.child_run_id or run.id)) is not None
    }
    open_groups = {number for number, group in enumerate(groups) if group.is_group and group.key in focus.unfolded}
    sizes = [_size(group, inner.get(number), number in open_groups) for number, group in enumerate(groups)]
    all_sizes, edges, at = _shape(sizes, drawn.folded, ended=run.ended_at is not None)
    drawing: Drawing = lay_out(all_sizes, edges)
    prefix = "" if run.id == focus.run_id else f"{run.id}-"
    nodes = []
    for number, place in enumerate(drawing.places):
        what = at[number]
        if what is None:
            nodes.append(Node(kind="joint", place=place, key=f"{prefix}joint-{number}"))
        elif isinstance(what, str):
            nodes.append(_pill(run, what, place, prefix))
        elif groups[what].is_group:
            nodes.append(_group_node(groups[what], place, run.now, prefix, is_open=what in open_groups))
        else:
            nodes.append(_step_node(groups[what], place, run.now, prefix, inner.get(what)))
    lines = [(_path(points), nodes[after].status) for points, (_, after) in zip(drawing.edges, edges, strict=True)]
    return Graph(
        run=run,
        nodes=nodes,
        edges=lines,
        width=round(drawing.width) + 2 * MARGIN,
        height=round(drawing.height) + 2 * MARGIN,
    )


def _size(group: StepGroup, inner: Graph | None, is_open: bool) -> Size:
    if inner is not None:
        return Size(max(NODE.width, inner.width), HEAD + inner.height)
    if is_open:
        columns, count = _columns(len(group.steps)), min(len(group.steps), CELLS_DRAWN)
        return Size(max(NODE.width, 2 * MARGIN + columns * CELL), HEAD + 28 + ceil(count / columns) * CELL)
    return NODE


def _columns(count: int) -> int:
    return min(max(ceil(sqrt(count * 2)), 12), 45)


def _cells(group: StepGroup) -> Iterator[Cell]:
    columns = _columns(len(group.steps))
    for number, step in enumerate(group.steps[:CELLS_DRAWN]):
        yield Cell(step, MARGIN + number % columns * CELL, HEAD + 4 + number // columns * CELL)


def _shape(
    groups: list[Size], folded: Folded, *, ended: bool
) -> tuple[list[Size], list[tuple[int, int]], list[str | int | None]]:
    """Sizes and edges of all that is drawn, and what each is: `start`, `end`, a group's number, or None for a joint."""
    joints_before: dict[int, list[tuple[tuple[int, ...], tuple[int, ...]]]] = {}
    direct: list[tuple[int, int]] = []
    for befores, afters in folded.joints:
        early = tuple(before for before in befores if before < afters[0])
        if len(early) > 1 and len(afters) > 1:
            joints_before.setdefault(afters[0], []).append((early, afters))
        else:
            direct += [(before, after) for before in befores for after in afters if before < after]
    at: list[str | int | None] = ["start"]
    number_of: dict[int, int] = {}
    edges: list[tuple[int, int]] = []
    later: list[tuple[int, int]] = []
    for group in range(len(groups)):
        for befores, afters in joints_before.get(group, []):
            edges += [(number_of[before], len(at)) for before in befores]
            later += [(len(at), after) for after in afters]
            at.append(None)
        number_of[group] = len(at)
        at.append(group)
    edges += [(joint, number_of[after]) for joint, after in later]
    edges += [(number_of[before], number_of[after]) for before, after in dict.fromkeys(direct)]
    led_to = {after for _, after in edges}
    edges += [(0, number) for number in number_of.values() if number not in led_to]
    if ended:
        led_from = {before for before, _ in edges}
        edges += [(number, len(at)) for number in range(len(at)) if number not in led_from]
        at.append("end")
    sizes = [JOINT if what is None else PILL if isinstance(what, str) else groups[what] for what in at]
    return sizes, edges, at


def _pill(run: RunOutline, what: str, place: Place, prefix: str) -> Node:
    if what == "start":
        title = cut(run.event_name or "event", TITLE_CHARACTERS)
        return Node(kind="pill", place=place, key=f"{prefix}start", status="start", title=title)
    took = f" in {duration((run.ended_at - run.created_at).total_seconds())}" if run.ended_at else ""
    return Node(kind="pill", place=place, key=f"{prefix}end", status=run.status, title=f"{run.status}{took}")


def _group_node(group: StepGroup, place: Place, now: datetime, prefix: str, *, is_open: bool) -> Node:
    told = ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in group.counts)
    return Node(
        kind="group",
        place=place,
        key=f"{prefix}g-{group.first.index}-{group.first.id}",
        status=group.status,
        title=f"{cut(group.title, TITLE_CHARACTERS - 7)} \u00d7{len(group.steps):,}",
        about=cut(f"{'put away' if group.is_mixed else OPS[group.first.op]} · {took(group, now)}", ABOUT_CHARACTERS),
        text=cut(told, LINE_CHARACTERS + 6),
        group=group,
        shares=_shares(group),
        cells=list(_cells(group)) if is_open else [],
    )


def _step_node(group: StepGroup, place: Place, now: datetime, prefix: str, inner: Graph | None) -> Node:
    step = group.first
    tries = f"{step.attempts} tries" if step.attempts > 1 else ""
    about = (OPS[step.op], took(group, now), tries)
    return Node(
        kind="step",
        place=place,
        key=f"{prefix}s-{step.index}-{step.id}",
        status=step.status,
        title=cut(group.title, TITLE_CHARACTERS - (4 if step.child_run_id else 0)),
        about=" · ".join(part for part in about if part),
        text=cut(line_about(step), BESIDE_LINK_CHARACTERS if step.child_run_id else LINE_CHARACTERS),
        group=group,
        since=step.started_at if step.status == "running" else None,
        until=step.deadline if step.status in ("waiting", "retrying") else None,
        inner=inner,
    )


def _shares(group: StepGroup) -> list[tuple[str, float, float]]:
    shares, start = [], 0.0
    for status, count in reversed(group.counts):
        width = count / len(group.steps)
        shares.append((status, start, width))
        start += width
    return shares


def took(group: StepGroup, now: datetime) -> str:
    """How long it took, or a group so far. Nothing for one step that is open: its time is counted live."""
    end = group.ended_at
    if end is not None:
        return duration((end - group.started_at).total_seconds())
    return f"{duration((now - group.started_at).total_seconds())} so far" if group.is_group else ""


def line_about(step: StepOutline) -> str:
    """What there is to say of a step on one line: its error, what it waits for, or what it gave."""
    if step.error is not None and step.status != "completed":
        return f"{step.error.name}: {step.error.message}"
    if step.status == "waiting" and step.op != "sleep":
        return f"for {waits_for(step)}"
    if step.status == "timed_out":
        return f"no {waits_for(step)} in time"
    return beginning(step.output)


def _path(points: list[tuple[float, float]]) -> str:
    """A line through `points` that leaves and arrives from above; every second stretch passes straight by a node."""
    moved = [(x + MARGIN, y + MARGIN) for x, y in points]
    parts = [f"M{moved[0][0]:.1f} {moved[0][1]:.1f}"]
    for number, ((x, y), (to_x, to_y)) in enumerate(pairwise(moved)):
        middle = (y + to_y) / 2
        curve = f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"
        parts.append(curve if number % 2 == 0 else f"L{to_x:.1f} {to_y:.1f}")
    return "".join(parts)
