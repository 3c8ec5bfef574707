"""What the fault campaigns of this test session did: shown at its end, so that a campaign that did nothing is seen."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

__all__ = ["count", "count_fault", "numbers", "totals"]

totals: Counter[str] = Counter()
"""By what was counted, in the plural: "simulated programs", "faults injected", "violations"."""
faults: defaultdict[str, Counter[str]] = defaultdict(Counter)
"""By whom they struck, and how."""


def count(name: str, number: int = 1) -> None:
    """Add to a total. Nought is worth adding: it shows that somebody looked."""
    totals[name] += number


def count_fault(whom: str, how: str) -> None:
    """Add a fault that was injected."""
    count("faults injected")
    faults[whom][how] += 1


def numbers() -> Iterator[str]:
    """All of it, in lines."""
    for name, number in totals.items():
        yield f"{number:>10,} {name}"
    for whom, kinds in faults.items():
        yield f"{'':>10} {whom}: " + ", ".join(f"{number} {how}" for how, number in kinds.items())
