"""What the fault campaigns of this test session did: shown at its end, so that a campaign that did nothing is seen."""

from __future__ import annotations

from collections import Counter

__all__ = ["count", "totals"]

totals: Counter[str] = Counter()
"""By what was counted, in the plural: "simulated programs", "faults injected", "violations"."""


def count(name: str, number: int = 1) -> None:
    """Add to a total. Nought is worth adding: it shows that somebody looked."""
    totals[name] += number
