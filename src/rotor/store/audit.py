"""The audit log: who changed what by hand, when and from where; an entry is part of the transaction that it tells of.

Whoever lets a request in says who acts (`acting`), and each change notes itself (`record`). What the server does of
itself, or a workflow, is no one's act and is not noted: runs and steps are their own record.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from rotor.store.database import Database, WorkspaceConnection
from rotor.store.pages import Page, decode_cursor, encode_cursor
from rotor.store.scopes import Caller

__all__ = ["ACTIONS", "Action", "Actor", "AuditEntry", "acting", "caller_acts", "page", "record"]

Action: TypeAlias = Literal[
    "workspace.created",
    "key.created",
    "key.revoked",
    "signing_key.rotated",
    "function.registered",
    "function.paused",
    "function.resumed",
    "function.deleted",
    "run.cancelled",
    "run.replayed",
    "signal.completed",
]
ACTIONS: tuple[Action, ...] = Action.__args__  # type: ignore[attr-defined]
Place: TypeAlias = tuple[datetime, UUID]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a key by its id and name, or `name` alone for somebody without one, and the address they act from."""

    name: str
    key_id: UUID | None = None
    address: str | None = None


acting: ContextVar[Actor | None] = ContextVar("rotor_acting", default=None)
"""Who acts in this request or command; None: nobody, it is the server itself."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One act."""

    id: UUID
    at: datetime
    actor: str
    """The name of the key at that time, or what acted without one."""
    key_id: UUID | None
    address: str | None
    """Where the request came from, as far as the server sees; null for a command on the database."""
    action: Action
    target: str
    """The id of the function, run, key or signal, or the name of the workspace."""


def caller_acts(caller: Caller, address: tuple[str, int] | None) -> None:
    """From here on `caller` acts in this request, which came from `address`."""
    name = caller.key_name if caller.key_id is not None else "developer"
    acting.set(Actor(name, caller.key_id, address[0] if address is not None else None))


async def record(connection: WorkspaceConnection, action: Action, *targets: str) -> None:
    """Note that who acts has done `action` to each of `targets`, in the transaction of `connection`."""
    actor = acting.get()
    if actor is not None and targets:
        ids = [uuid7() for _ in targets]
        await connection.execute(
            "add_audit_entries", actor.name, actor.key_id, actor.address, action, list(targets), ids
        )


async def page(
    database: Database,
    workspace_id: int,
    *,
    action: Action | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str | None = None,
    items_max: int,
) -> Page[AuditEntry]:
    """Entries, newest first. Raises `Invalid` for a cursor that is none of ours."""
    at, entry_id = (None, None) if cursor is None else decode_cursor(cursor, Place)
    rows: Sequence[object] = await database.of(workspace_id).fetch(
        "list_audit_entries", at, action, since, until, items_max + 1, entry_id
    )
    items = [AuditEntry(**row) for row in rows[:items_max]]  # type: ignore[arg-type]
    return Page(items=items, next_cursor=encode_cursor((items[-1].at, items[-1].id)) if len(rows) > items_max else None)
