"""`rotor runs watch`: a run and its children, live over the API's streams until the run has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from rotor.cli.tree import RunTree, render
from rotor.errors import RotorError
from rotor.sdk.client import Rotor
from rotor.sdk.resources import Run, Step

__all__ = ["watch_run"]


async def watch_run(run_id: str, *, as_json: bool) -> Run:
    """Show each change until the run has ended; return it.

    On a terminal the tree is drawn anew in place; elsewhere each change is a line; with `as_json` a line of JSON.
    """
    console = Console(highlight=False)
    tree = RunTree(run_id)
    on_screen = console.is_terminal and not as_json
    live = (
        Live(console=console, get_renderable=lambda: _drawn(tree, console.height - 1), refresh_per_second=8)
        if on_screen
        else None
    )
    area: AbstractContextManager[Any] = live or nullcontext()

    def show(of_run: str, change: Run | Step) -> None:
        tree.add(of_run, change)
        if as_json:
            click.echo(msgspec.json.encode({"run_id": of_run, _kind(change): change}).decode())
        elif live is None:
            click.echo(_line(of_run, change, tree))

    try:
        async with Rotor() as rotor:
            with area:
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(_follow(rotor, run_id, tree, show, group))
    except ExceptionGroup as errors:
        # Not `except*`: early releases of Python 3.11 wrap what it raises once more.
        ours = errors.subgroup(RotorError)
        if ours is None:
            raise
        raise ours.exceptions[0] from None
    return task.result()


async def _follow(
    rotor: Rotor, run_id: str, tree: RunTree, show: Callable[[str, Run | Step], None], group: asyncio.TaskGroup
) -> Run:
    """Show the changes of one run, and follow each child that it invokes."""
    followed: set[str] = set()
    run = await rotor.runs.get(run_id)
    tree.add(run_id, run)
    async for change in rotor.runs.stream(run_id):
        show(run_id, change)
        if isinstance(change, Run):
            run = change
        elif change.child_run_id and change.child_run_id not in followed:
            followed.add(change.child_run_id)
            group.create_task(_follow(rotor, change.child_run_id, tree, show, group))
    return run


def _drawn(tree: RunTree, lines_max: int) -> Any:
    return render(tree, lines_max=lines_max) if tree.root in tree.runs else Text("…")


def _kind(change: Run | Step) -> str:
    return "run" if isinstance(change, Run) else "step"


def _line(run_id: str, change: Run | Step, tree: RunTree) -> str:
    """One change as a line of a log."""
    what: str = change.status
    if isinstance(change, Step):
        name = change.id if change.index == 0 else f"{change.id} #{change.index + 1}"
        what = f"{name}  {change.op}  {change.status}"
    reason = f"  {change.error.name}: {change.error.message}" if change.error else ""
    return f"{tree.runs[run_id].function_id}  {what}{reason}"
