"""API keys: who may speak for a workspace, what for, and until when.

A key is `rk_PREFIX_SECRET`. It is shown once; the database keeps its SHA-256 hash, which is enough because the secret
is 256 random bits. A process remembers an answer for a quarter of a second, and so long a key works that another
process has revoked.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from rotor import limits
from rotor.store import audit, signing_keys, workspaces
from rotor.store.checks import name_problem
from rotor.store.database import Database
from rotor.store.problems import Invalid, NotFound
from rotor.store.recent import Recent
from rotor.store.scopes import EVERYTHING, SCOPES, Caller, Scope

__all__ = ["ApiKey", "CreatedKey", "Keys", "LoginLink", "hash_of"]


REMEMBERED_SECONDS = 0.25
LOGIN = "login_"
"""How the token of a login link begins, so that it is no API key."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as people list it: never the secret."""

    id: UUID
    workspace: str
    name: str
    prefix: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    """When it was last used, to the minute."""
    revoked_at: datetime | None
    expired: bool


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new API key, with the workspace's signing key: the one moment in which `key` can be read."""

    id: UUID
    key: str
    signing_key: str
    workspace: str


class LoginLink(msgspec.Struct, frozen=True, kw_only=True):
    """What lets somebody log in to the dashboard once: `token` is the end of its address."""

    token: str
    expires_at: datetime


class Keys:
    """The API keys of every workspace of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._callers: Recent[bytes, Caller | None] = Recent(
            self._read_caller, seconds=REMEMBERED_SECONDS, guessed=True
        )

    async def create(
        self,
        *,
        name: str = "",
        workspace: str = workspaces.DEFAULT,
        scopes: Collection[Scope] = EVERYTHING,
        expires_in: timedelta | None = None,
    ) -> CreatedKey:
        """Make a key of `workspace`, and with the first one the workspace itself and its signing key. Without
        `expires_in` it holds until it is revoked.

        Raises `Invalid`, naming `name`, `workspace`, `scopes` or `expires_in`.
        """
        problems = list(_problems(name, scopes, expires_in))
        if problems:
            raise Invalid(problems)
        key_id, prefix = uuid7(), secrets.token_hex(4)
        key = f"rk_{prefix}_{secrets.token_urlsafe(32)}"
        async with self._database.transaction() as connection:
            workspace_id = await workspaces.ensure(connection, workspace)
            allowed = [scope for scope in SCOPES if scope in scopes]
            own = connection.of(workspace_id)
            await own.execute("add_api_key", key_id, name, prefix, hash_of(key), allowed, expires_in)
            signing_key = await signing_keys.ensure(own)
            await audit.record(own, "key.created", str(key_id))
        return CreatedKey(id=key_id, key=key, signing_key=signing_key, workspace=workspace)

    async def login_link(
        self, workspace_id: int, *, name: str = "", scopes: Collection[Scope] = EVERYTHING, expires_in: timedelta
    ) -> LoginLink:
        """Make a link for one login. It is a key that no request can use: the login takes it over for its session.

        Raises `Invalid`, naming `name`, `scopes` or `expires_in`.
        """
        problems = list(_problems(name, scopes, expires_in))
        if not {"read", "admin"} & set(scopes):
            problems.append(("scopes", "must have read, without which nobody logs in"))
        if problems:
            raise Invalid(problems)
        token = f"{LOGIN}{secrets.token_urlsafe(32)}"
        allowed = [scope for scope in SCOPES if scope in scopes]
        key_id = uuid7()
        async with self._database.of(workspace_id).transaction() as connection:
            await connection.execute("delete_ended_logins")
            expires_at: datetime = await connection.fetchval(
                "add_api_key", key_id, name or "login link", "login", hash_of(token), allowed, expires_in
            )
            await audit.record(connection, "key.created", str(key_id))
        return LoginLink(token=token, expires_at=expires_at)

    async def use_login_link(self, token: str, session: timedelta) -> bytes | None:
        """The hash of the key that a link has become for the length of a session, or None: it was used, or is over."""
        if not token.startswith(LOGIN) or await self.find(hash_of(token)) is None:
            return None  # found out as for keys, so that guesses are bounded
        key_hash = secrets.token_bytes(32)
        used = await self._database.fetchval("use_login_link", hash_of(token), key_hash, session)
        return None if used is None else key_hash

    async def list(self, *, workspace: str | None = None) -> list[ApiKey]:
        """The keys of `workspace`, or of all, newest first, with those that were revoked or have expired."""
        rows = await self._database.fetch("list_api_keys", workspace)
        return [ApiKey(**row) for row in rows]

    async def revoke(self, key_id: UUID) -> None:
        """Refuse this key from now on; revoking it again changes nothing. Raises `NotFound`."""
        async with self._database.transaction() as connection:
            revoked = await connection.fetchval("revoke_api_key", key_id)
            if revoked is not None:
                await audit.record(connection.of(revoked), "key.revoked", str(key_id))
        self._callers.clear()
        if revoked is None:
            raise NotFound(f"there is no API key {key_id}")

    async def authenticate(self, key: str) -> Caller | None:
        """Whom `key` speaks for and what it allows, or None for one that is unknown, revoked or expired."""
        return await self.find(hash_of(key)) if key.startswith("rk_") else None

    async def find(self, key_hash: bytes) -> Caller | None:
        """The same for the key with this hash."""
        return await self._callers.get(key_hash)

    async def _read_caller(self, key_hash: bytes) -> Caller | None:
        row = await self._database.fetchrow("find_api_key", key_hash)
        if row is None:
            return None
        if row["use_is_news"]:
            await self._database.execute("note_api_key_use", row["id"])
        return Caller(row["workspace_id"], row["workspace"], frozenset(row["scopes"]), row["id"], row["name"])


def _problems(name: str, scopes: Collection[str], expires_in: timedelta | None) -> Iterator[tuple[str, str]]:
    problem = name and name_problem(name)
    if problem:
        yield "name", problem
    if not scopes or set(scopes) - set(SCOPES):
        yield "scopes", f"must be some of {', '.join(SCOPES)}"
    if expires_in is not None and not timedelta() < expires_in <= limits.SLEEP:
        yield "expires_in", f"must be more than nothing, and at most {limits.SLEEP.days:,} days (SLEEP)"


def hash_of(key: str) -> bytes:
    """By what the database knows a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
