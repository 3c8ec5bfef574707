"""A run's steps as a graph: what is drawn where, and which words stand on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from urllib.parse import urlencode

from rotor.dashboard.folding import Folded, fold, stem
from rotor.dashboard.layout import Drawing, Place, Size, lay_out
from rotor.dashboard.order import Order, Span, order_of
from rotor.dashboard.words import beginning, cut, duration, waits_for
from rotor.store.outlines import RunOutline, StepOutline

__all__ = ["Graph", "Node", "StepGroup", "draw", "group_steps"]

NODE = Size(226, 66)
PILL = Size(190, 30)
JOINT = Size(8, 8)
MARGIN = 16
TITLE_CHARACTERS = 25
LINE_CHARACTERS = 30
BESIDE_LINK_CHARACTERS = 18
WORST_FIRST = ("failed", "timed_out", "retrying", "running", "waiting", "cancelled", "completed")

OPS = {
    "run": "step",
    "sleep": "sleep",
    "wait_for_event": "wait for event",
    "invoke": "invoke",
    "send_event": "send event",
    "wait_for_signal": "wait for signal",
}


@dataclass(frozen=True, kw_only=True)
class StepGroup:
    """One step, or several alike ones that are drawn as one."""

    steps: list[StepOutline]

    @property
    def first(self) -> StepOutline:
        return self.steps[0]

    @property
    def is_group(self) -> bool:
        return len(self.steps) > 1

    @property
    def started_at(self) -> datetime:
        return self.first.started_at

    @property
    def ended_at(self) -> datetime | None:
        """When the last of them ended; None while one has not."""
        ends = [step.ended_at for step in self.steps if step.ended_at is not None]
        return max(ends) if len(ends) == len(self.steps) else None

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How many have each status, the worst first."""
        counted: Counter[str] = Counter(step.status for step in self.steps)
        return [(status, counted[status]) for status in WORST_FIRST if counted[status]]

    @property
    def status(self) -> str:
        return self.counts[0][0]

    @property
    def is_mixed(self) -> bool:
        """Whether they are not alike, but put away together."""
        return len({stem(step.id) for step in self.steps}) > 1

    @property
    def title(self) -> str:
        if not self.is_group:
            return self.first.id + (f" #{self.first.index + 1}" if self.first.index else "")
        if self.is_mixed:
            return "earlier steps"
        return self.first.id if len({step.id for step in self.steps}) == 1 else stem(self.first.id)

    @property
    def query(self) -> str:
        """The query of the page that shows this step or group beside the graph."""
        return urlencode({"step": self.first.id, "index": self.first.index, **({"group": 1} if self.is_group else {})})


@dataclass(frozen=True, kw_only=True)
class Node:
    """One thing that is drawn."""

    kind: str
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


@dataclass(frozen=True, kw_only=True)
class Graph:
    """All that is drawn."""

    nodes: list[Node]
    edges: list[tuple[str, str]]
    """Path and the status of what it leads to."""
    width: int
    height: int


def group_steps(steps: Sequence[StepOutline]) -> tuple[list[StepGroup], Folded]:
    """The steps as they are drawn, alike ones together."""
    order: Order = order_of([Span(step.started_at, step.ended_at) for step in steps])
    quiet = [step.status in ("completed", "cancelled") for step in steps]
    folded = fold([(step.op, stem(step.id)) for step in steps], quiet, order)
    return [StepGroup(steps=[steps[number] for number in node]) for node in folded.nodes], folded


