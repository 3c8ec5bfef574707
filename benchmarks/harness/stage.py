"""A stage for one question: a schema of its own with server and worker processes on it, and what these use."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg

from benchmarks.harness.programs import Program, free_port, module
from benchmarks.harness.usage import Tree, Usage, usage
from rotor import Rotor
from rotor.dev.postgres import Postgres
from rotor.store.database import Database
from rotor.store.keys import Keys
from rotor.store.migrate import migrate

__all__ = ["Stage"]

numbers = count(1)


class Stage:
    """`async with Stage(postgres, folder)`: an empty schema; then `server`, `worker` and the like as wanted."""

    def __init__(self, postgres: Postgres, folder: Path, *, quick: bool = False, minutes: float = 1) -> None:
        self.quick = quick
        self.minutes = minutes
        """How long a question about endurance takes."""
        self.postgres = postgres
        self.dsn = postgres.dsn
        self.schema = f"benchmark_{next(numbers)}"
        self.folder = folder
        self.port = free_port()
        self.programs: list[Program] = []
        self.clients: list[Rotor] = []
        self.rows: asyncpg.Connection[Any]
        """A connection to the schema, for looking on."""
        self.environment: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await migrate(self.dsn, schema=self.schema)
        database = await Database.connect(self.dsn, schema=self.schema, connections_max=1)
        made = await Keys(database).create(name="benchmark", workspace="default")
        await database.close()
        self.rows = await asyncpg.connect(self.dsn, server_settings={"search_path": self.schema, "jit": "off"})
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ROTOR_", "DATABASE_URL"))}
        self.environment = {
            **kept,
            "DATABASE_URL": self.dsn,
            "ROTOR_SCHEMA": self.schema,
            "ROTOR_URL": self.url,
            "ROTOR_API_KEY": made.key,
            "ROTOR_SIGNING_KEY": made.signing_key,
            "ROTOR_ALLOW_OUTBOUND": "127.0.0.1",  # the app that is served is on this machine
            "PYTHONUNBUFFERED": "1",
        }
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for client in self.clients:
            await client.aclose()
        for program in reversed(self.programs):
            await program.stop()
        await self.rows.execute("SET client_min_messages = warning")
        await self.rows.execute(f"DROP SCHEMA {self.schema} CASCADE")
        await self.rows.close()

    # --- programs

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return self.environment["ROTOR_API_KEY"]

    def program(self, name: str, command: Sequence[str], **environment: str) -> Program:
        log = self.folder / f"{self.schema}-{len(self.programs)}-{name}.log"
        program = Program(name, command, {**self.environment, **environment}, log)
        self.programs.append(program)
        return program

    async def open(self, *, slots: int = 1_000) -> None:
        """One server and one worker."""
        await self.server()
        await self.worker(slots=slots)

    async def server(self, port: int | None = None) -> Program:
        """`rotor server`, ready."""
        command = module("rotor.cli", "server", "--port", str(port or self.port))
        return await self.program("server", command).says("Serving on")

    async def worker(self, *, slots: int = 1_000, port: int | None = None, key: str | None = None) -> Program:
        """`rotor worker`, connected to the server on `port`, in the workspace of `key`."""
        command = module("rotor.cli", "worker", "benchmarks.workflows:functions", "--slots", str(slots))
        environment = {"ROTOR_URL": f"http://127.0.0.1:{port or self.port}", "ROTOR_API_KEY": key or self.key}
        return await self.program("worker", command, **environment).says("connected to")

    def client(self, *, key: str | None = None, port: int | None = None) -> Rotor:
        client = Rotor(key or self.key, f"http://127.0.0.1:{port or self.port}")
        self.clients.append(client)
        return client

    @property
    def sender(self) -> Rotor:
        """The client that all share."""
        return self.clients[0] if self.clients else self.client()

    def size(self, full: int) -> int:
        """How many to take: in a quick look a tenth."""
        return max(full // 10, 1) if self.quick else full

    # --- what is used

    @property
    def trees(self) -> list[Tree]:
        """Everything that works: the programs, Postgres with all its backends, and this process, which sends."""
        postgres = self.postgres.process
        assert postgres is not None
        assert postgres.process_id is not None
        return [
            *(Tree(program.name, program.process.pid) for program in self.programs),
            Tree("postgres", postgres.process_id),
        ]

    def usage(self) -> Usage:
        """CPU seconds so far of all that work, and of this process as `sender`."""
        seconds = usage(self.trees).seconds
        return Usage({**seconds, "sender": time.process_time()})
