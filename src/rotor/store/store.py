"""The store as the floors above use it: the database, its two writers, and what connects this process's parts."""

from __future__ import annotations

from dataclasses import dataclass

from rotor.store.changes import Changes
from rotor.store.committer import Committer
from rotor.store.database import Database
from rotor.store.holders import Holders
from rotor.store.intake import Intake

__all__ = ["Store"]


@dataclass(frozen=True, slots=True)
class Store:
    """Built by `Store.on`; `start` it before use."""

    database: Database
    changes: Changes
    holders: Holders
    committer: Committer
    intake: Intake

    @classmethod
    def on(cls, database: Database) -> Store:
        changes, holders = Changes(), Holders()
        return cls(database, changes, holders, Committer(database, changes, holders), Intake(database, changes))

    def start(self) -> None:
        self.committer.commits.start()
        self.intake.commits.start()

    async def stop(self) -> None:
        """Write what is queued, then end. The database stays open."""
        await self.intake.commits.stop()
        await self.committer.stop()
