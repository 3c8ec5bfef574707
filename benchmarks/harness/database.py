"""The Postgres of the benchmarks: the embedded one, durable as in production, and with each commit's time on record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from benchmarks.harness.figures import WrongError
from rotor.dev.postgres import Postgres

__all__ = ["check_durable", "postgres_in"]

SETTINGS = {
    "track_commit_timestamp": "on",  # a witness of its own: each step's commit against the start of the next
    "max_wal_size": "4GB",  # no checkpoint by size in the middle of a measurement
    "max_connections": "200",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@contextmanager
def postgres_in(folder: Path) -> Iterator[Postgres]:
    """A running Postgres whose data lies in `folder`."""
    postgres = Postgres(folder, settings=SETTINGS)
    postgres.start()
    try:
        yield postgres
    finally:
        postgres.stop()


async def check_durable(dsn: str) -> None:
    """Raise `WrongError` unless every commit waits for the disk."""
    connection = await asyncpg.connect(dsn)
    try:
        for name, wanted in DURABLE.items():
            if (is_set := await connection.fetchval(f"SHOW {name}")) != wanted:
                raise WrongError(f"{name} is {is_set}: what is measured without it is not durable")
    finally:
        await connection.close()
