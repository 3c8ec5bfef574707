"""How commands print: tables and marks for people, JSON for scripts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

__all__ = ["as_json", "age", "console", "print_json", "print_table", "printable", "progress", "COLOURS", "MARKS"]

C = TypeVar("C", bound=Callable[..., Any])

MARKS = {
    "queued": "○",
    "running": "▶",
    "retrying": "↻",
    "waiting": "◷",
    "completed": "✓",
    "failed": "✗",
    "cancelled": "⊘",
    "timed_out": "⌛",
}
COLOURS = {
    "queued": "dim",
    "running": "cyan",
    "retrying": "yellow",
    "waiting": "blue",
    "completed": "green",
    "failed": "red",
    "cancelled": "dim",
    "timed_out": "yellow",
}


def as_json(command: C) -> C:
    """The option `--json` of a command, passed on as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def print_json(value: Any) -> None:
    """Print one JSON document, indented."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Print a table that a narrow terminal does not break, or the sentence `empty`."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    count = 0
    for row in rows:
        table.add_row(*row)
        count += 1
    if not count:
        click.echo(empty)
        return
    console().print(table)


def printable(text: str) -> str:
    """`text` without what would steer a terminal."""
    return "".join(one if one.isprintable() or one in "\n\t" else "\N{REPLACEMENT CHARACTER}" for one in text)


def console() -> Any:
    """Where to print what is drawn. Into a pipe nothing is cut or folded: the width there is as wide as it takes."""
    from rich.console import Console

    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=10_000)


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Say what is going on while it is, where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} …"):
        yield


def age(moment: datetime | None, *, now: datetime | None = None) -> str:
    """How long ago `moment` was, in one unit: `5s`, `3m`, `2h`, `9d`."""
    if moment is None:
        return "-"
    seconds = max(0, int(((now or datetime.now(UTC)) - moment).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
