"""The connection to Postgres: a pool, statements by name, transactions.

Each statement is a file of `queries/` (`store/statements.py`). Those of one workspace run on what `of(workspace_id)`
gives, which passes the workspace's id as their `$1`; all others run on the rest. Neither runs the other's, so nothing
can be asked of a workspace's tables with the id left out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from datetime import timedelta
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, TypeAlias, cast

import asyncpg

from rotor.store.statements import statement, workspace_statement
from rotor.store.vault import Vault

__all__ = ["Connection", "Database", "Record", "Workspace", "WorkspaceConnection"]

Record: TypeAlias = asyncpg.Record

PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""Each statement is written for its indexes and planned once a connection: such a plan must not depend on how small the
tables were at that moment (docs/decisions/0013-plans.md)."""

STATEMENTS = 256
"""Kept prepared on a connection for as long as it lasts: more than there are, since to plan one takes longer than to
run it."""

AT_HAND = 4
"""Connections that are kept out of the pool between two uses. To take one from the pool and give it back is a task, two
turns of the event loop and a timer, which is as much as a small statement."""
KEPT_SECONDS = 300.0
"""So long unused, and a firewall between may have forgotten the connection: nothing tells, and a statement waits in
vain. Those in the pool end after as long."""

IDLE_IN_TRANSACTION = "10s"
"""Less than leases last: a server that stands still in a transaction must not keep workers from their leases, which it
has locked, until they are lost."""


