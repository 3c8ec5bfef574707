"""Servers, workers and apps as real processes on one database, to be killed and started again by a test."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from rotor import Rotor
from rotor.sdk.resources import Run
from rotor.store.database import Database, Record
from rotor.store.doctor import Finding, check
from rotor.store.keys import Keys
from rotor.store.migrate import migrate
from tests.conformance.ledger import FOLDER, notes, open_gate
from tests.dev.processes import free_port

__all__ = ["BEFORE_LEASES_END", "Bench", "Program", "Recorded", "until"]

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 60
BEFORE_LEASES_END = 25
"""Seconds, on a machine that is slow: what needs a lease to run out takes longer."""

Recorded: TypeAlias = dict[tuple[Any, ...], tuple[Any, ...]]
"""What is on record of each step that has ended."""


class Program:
    """One process, whose output goes to a file of its own."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    async def says(self, text: str, *, times: int = 1) -> Program:
        """Return once `text` stands in its output so often."""
        deadline = time.monotonic() + START_SECONDS
        while self.said.count(text) < times:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            await asyncio.sleep(0.02)
        return self

    @property
    def state(self) -> str:
        """One letter, as in `ps`: T where it is stopped."""
        facts = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        return facts.rpartition(")")[2].split()[0]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """As `kill -9`, or the loss of its machine."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    async def ended(self, within_seconds: float = 60) -> int:
        return await asyncio.to_thread(self.process.wait, within_seconds)


class Bench:
    """One database, and what runs on it."""

    def __init__(self, dsn: str, schema: str, folder: Path, *, launcher: str | None = None) -> None:
        self.dsn = dsn
        self.schema = schema
        self.folder = folder
        self.launcher = [launcher] if launcher is not None else []
        """A module that starts every program here."""
        self.ledger = folder / "ledger"
        self.ledger.mkdir()
        self.port = free_port()
        self.programs: list[Program] = []
        self._clients: list[Rotor] = []
        self.database: Database
        self.environment: dict[str, str] = {}

    async def open(self) -> None:
        await migrate(self.dsn, schema=self.schema)
        self.database = await Database.connect(self.dsn, schema=self.schema, connections_max=2)
        made = await Keys(self.database).create(name="", workspace="default")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ROTOR_", "DATABASE_URL"))}
        self.environment = {
            **kept,
            "DATABASE_URL": self.dsn,
            "ROTOR_SCHEMA": self.schema,
            "ROTOR_API_KEY": made.key,
            "ROTOR_SIGNING_KEY": made.signing_key,
            "ROTOR_LOG": "info",
            "ROTOR_ALLOW_OUTBOUND": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
            FOLDER: str(self.ledger),
        }

    async def close(self) -> None:
        for program in self.programs:
            program.kill()
        for client in self._clients:
            await client.aclose()
        await self.database.close()

    # --- programs

    def url(self, port: int | None = None) -> str:
        return f"http://127.0.0.1:{port or self.port}"

    def client(self, port: int | None = None) -> Rotor:
        client = Rotor(self.environment["ROTOR_API_KEY"], self.url(port))
        self._clients.append(client)
        return client

    def program(self, *arguments: str, **environment: str) -> Program:
        log = self.folder / f"{len(self.programs)}.log"
        program = Program(
            [*self.launcher, *arguments], {**self.environment, "ROTOR_URL": self.url(), **environment}, log
        )
        self.programs.append(program)
        return program

    async def server(self, port: int | None = None, *options: str) -> Program:
        """A server on `port` that is ready."""
        port = port or self.port
        server = self.program("rotor.cli", "server", "--port", str(port), *options)

        async def ready() -> bool:
            assert server.process.poll() is None, server.said
            return await asyncio.to_thread(_is_ready, self.url(port))

        await until(ready, within_seconds=START_SECONDS)
        return server

    async def worker(self, *, port: int | None = None, slots: int = 100) -> Program:
        """A worker that is connected to the server on `port`."""
        url = self.url(port)
        worker = self.program("rotor.cli", "worker", "tests.crashes.workflows", "--slots", str(slots), ROTOR_URL=url)
        return await worker.says("connected to")

    async def app(self, port: int) -> Program:
        """The same functions as a web app on `port`."""
        app = self.program("uvicorn", "tests.crashes.served:app", "--port", str(port), "--log-level", "info")
        await app.says("Application startup complete")
        return app

    async def sync(self, port: int) -> None:
        """Register the web app."""
        program = self.program("rotor.cli", "sync", f"http://127.0.0.1:{port}/api/rotor")
        assert await program.ended(START_SECONDS) == 0, program.said

    # --- what happened

    def notes(self, key: str) -> list[str]:
        return notes(self.ledger, key)

    def open_gate(self, key: str) -> None:
        open_gate(self.ledger, key)

    async def noted(self, key: str, word: str, *, times: int = 1, within_seconds: float = 60) -> None:
        """Until a body has written it down."""

        async def written() -> bool:
            return self.notes(key).count(word) >= times

        await until(written, within_seconds=within_seconds)

    async def run_of(self, event_id: str) -> Run:
        """The one run that the event started, as the database has it through a living server."""
        (run,) = (await self.client().events.get(event_id)).runs
        return run

    async def rows(self, statement: str, *arguments: object) -> list[Record]:
        async with self.database.connection() as connection:
            return await connection.raw.fetch(statement, *arguments)

    async def take_leases(self) -> None:
        """Whoever holds a run has lost it: rather than wait for leases to run out."""
        await self.rows("UPDATE leases SET expires_at = now(), taken_at = now()")

    async def statuses(self) -> dict[str, int]:
        return {row["status"]: row["n"] for row in await self.rows("SELECT status, count(*) AS n FROM runs GROUP BY 1")}

    async def all_ended(self, within_seconds: float = 60) -> None:
        async def ended() -> bool:
            return not set(await self.statuses()) & {"queued", "running", "waiting"}

        await until(ended, within_seconds=within_seconds, what=self.statuses)

    async def findings(self) -> list[Finding]:
        return await check(self.database)

    async def recorded(self) -> Recorded:
        """Every step that has ended."""
        rows = await self.rows(
            "SELECT run_id, id, index, status, output, error, ended_at FROM steps WHERE ended_at IS NOT NULL"
        )
        return {tuple(row)[:3]: tuple(row)[3:] for row in rows}


async def until(
    condition: Callable[[], Awaitable[bool]],
    *,
    within_seconds: float = 60,
    every_seconds: float = 0.02,
    what: Callable[[], Awaitable[object]] | None = None,
) -> None:
    deadline = time.monotonic() + within_seconds
    while not await condition():
        assert time.monotonic() < deadline, await what() if what is not None else "it did not come to it"
        await asyncio.sleep(every_seconds)


def _is_ready(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
        return bool(answer.status == 200)
    return False
