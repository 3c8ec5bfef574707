"""What processes use, from /proc: CPU seconds and memory of whole process trees, with all that they start."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

__all__ = ["Tree", "Usage", "busy_share", "machine_ticks", "memory_bytes", "usage"]

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Tree:
    """A process and its descendants, by a name for people."""

    name: str
    process_id: int


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds so far, by name."""

    seconds: dict[str, float]

    def since(self, before: Self) -> dict[str, float]:
        """CPU seconds between two moments, by name and in all (`all`)."""
        used = {name: round(now - before.seconds.get(name, 0.0), 3) for name, now in self.seconds.items()}
        return {**used, "all": round(sum(used.values()), 3)}


def usage(trees: Iterable[Tree]) -> Usage:
    """CPU seconds of each tree: its living processes, and those that ended and were waited for by their parents."""
    facts = _processes()
    seconds: dict[str, float] = {}
    for tree in trees:
        used = sum(facts[each].ticks for each in _below(tree.process_id, facts)) / TICKS
        seconds[tree.name] = seconds.get(tree.name, 0.0) + used
    return Usage(seconds)


def memory_bytes(trees: Iterable[Tree]) -> int:
    """What the trees keep in memory that is theirs alone: resident pages without the shared ones."""
    facts = _processes()
    ids = {each for tree in trees for each in _below(tree.process_id, facts)}
    return sum(_private_bytes(each) for each in ids)


def busy_share(before: tuple[int, int], after: tuple[int, int]) -> float:
    """The share of this machine's cores that was busy between two `machine_ticks`."""
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def machine_ticks() -> tuple[int, int]:
    """Busy and all ticks of the machine's cores so far."""
    fields = [int(field) for field in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    ticks: int


def _processes() -> dict[int, _Process]:
    facts = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        facts[int(entry.name)] = _Process(int(fields[1]), sum(int(field) for field in fields[11:15]))
    return facts


def _below(process_id: int, facts: dict[int, _Process]) -> list[int]:
    children: dict[int, list[int]] = {}
    for each, process in facts.items():
        children.setdefault(process.parent, []).append(each)
    found, pending = [], [process_id] if process_id in facts else []
    while pending:
        each = pending.pop()
        found.append(each)
        pending += children.get(each, [])
    return found


def _private_bytes(process_id: int) -> int:
    resident, shared = Path(f"/proc/{process_id}/statm").read_text(encoding="ascii").split()[1:3]
    return (int(resident) - int(shared)) * PAGE
