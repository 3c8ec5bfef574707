"""What runs have logged: kept for people, and no part of any decision.

Lines come beside the messages that the committer writes, and are written by themselves: however many there are, a
run's checkpoints do not wait for them. Where more come than can be written they are left out, and the gap in their
numbers says so. Whoever has held a run may add to its log: that its lease is over does not make untrue what it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, NamedTuple, TypeAlias
from uuid import UUID

import asyncpg
import msgspec

from rotor import limits
from rotor.protocol.messages import HolderSays, LogLevel, LogLine, RunMessage
from rotor.store.changes import Changes
from rotor.store.database import Database, Record
from rotor.store.group_commit import GroupCommit, TryAgain
from rotor.store.pages import Page, decode_cursor, encode_cursor
from rotor.store.runs import status

__all__ = ["Line", "RunLogs", "latest", "page"]

LINE_BYTES = 200
"""What a line weighs without its text."""
NO_MORE = f"The run has logged more than {limits.LOG_LINES_PER_RUN:,} lines (LOG_LINES_PER_RUN): no more are kept."

LinePlace: TypeAlias = tuple[Annotated[int, msgspec.Meta(ge=0, lt=2**31)]]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a run's log."""

    number: int
    """Its place in the log: 0, 1, 2 ..."""
    at: datetime
    """When the server wrote it."""
    level: LogLevel
    message: str
    step_id: str | None
    step_index: int | None
    """The step in whose body it was logged, if in one."""
    missed: int
    """How many lines before it were lost on their way."""


class NewLine(NamedTuple):
    """A line about to be written."""

    workspace_id: int
    run_id: UUID
    line: LogLine


class RunLogs:
    """Writes lines, those of many runs in one transaction."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes
        self.commits: GroupCommit[NewLine, None] = GroupCommit("run logs", self._write, _weight)

    def put(self, workspace_id: int, line: LogLine) -> None:
        """Have `line` written, unless too many wait for that. Raises `ValueError` for what is no run's id."""
        if not self.commits.full:
            self.commits.put(NewLine(workspace_id, UUID(line.run_id), line), _nobody_waits)

    def without_lines(self, workspace_id: int, messages: Sequence[HolderSays]) -> list[RunMessage]:
        """Have the lines among `messages` written, and return the others."""
        others: list[RunMessage] = []
        for message in messages:
            if isinstance(message, LogLine):
                self.put(workspace_id, message)
            else:
                others.append(message)
        return others

    async def _write(self, lines: Sequence[NewLine]) -> list[None]:
        try:
            written = await self._database.fetch(
                "insert_run_logs",
                [new.workspace_id for new in lines],
                [new.run_id for new in lines],
                [new.line.number for new in lines],
                [new.line.level for new in lines],
                [self._database.sealed(new.workspace_id, _message(new)) for new in lines],
                [new.line.step_id and new.line.step_id.replace("\0", "\N{REPLACEMENT CHARACTER}") for new in lines],
                [new.line.step_index for new in lines],
                limits.LOG_LINES_PER_RUN,
                NO_MORE.encode(),
            )
        except asyncpg.UniqueViolationError:
            raise TryAgain("another server has added to the same log") from None
        self._changes.runs_changed(row["run_id"] for row in written)
        return [None] * len(lines)


async def page(
    database: Database, workspace_id: int, run_id: UUID, *, cursor: str | None, items_max: int
) -> Page[Line]:
    """Lines of a run, oldest first.

    Raises `NotFound` for an unknown run, `Invalid` for a cursor that is none of ours.
    """
    (after,) = (-1,) if cursor is None else decode_cursor(cursor, LinePlace)
    await status(database, workspace_id, run_id)
    rows = await database.of(workspace_id).fetch("list_run_logs", run_id, after, items_max + 1)
    items = [_line(row) for row in rows[:items_max]]
    return Page(items=items, next_cursor=encode_cursor((items[-1].number,)) if len(rows) > items_max else None)


async def latest(database: Database, workspace_id: int, run_id: UUID, *, lines_max: int) -> list[Line]:
    """The last lines of a run, oldest first; none for an unknown run."""
    return [_line(row) for row in await database.of(workspace_id).fetch("list_latest_run_logs", run_id, lines_max)]


def _message(new: NewLine) -> bytes:
    return new.line.message.replace("\0", "\N{REPLACEMENT CHARACTER}").encode()


def _line(row: Record) -> Line:
    return Line(**{**row, "message": row["message"].decode()})


def _weight(new: NewLine) -> int:
    return LINE_BYTES + len(new.line.message)


def _nobody_waits(_: NewLine, __: BaseException | None) -> None:
    """A line is answered by nothing; that it could not be written is in the server's log."""
