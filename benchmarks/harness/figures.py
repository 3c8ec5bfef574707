"""A figure: what was measured, what it should reach, and how it is shown in a table and in JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

__all__ = ["Figure", "WrongError", "milliseconds", "percentile", "spread"]

Better = Literal["more", "less"]


class WrongError(Exception):
    """A run was not complete, not right, or not in order: its figure does not count."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number. `reach` and `aim` are what it should at least and at best be, where such is set."""

    what: str
    value: float
    unit: str
    better: Better = "more"
    reach: float | None = None
    aim: float | None = None
    details: Mapping[str, Any] = {}

    @property
    def verdict(self) -> str:
        if self.reach is None:
            return ""
        if self.aim is not None and self._at_least(self.aim):
            return "aim"
        return "reached" if self._at_least(self.reach) else "missed"

    def _at_least(self, wanted: float) -> bool:
        return self.value >= wanted if self.better == "more" else self.value <= wanted


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of `values` lie."""
    if not values:
        raise WrongError("nothing was measured")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Lowest, middle and highest of repeated measurements."""
    return {"low": min(values), "middle": statistics.median(values), "high": max(values), "times": len(values)}


def milliseconds(
    what: str, values: Sequence[float], share: float, *, reach: float | None = None, aim: float | None = None
) -> Figure:
    """The figure of a percentile of times; the JSON has the others."""
    details = {f"p{round(each * 100)}": percentile(values, each) for each in (0.1, 0.5, 0.9, 0.99)}
    return Figure(
        what=what,
        value=percentile(values, share),
        unit="ms",
        better="less",
        reach=reach,
        aim=aim,
        details={**details, "times": len(values)},
    )
