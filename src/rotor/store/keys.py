"""API keys: who may speak for a workspace.

A key is `rk_PREFIX_SECRET`. It is shown once; the database keeps its SHA-256 hash, which is enough because the secret
is 256 random bits. A process remembers an answer for a second, so that a key revoked by another process works a
second longer.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from rotor.store import signing_keys, workspaces
from rotor.store.checks import name_problem
from rotor.store.database import Database
from rotor.store.problems import Invalid, NotFound
from rotor.store.recent import Recent

__all__ = ["ApiKey", "CreatedKey", "Keys"]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as people list it: never the secret."""

    id: UUID
    workspace: str
    name: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    """When it was last used, to the minute."""
    revoked_at: datetime | None


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new API key, with the workspace's signing key: the one moment in which `key` can be read."""

    id: UUID
    key: str
    signing_key: str
    workspace: str


class Keys:
    """The API keys of every workspace of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owners: Recent[bytes, int | None] = Recent(self._read_owner)

    async def create(self, *, name: str = "", workspace: str = workspaces.DEFAULT) -> CreatedKey:
        """Make a key of `workspace`, and with the first one the workspace itself and its signing key.

        Raises `Invalid`, naming `name` or `workspace`.
        """
        problem = name and name_problem(name)
        if problem:
            raise Invalid([("name", problem)])
        key_id, prefix = uuid7(), secrets.token_hex(4)
        key = f"rk_{prefix}_{secrets.token_urlsafe(32)}"
        async with self._database.transaction() as connection:
            workspace_id = await workspaces.ensure(connection, workspace)
            await connection.execute("add_api_key", key_id, workspace_id, name, prefix, _hash(key))
            signing_key = await signing_keys.ensure(connection, workspace_id)
        return CreatedKey(id=key_id, key=key, signing_key=signing_key, workspace=workspace)

    async def list(self, *, workspace: str | None = None) -> list[ApiKey]:
        """The keys of `workspace`, or of all, newest first, with those that were revoked."""
        rows = await self._database.fetch("list_api_keys", workspace)
        return [ApiKey(**row) for row in rows]

    async def revoke(self, key_id: UUID) -> None:
        """Refuse this key from now on; revoking it again changes nothing. Raises `NotFound`."""
        revoked = await self._database.fetchval("revoke_api_key", key_id)
        self._owners.clear()
        if revoked is None:
            raise NotFound(f"there is no API key {key_id}")

    async def authenticate(self, key: str) -> int | None:
        """The id of the workspace that `key` speaks for, or None for a key that is unknown or revoked."""
        if not key.startswith("rk_"):
            return None
        return await self._owners.get(_hash(key))

    async def _read_owner(self, key_hash: bytes) -> int | None:
        row = await self._database.fetchrow("find_api_key", key_hash)
        if row is None:
            return None
        if row["use_is_news"]:
            await self._database.execute("note_api_key_use", row["id"])
        owner: int = row["workspace_id"]
        return owner


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