def draw(run: RunOutline, groups: Sequence[StepGroup], folded: Folded) -> Graph:
    """The graph of a run: where it began, its steps, and its end once it is there."""
    sizes, edges, at = _shape(len(groups), folded, ended=run.ended_at is not None)
    drawing: Drawing = lay_out(sizes, edges)
    nodes = []
    for number, place in enumerate(drawing.places):
        what = at[number]
        if what == "start":
            name = run.event_name or "event"
            nodes.append(Node(kind="pill", place=place, key="start", status="start", title=cut(name, TITLE_CHARACTERS)))
        elif what == "end":
            nodes.append(Node(kind="pill", place=place, key="end", status=run.status, title=_end(run)))
        elif what is None:
            nodes.append(Node(kind="joint", place=place, key=f"joint-{number}"))
        else:
            nodes.append(_step_node(groups[int(what)], place, run.now))
    lines = [(_path(points), nodes[after].status) for points, (_, after) in zip(drawing.edges, edges, strict=True)]
    return Graph(
        nodes=nodes,
        edges=lines,
        width=round(drawing.width) + 2 * MARGIN,
        height=round(drawing.height) + 2 * MARGIN,
    )


def _shape(count: int, folded: Folded, *, ended: bool) -> tuple[list[Size], list[tuple[int, int]], list[str | None]]:
    """Sizes and edges of all that is drawn, and what each is: `start`, `end`, a group's number, or None for a joint."""
    joints_before: dict[int, list[tuple[tuple[int, ...], tuple[int, ...]]]] = {}
    direct: list[tuple[int, int]] = []
    for befores, afters in folded.joints:
        early = tuple(before for before in befores if before < afters[0])
        if len(early) > 1 and len(afters) > 1:
            joints_before.setdefault(afters[0], []).append((early, afters))
        else:
            direct += [(before, after) for before in befores for after in afters if before < after]
    at: list[str | None] = ["start"]
    number_of: dict[int, int] = {}
    edges: list[tuple[int, int]] = []
    later: list[tuple[int, int]] = []
    for group in range(count):
        for befores, afters in joints_before.get(group, []):
            edges += [(number_of[before], len(at)) for before in befores]
            later += [(len(at), after) for after in afters]
            at.append(None)
        number_of[group] = len(at)
        at.append(str(group))
    edges += [(joint, number_of[after]) for joint, after in later]
    edges += [(number_of[before], number_of[after]) for before, after in dict.fromkeys(direct)]
    led_to = {after for _, after in edges}
    edges += [(0, number) for number in number_of.values() if number not in led_to]
    if ended:
        led_from = {before for before, _ in edges}
        edges += [(number, len(at)) for number in range(len(at)) if number not in led_from]
        at.append("end")
    sizes = [JOINT if what is None else PILL if what in ("start", "end") else NODE for what in at]
    return sizes, edges, at


def _end(run: RunOutline) -> str:
    took = f" in {duration((run.ended_at - run.created_at).total_seconds())}" if run.ended_at else ""
    return f"{run.status}{took}"


def _step_node(group: StepGroup, place: Place, now: datetime) -> Node:
    step = group.first
    if group.is_group:
        return Node(
            kind="group",
            place=place,
            key=f"g-{step.index}-{step.id}",
            status=group.status,
            title=f"{cut(group.title, TITLE_CHARACTERS - 7)} \u00d7{len(group.steps):,}",
            about=f"{'put away' if group.is_mixed else OPS[step.op]} · {took(group, now)}",
            text=cut(
                ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in group.counts), LINE_CHARACTERS
            ),
            group=group,
            shares=_shares(group),
        )
    return Node(
        kind="step",
        place=place,
        key=f"s-{step.index}-{step.id}",
        status=step.status,
        title=cut(group.title, TITLE_CHARACTERS),
        about=" · ".join(part for part in (OPS[step.op], took(group, now), _tries(step)) if part),
        text=cut(line_about(step), BESIDE_LINK_CHARACTERS if step.child_run_id else LINE_CHARACTERS),
        group=group,
        since=step.started_at if step.status == "running" else None,
        until=step.deadline if step.status in ("waiting", "retrying") else None,
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


def _tries(step: StepOutline) -> str:
    return f"{step.attempts} tries" if step.attempts > 1 else ""


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
