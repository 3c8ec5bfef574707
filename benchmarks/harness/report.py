"""All answers of one run, as a table for people and as JSON."""

from __future__ import annotations

import os
import platform
from datetime import datetime

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.harness.figures import Figure

__all__ = ["Answer", "Report", "print_report"]

MARKS = {"aim": "[green]aim[/]", "reached": "[green]reached[/]", "missed": "[red]missed[/]", "": ""}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What one question came to. `wrong`: why none of its figures counts."""

    name: str
    figures: list[Figure]
    wrong: str = ""
    machine_busy: float = 0.0
    """The share of all cores that was busy meanwhile, with whatever else ran."""
    pace_before: dict[str, float]
    """By `measure_pace`: the less, the faster the machine was."""
    pace_after: dict[str, float]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the benchmarks."""

    at: datetime
    floor: list[Figure]
    answers: list[Answer]
    quick: bool = False
    """A tenth of everything was asked for: the figures compare to nothing."""
    cores: int = msgspec.field(default_factory=lambda: os.cpu_count() or 1)
    python: str = msgspec.field(default_factory=platform.python_version)


def print_report(report: Report) -> None:
    """Print the table; figures in steps/s with their ratio to the floor."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("WHAT", "VALUE", "REACH", "AIM", "", "OF THE FLOOR", "PACE, ms"):
        table.add_column(name, justify="left" if name in ("WHAT", "") else "right", overflow="fold")
    for figure in report.floor:
        table.add_row(figure.what, _shown(figure.value, figure.unit))
    for answer in report.answers:
        if answer.wrong:
            table.add_row(f"[red]{answer.name}: {answer.wrong}[/]")
        for figure in answer.figures:
            is_first = figure is answer.figures[0]
            table.add_row(
                figure.what,
                _shown(figure.value, figure.unit),
                _shown(figure.reach),
                _shown(figure.aim),
                "" if report.quick else MARKS[figure.verdict],
                _of_floor(figure, report.floor),
                f"{answer.pace_before['p50']:.1f} - {answer.pace_after['p50']:.1f}" if is_first else "",
            )
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def _shown(value: float | None, unit: str = "") -> str:
    if value is None:
        return ""
    digits = 0 if abs(value) >= 1_000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f} {unit}".rstrip()


def _of_floor(figure: Figure, floor: list[Figure]) -> str:
    if figure.unit != "steps/s" or not floor:
        return ""
    return " / ".join(f"{figure.value / each.value:.2f}" for each in floor)
