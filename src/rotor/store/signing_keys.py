"""Signing keys: the secret that a workspace's server and its serve apps share.

A rotation makes a new key and retires all but the one before it. Both sides sign with every key that is not retired and
accept any of them, so that apps move to the new key one by one; the next rotation ends the old one.
"""

from __future__ import annotations

from rotor.protocol.signing import generate_key
from rotor.store import audit, workspaces
from rotor.store.database import Database, WorkspaceConnection
from rotor.store.recent import Recent

__all__ = ["SigningKeys", "ensure"]


async def ensure(connection: WorkspaceConnection) -> str:
    """The newest signing key of the workspace, made where it has none. The workspace's row must be locked."""
    keys = await _read(connection)
    return keys[0] if keys else await _add(connection)


class SigningKeys:
    """The signing keys of every workspace of one database, remembered for a second."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: Recent[int, list[str]] = Recent(self._read, guessed=True)

    async def of(self, workspace_id: int) -> list[str]:
        """The keys that are not retired, newest first; none where the workspace has never had a key, or a stranger has
        made it up. Raises `Overloaded` for too many of these."""
        return await self._recent.get(workspace_id)

    async def ensure(self, workspace_id: int) -> list[str]:
        """The keys that are not retired, newest first; a workspace that has none gets its first."""
        keys = await self._recent.get(workspace_id, known=True)
        if not keys:
            async with self._database.of(workspace_id).transaction() as connection:
                await connection.execute("lock_workspace")
                keys = [await ensure(connection)]
            self._recent.clear()
        return keys

    async def rotate(self, *, workspace: str = workspaces.DEFAULT) -> str:
        """Make a new key and return it; the one before it stays valid until the next rotation. Raises `NotFound`."""
        workspace_id = await workspaces.identify(self._database, workspace)
        async with self._database.of(workspace_id).transaction() as connection:
            await connection.execute("lock_workspace")
            before = await ensure(connection)
            await connection.execute("retire_signing_keys", before)
            key = await _add(connection)
            await audit.record(connection, "signing_key.rotated", workspace)
        self._recent.clear()
        return key

    async def _read(self, workspace_id: int) -> list[str]:
        async with self._database.of(workspace_id).connection() as connection:
            return await _read(connection)


async def _read(connection: WorkspaceConnection) -> list[str]:
    return [row["key"] for row in await connection.fetch("list_signing_keys")]


async def _add(connection: WorkspaceConnection) -> str:
    key = generate_key()
    await connection.execute("add_signing_key", key)
    return key