class Connection:
    """One connection, in a transaction or not, that runs statements by name."""

    def __init__(self, raw: asyncpg.pool.PoolConnectionProxy[Any], vault: Vault | None) -> None:
        self.raw = raw
        self._vault = vault

    def of(self, workspace_id: int) -> WorkspaceConnection:
        """The same connection for the statements of one workspace."""
        return WorkspaceConnection(self.raw, workspace_id, self._vault)

    @property
    def seals(self) -> bool:
        """Whether payloads are not stored as they are."""
        return self._vault is not None

    def sealed(self, workspace_ids: Iterable[int], payloads: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """Payloads as they are to be stored, each for its workspace."""
        if (vault := self._vault) is None:
            return payloads
        pairs = zip(workspace_ids, payloads, strict=True)
        return [None if payload is None else vault.seal(workspace_id, payload) for workspace_id, payload in pairs]

    async def fetch(self, name: str, *arguments: object) -> list[Record]:
        return await self.raw.fetch(statement(name), *arguments)

    async def fetchrow(self, name: str, *arguments: object) -> Record | None:
        return await self.raw.fetchrow(statement(name), *arguments)

    async def fetchval(self, name: str, *arguments: object) -> Any:
        return await self.raw.fetchval(statement(name), *arguments)

    async def execute(self, name: str, *arguments: object) -> str:
        return await self.raw.execute(statement(name), *arguments)


class WorkspaceConnection:
    """One connection that runs the statements of one workspace by name, and gives each the workspace's id first."""

    def __init__(
        self, raw: asyncpg.pool.PoolConnectionProxy[Any], workspace_id: int, vault: Vault | None = None
    ) -> None:
        self.raw = raw
        self._workspace_id = workspace_id
        self._vault = vault

    def sealed(self, payload: bytes) -> bytes:
        """A payload as it is to be stored."""
        return payload if self._vault is None else self._vault.seal(self._workspace_id, payload)

    async def fetch(self, name: str, *arguments: object) -> list[Record]:
        with self._opening():
            return await self.raw.fetch(workspace_statement(name), self._workspace_id, *arguments)

    async def fetchrow(self, name: str, *arguments: object) -> Record | None:
        with self._opening():
            return await self.raw.fetchrow(workspace_statement(name), self._workspace_id, *arguments)

    async def fetchval(self, name: str, *arguments: object) -> Any:
        with self._opening():
            return await self.raw.fetchval(workspace_statement(name), self._workspace_id, *arguments)

    async def execute(self, name: str, *arguments: object) -> str:
        return await self.raw.execute(workspace_statement(name), self._workspace_id, *arguments)

    def _opening(self) -> AbstractContextManager[None]:
        """Within, the connection opens payloads of this workspace alone."""
        return _PLAIN if self._vault is None else cast("OpeningConnection", self.raw).opening(self._workspace_id)


_PLAIN: AbstractContextManager[None] = nullcontext()


class OpeningConnection(asyncpg.Connection):
    """A connection that opens sealed payloads as it reads them."""

    __slots__ = ("_workspace_id",)

    async def open_with(self, vault: Vault) -> None:
        """Once, before the first statement."""
        self._workspace_id: int | None = None
        await self.set_type_codec(
            "bytea",
            schema="pg_catalog",
            encoder=bytes,
            decoder=lambda stored: vault.open(stored, self._workspace_id),
            format="binary",
        )

    @contextmanager
    def opening(self, workspace_id: int) -> Iterator[None]:
        """Within, payloads must be of this workspace. One statement runs on a connection at a time."""
        self._workspace_id = workspace_id
        try:
            yield
        finally:
            self._workspace_id = None


async def _leave_as_it_is(_: asyncpg.Connection[Any]) -> None:
    """Nothing here changes a session's state, and asyncpg's usual reset costs more than a commit."""


class Database:
    """A pool of connections to one schema of one Postgres database."""

    def __init__(self, pool: asyncpg.Pool[Any], dsn: str, schema: str, vault: Vault | None = None) -> None:
        self.pool = pool
        self.dsn = dsn
        self.schema = schema
        self.vault = vault
        """What seals payloads; None: they are stored as they are."""
        self._clock_offset = timedelta()
        self._at_hand: list[tuple[asyncpg.pool.PoolConnectionProxy[Any], float]] = []
        """Each with the time at which it was used last."""
        self._wanted = 0
        """How many wait for a connection of the pool."""

    @classmethod
    async def connect(
        cls, dsn: str, *, schema: str = "rotor", connections_max: int = 10, vault: Vault | None = None
    ) -> Database:
        """Open a pool on `dsn` (a libpq URL or keywords); tables are looked up in `schema` alone."""
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=connections_max,
            command_timeout=60,
            reset=_leave_as_it_is,
            statement_cache_size=STATEMENTS,
            max_cached_statement_lifetime=0,
            connection_class=asyncpg.Connection if vault is None else OpeningConnection,
            init=None if vault is None else partial(OpeningConnection.open_with, vault=vault),
            server_settings={
                "application_name": "rotor",
                "search_path": schema,
                "jit": "off",
                **PLANS,
                "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
            },
        )
        return cls(pool, dsn, schema, vault)

    async def close(self) -> None:
        while self._at_hand:
            raw, _ = self._at_hand.pop()
            await self.pool.release(raw)
        await self.pool.close()

    def sealed(self, workspace_id: int, payload: bytes) -> bytes:
        """A payload as it is to be stored."""
        return payload if self.vault is None else self.vault.seal(workspace_id, payload)

    def of(self, workspace_id: int) -> Workspace:
        """The same database for the statements of one workspace."""
        return Workspace(self, workspace_id)

    def advance(self, by: timedelta) -> None:
        """Move the clock of this pool's connections forward. For tests: nothing else may set rotor.clock_offset."""
        self._clock_offset += by

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """One connection of the pool, each statement its own transaction."""
        return _Lent(self)

    async def lend(self) -> asyncpg.pool.PoolConnectionProxy[Any]:
        """A connection, until it is given back."""
        raw = await self._take()
        if self._clock_offset:
            try:
                await raw.execute(
                    "SELECT set_config('rotor.clock_offset', $1, false)",
                    f"{self._clock_offset.total_seconds()} seconds",
                )
            except BaseException:
                await self.pool.release(raw)
                raise
        return raw

    async def take_back(self, raw: asyncpg.pool.PoolConnectionProxy[Any], *, failed: bool) -> None:
        """What was lent is free again. After a failure the pool waits for what was cut off."""
        if failed or self._wanted or self.pool.is_closing() or len(self._at_hand) >= AT_HAND:
            await self.pool.release(raw)
        else:
            self._at_hand.append((raw, monotonic()))

    async def _take(self) -> asyncpg.pool.PoolConnectionProxy[Any]:
        """The connection that was used last, if it is free."""
        while self._at_hand:
            raw, used_at = self._at_hand.pop()
            if _is_open(raw):
                if monotonic() - used_at < KEPT_SECONDS:
                    return raw
                raw.terminate()
            await self.pool.release(raw)
        self._wanted += 1
        try:
            return await self.pool.acquire()
        finally:
            self._wanted -= 1

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction, committed where the block ends without an error."""
        async with self.connection() as connection, connection.raw.transaction():
            yield connection

    async def fetch(self, name: str, *arguments: object) -> list[Record]:
        async with self.connection() as connection:
            return await connection.fetch(name, *arguments)

    async def fetchrow(self, name: str, *arguments: object) -> Record | None:
        async with self.connection() as connection:
            return await connection.fetchrow(name, *arguments)

    async def fetchval(self, name: str, *arguments: object) -> Any:
        async with self.connection() as connection:
            return await connection.fetchval(name, *arguments)

    async def execute(self, name: str, *arguments: object) -> str:
        async with self.connection() as connection:
            return await connection.execute(name, *arguments)


class _Lent(AbstractAsyncContextManager[Connection]):
    """Around the use of a connection. Every statement pays for it: a generator would cost twice as much."""

    __slots__ = ("_database", "_raw")

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __aenter__(self) -> Connection:
        self._raw = await self._database.lend()
        return Connection(self._raw, self._database.vault)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._database.take_back(self._raw, failed=kind is not None)


def _is_open(raw: asyncpg.pool.PoolConnectionProxy[Any]) -> bool:
    try:
        return not raw.is_closed()
    except asyncpg.InterfaceError:  # the pool has let go of it by itself
        return False


class Workspace:
    """A database as one workspace sees it: its statements, each with the workspace's id."""

    def __init__(self, database: Database, workspace_id: int) -> None:
        self._database = database
        self._workspace_id = workspace_id

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[WorkspaceConnection]:
        """One connection of the pool, each statement its own transaction."""
        async with self._database.connection() as connection:
            yield connection.of(self._workspace_id)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[WorkspaceConnection]:
        """One transaction, committed where the block ends without an error."""
        async with self._database.transaction() as connection:
            yield connection.of(self._workspace_id)

    async def fetch(self, name: str, *arguments: object) -> list[Record]:
        async with self.connection() as connection:
            return await connection.fetch(name, *arguments)

    async def fetchrow(self, name: str, *arguments: object) -> Record | None:
        async with self.connection() as connection:
            return await connection.fetchrow(name, *arguments)

    async def fetchval(self, name: str, *arguments: object) -> Any:
        async with self.connection() as connection:
            return await connection.fetchval(name, *arguments)

    async def execute(self, name: str, *arguments: object) -> str:
        async with self.connection() as connection:
            return await connection.execute(name, *arguments)
