"""The store as the floors above use it: the database, its writers, and what connects this process's parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rotor import limits
from rotor.engine.arrivals import HolderLost
from rotor.engine.run import StepKey
from rotor.store.changes import Changes
from rotor.store.committer import Committer
from rotor.store.database import Database
from rotor.store.destinations import Destinations
from rotor.store.followers import Followers
from rotor.store.holders import Holders
from rotor.store.intake import Intake
from rotor.store.run_logs import RunLogs

__all__ = ["Store"]


@dataclass(frozen=True, slots=True)
class Store:
    """Built by `Store.on`; `start` it before use."""

    database: Database
    changes: Changes
    holders: Holders
    committer: Committer
    intake: Intake
    logs: RunLogs
    payload_bytes_max: int
    destinations: Destinations
    """Where serve apps may be."""
    followers: Followers
    """Who follows something on this server; when it stops, it ends them."""

    @classmethod
    def on(
        cls,
        database: Database,
        *,
        payload_bytes_max: int = limits.PAYLOAD_BYTES,
        destinations: Destinations = Destinations(),  # noqa: B008 - frozen
    ) -> Store:
        changes, holders = Changes(), Holders()

        def give_back(lost: HolderLost) -> None:
            committer.give_back(lost)

        def trace(waits: Sequence[StepKey], group: int) -> None:
            committer.trace(waits, group)

        intake = Intake(database, changes, holders, give_back, trace)
        committer = Committer(database, changes, holders, intake)
        logs = RunLogs(database, changes)
        return cls(database, changes, holders, committer, intake, logs, payload_bytes_max, destinations, Followers())

    def start(self) -> None:
        self.committer.commits.start()
        self.intake.commits.start()
        self.logs.commits.start()

    async def stop(self) -> None:
        """Write what is queued, then end. The database stays open."""
        await self.intake.commits.stop()
        await self.committer.stop()
        await self.logs.commits.stop()
