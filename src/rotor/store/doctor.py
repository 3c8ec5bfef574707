"""Checks a live database for what must never be: the invariants that everything else keeps."""

from __future__ import annotations

from dataclasses import dataclass

from rotor.store.database import Database
from rotor.store.statements import statement

__all__ = ["Finding", "check"]

WITHIN_SECONDS = 3600
"""It reads everything, which takes its time where there is much."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: what kind, of which run, step or signal, and what it means."""

    kind: str
    subject: str
    message: str


async def check(database: Database) -> list[Finding]:
    """Everything that is wrong; nothing where all is well. Reads only, in one snapshot."""
    async with database.connection() as connection:
        rows = await connection.raw.fetch(statement("check_invariants"), timeout=WITHIN_SECONDS)
    return [Finding(row["kind"], row["subject"], row["message"]) for row in rows]
