"""The changes of one run in the order of its commits, for those who follow it.

Every commit of a run has a number, its group: the run's row and its steps keep the group that last changed them. A
change carries the number from which one can go on without missing anything: the last of its group carries the group
itself, those before it the group before, since the rest of the group is still to come. A row that changes twice
between two readings is told once, as it is then.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

from rotor.store.database import Database, WorkspaceConnection
from rotor.store.problems import NotFound
from rotor.store.runs import Run, Step, read_run, read_step

__all__ = ["Change", "Follower"]

CHANGES_READ_AT_ONCE = 500
BYTES_READ_AT_ONCE = 4 * 1024 * 1024


class Change(msgspec.Struct, frozen=True):
    """A row that changed, and the number to go on from after it."""

    resume: int
    kind: Literal["run", "step"]
    row: Run | Step


class Follower:
    """Reads the changes of one run after the group `since`, as often as it is asked."""

    def __init__(self, database: Database, workspace_id: int, run_id: UUID, *, since: int = 0) -> None:
        self.workspace_id = workspace_id
        self.run_id = run_id
        self._workspace = database.of(workspace_id)
        self._complete = since
        self._run_group = since
        # Groups begin at 1, so nothing stands between (g, everything) and (g + 1, nothing).
        self._step_place: tuple[int, int, str, int] = (since + 1, -1, "", -1)
        self._end_is_due = False
        self.more = False
        """There is more to read at once."""
        self.ended = False
        """The run's end has been told; nothing follows."""

    async def read(self) -> list[Change]:
        """What changed since the last reading, at most a few hundred rows. Raises `NotFound`."""
        async with (
            self._workspace.connection() as connection,
            connection.raw.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await self._read(connection)

    async def _read(self, connection: WorkspaceConnection) -> list[Change]:
        row = await connection.fetchrow("get_run", self.run_id)
        if row is None:
            raise NotFound(f"there is no run {self.run_id}")
        # One more than is told, to know whether more follow.
        found = await connection.fetch(
            "list_step_changes", self.run_id, *self._step_place, CHANGES_READ_AT_ONCE + 1, BYTES_READ_AT_ONCE
        )
        steps = found[:CHANGES_READ_AT_ONCE]
        self.more = bool(steps) and steps[0]["found"] > len(steps)
        rows: list[tuple[int, Run | Step]] = [(step["settled_group"], read_step(step)) for step in steps]
        if steps:
            last = steps[-1]
            self._step_place = last["settled_group"], last["position"], last["id"], last["index"]
        run_group = row["changed_group"]
        ended = row["ended_at"] is not None
        # The end is told last of all, whatever numbers its own transaction gave to the steps that it closed.
        self._end_is_due |= ended and bool(steps)
        # While steps that come before it may follow, the run waits for its turn.
        waits = self.more and (ended or run_group >= self._step_place[0])
        if (run_group > self._run_group or self._end_is_due) and not waits:
            self._run_group = run_group
            at = len(rows) if ended else sum(group <= run_group for group, _ in rows)
            rows.insert(at, (max(run_group, rows[at - 1][0] if at else self._complete), read_run(row)))
        self.ended = ended and not self.more
        return self._numbered(rows)

    def _numbered(self, rows: list[tuple[int, Run | Step]]) -> list[Change]:
        changes = []
        for number, (group, row) in enumerate(rows):
            following = rows[number + 1][0] if number + 1 < len(rows) else None
            if (not self.more) if following is None else following > group:
                self._complete = group
            changes.append(Change(self._complete, "run" if isinstance(row, Run) else "step", row))
        return changes
