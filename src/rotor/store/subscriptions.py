"""What an event of a name meets: the functions that it starts, and the paths by which waits tell such events apart.

Kept in memory with the revision of the workspace at which it was read. Whatever changes it raises the revision in the
same transaction, and the statement that writes events writes nothing where a revision is not the one that is known: so
memory that is out of date is never acted upon, whichever server changed what.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

from rotor import limits
from rotor.engine.matching import event_hashes
from rotor.store.database import Connection

__all__ = ["EventName", "Known", "Subscribers", "Subscriptions"]

EventName: TypeAlias = tuple[int, str]
"""A workspace, and the name of an event in it."""


class Subscribers(msgspec.Struct, frozen=True):
    """Who wants events of one name."""

    triggers: tuple[tuple[str, str | None], ...]
    """Functions, each with the condition of a trigger; None: it has none."""
    awaited: bool
    """Some wait has used the name."""
    paths: tuple[str, ...]
    """By which waits have told such events apart."""
    dated: bool
    """Each path has its date. Nothing tells of that, so it may be true by now."""

    def hashes(self, event: dict[str, Any]) -> tuple[int, ...]:
        """What the waits that may want `event` are stored under: first 0, for those without a path."""
        return (0, *event_hashes(event, self.paths)) if self.awaited else ()

    @property
    def needs_time(self) -> bool:
        """Whether a trigger may ask for the event's time. That is `ts` in its condition; other words may hold these
        letters too."""
        return any(match is not None and "ts" in match for _, match in self.triggers)


class Known(NamedTuple):
    """What a batch of events meets, and the revisions of their workspaces at which that is so."""

    revisions: Mapping[int, int]
    by_name: Mapping[EventName, Subscribers]


class Subscriptions:
    """What this server remembers of it: up to EVENT_NAMES names, then it begins anew."""

    def __init__(self) -> None:
        self._revisions: dict[int, int] = {}
        self._by_name: dict[int, dict[str, Subscribers]] = {}
        self._count = 0

    def known(self, names: Collection[EventName]) -> Known | None:
        """What these names meet as far as this server knows; None where it lacks one of them."""
        try:
            by_name = {name: self._by_name[name[0]][name[1]] for name in names}
        except KeyError:
            return None
        return Known({workspace_id: self._revisions[workspace_id] for workspace_id, _ in names}, by_name)

    async def read(self, connection: Connection, names: Collection[EventName]) -> Known:
        """What these names meet now."""
        rows = await connection.fetch(
            "read_event_subscribers", [name[0] for name in names], [name[1] for name in names]
        )
        found = Known(
            {row["workspace_id"]: row["revision"] for row in rows},
            {
                (row["workspace_id"], row["name"]): Subscribers(
                    tuple((function_id, match) for function_id, match in row["triggers"]),
                    row["awaited"],
                    tuple(row["paths"]),
                    row["dated"],
                )
                for row in rows
            },
        )
        self._remember(found)
        return found

    def _remember(self, found: Known) -> None:
        if self._count + len(found.by_name) > limits.EVENT_NAMES:
            self._revisions, self._by_name, self._count = {}, {}, 0
        for workspace_id, revision in found.revisions.items():
            if revision > self._revisions.get(workspace_id, -1):
                self._count -= len(self._by_name.pop(workspace_id, {}))
                self._revisions[workspace_id] = revision
        for (workspace_id, name), subscribers in found.by_name.items():
            # What was read first may come last.
            if found.revisions[workspace_id] == self._revisions[workspace_id]:
                names = self._by_name.setdefault(workspace_id, {})
                self._count += name not in names
                names[name] = subscribers
