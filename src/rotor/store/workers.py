"""Who runs the functions of a workspace, as every server sees it: connected workers, and apps called over HTTP.

Workers are known by their leases, apps by their registrations; of calls to apps each server keeps in `app_calls` which
were answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from rotor import limits
from rotor.store.database import Database

__all__ = ["App", "ConnectedWorker", "apps", "connected", "note_calls"]


class ConnectedWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker whose lease holds."""

    id: UUID
    name: str
    app: str
    version: str
    slots: int
    runs: int
    """How many it holds."""
    connected_at: datetime
    seen_at: datetime


class App(msgspec.Struct, frozen=True, kw_only=True):
    """Functions that are served at one address in one version."""

    serve_url: str
    app: str
    version: str
    function_ids: list[str]
    registered_at: datetime
    """When the last of its functions was registered or changed."""
    answered_at: datetime | None
    unreached_at: datetime | None
    """When it was last called in vain, if nothing was answered since."""
    runs: int
    """How many run in it."""


async def connected(database: Database, workspace_id: int, *, items_max: int) -> list[ConnectedWorker]:
    """The workers that are connected to any server, the latest first."""
    return [
        ConnectedWorker(**row) for row in await database.of(workspace_id).fetch("list_workers", items_max, limits.LEASE)
    ]


async def apps(database: Database, workspace_id: int, *, items_max: int) -> list[App]:
    """The apps that are registered, by name."""
    return [App(**row) for row in await database.of(workspace_id).fetch("list_apps", items_max)]


async def note_calls(database: Database, calls: Mapping[tuple[int, str], bool]) -> None:
    """Keep of calls by workspace and address whether the last was answered."""
    workspace_ids, serve_urls = zip(*calls, strict=True)
    await database.execute("put_app_calls", workspace_ids, serve_urls, list(calls.values()))
