"""Small plots, as shapes that a template draws: bars and lines of one value for each minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["HEIGHT", "WIDTH", "Bar", "Line", "bars", "ceiling", "line"]

WIDTH = 600.0
HEIGHT = 96.0
GAP = 2.0
LEAST = 2.0
"""The height of the least that is not nothing."""


@dataclass(frozen=True)
class Bar:
    """One value: where its bar stands, and what to say of it."""

    x: float
    y: float
    width: float
    height: float
    value: float


@dataclass(frozen=True)
class Line:
    """Values that follow each other: an SVG path, broken where one is missing, and the points that stand alone."""

    path: str
    points: list[tuple[float, float]]


def ceiling(values: Sequence[float | None]) -> float:
    """The value at the top of a plot: 1, 2 or 5 times a power of ten, and no less than any value."""
    highest = max((value for value in values if value is not None), default=0.0)
    top = 1e-3
    while top < highest:
        top = next((top * factor for factor in (2, 5) if top * factor >= highest), top * 10)
    return top


def bars(values: Sequence[float], top: float) -> list[Bar]:
    """A bar for each value that is not nothing."""
    width = WIDTH / max(len(values), 1)
    found = []
    for number, value in enumerate(values):
        if value:
            height = max(min(value / top, 1.0) * HEIGHT, LEAST)
            found.append(Bar(number * width, HEIGHT - height, width - GAP, height, value))
    return found


def line(values: Sequence[float | None], top: float) -> Line:
    """A line through the values; minutes without one leave a gap."""
    step = WIDTH / max(len(values), 1)
    runs: list[list[tuple[float, float]]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(((number + 0.5) * step, HEIGHT - min(value / top, 1.0) * HEIGHT))
    path = " ".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) for points in runs if len(points) > 1)
    return Line(path, [points[0] for points in runs if len(points) == 1])
