"""Checks a live database for what must never be: the invariants that everything else keeps."""

from __future__ import annotations

from dataclasses import dataclass

from rotor.store.database import Database

__all__ = ["Finding", "check"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: what kind, of which run, step or signal, and what it means."""

    kind: str
    subject: str
    message: str


async def check(database: Database) -> list[Finding]:
    """Everything that is wrong; nothing where all is well. Reads only, in one snapshot."""
    return [Finding(row["kind"], row["subject"], row["message"]) for row in await database.fetch("check_invariants")]
