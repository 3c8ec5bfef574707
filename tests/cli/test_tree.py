"""The tree of a run as `rotor runs show` and `rotor runs watch` draw it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from rich.console import Console

from rotor.cli.tree import RunTree, render
from rotor.sdk.resources import Run, Step

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def step(id: str, status: Any = "completed", **fields: Any) -> Step:
    ended = NOW if status in ("completed", "failed") else None
    return Step(
        id=id, index=0, op="run", status=status, started_at=NOW - timedelta(seconds=1), ended_at=ended, **fields
    )


def run(id: str, *steps: Step) -> Run:
    return Run(id=id, function_id=f"function-{id}", status="running", steps=list(steps))


def drawn(*runs: Run, lines_max: int | None = None) -> list[str]:
    tree = RunTree(runs[0].id)
    for one in runs:
        tree.add(one.id, one)
    console = Console(file=StringIO(), width=200)
    console.print(render(tree, now=NOW, lines_max=lines_max))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_a_tree_that_fits_is_drawn_whole() -> None:
    lines = drawn(run("a", step("one"), step("two", "waiting", waits_for="signal:s")), lines_max=24)
    assert len(lines) == 3
    assert "✓ one  run  1.0 s" in lines[1]
    assert "◷ two  run  signal:s" in lines[2]


def test_of_a_long_run_the_open_and_the_latest_steps_are_shown_and_the_others_counted() -> None:
    steps = [step("first-open", "running"), *(step(f"step-{number}") for number in range(1_000))]
    lines = drawn(run("a", *steps), lines_max=24)
    assert len(lines) <= 24
    assert lines[1].endswith("… 980 completed")
    assert "first-open" in lines[2]
    assert "step-999" in lines[-1]


def test_a_thousand_open_steps_fit_too() -> None:
    lines = drawn(run("a", *(step(f"step-{number}", "waiting") for number in range(1_000))), lines_max=24)
    assert len(lines) <= 24
    assert "waiting" in lines[1]


def test_children_share_the_room() -> None:
    children = [run(f"c{number}", *(step(f"step-{one}") for one in range(50))) for number in range(3)]
    parent = run("p", *(step(f"invoke-{one.id}", child_run_id=one.id) for one in children))
    lines = drawn(parent, *children, lines_max=40)
    assert len(lines) <= 40
    assert all(any(f"function-c{number}" in line for line in lines) for number in range(3))


def test_without_a_limit_everything_is_drawn() -> None:
    assert len(drawn(run("a", *(step(f"step-{number}") for number in range(1_000))))) == 1_001
