"""Two servers, two workers, a serve app and a Postgres of their own, a proxy on each link, and all that can happen."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from rotor import Rotor
from rotor.dev.postgres import Postgres
from tests.campaign import count
from tests.crashes.bench import Bench, Program, Recorded
from tests.crashes.launch import LEASE_SECONDS
from tests.crashes.proxy import Proxy, proxied
from tests.dev.processes import free_port

__all__ = ["LINKS", "Lab", "Strike", "open_lab"]

CONNECTIONS_MAX: Final = 40
LINKS: Final = ("client-server", "worker-server", "server-app", "app-server", "server-postgres")
SHORT_SECONDS: Final = LEASE_SECONDS / 3
"""Whoever is away for less has lost nothing: a lease is extended every sixth of it, and reconnecting takes a moment."""


@dataclass(frozen=True)
class Strike:
    """What explains that bodies in a process ran twice: from `began` to `ended` it was dead, frozen or cut off."""

    pid: int
    what: str
    began: float
    ended: float


class Lab:
    """All processes of a campaign. Server 0 has every link through a proxy, server 1 none."""

    def __init__(self, bench: Bench, postgres: Postgres, links: dict[str, Proxy]) -> None:
        self.bench = bench
        self.postgres = postgres
        self.links = links
        self.ports = [bench.port, free_port()]
        self.app_port = free_port()
        self.servers: list[Program] = []
        self.workers: list[Program] = []
        self.app: Program
        self.strikes: list[Strike] = []
        self.recorded: Recorded = {}
        self.faults = 0
        self.story: list[str] = []
        self._began = time.monotonic()

    async def start(self) -> None:
        self.servers = list(await asyncio.gather(self._server(0), self._server(1)))
        *self.workers, self.app = await asyncio.gather(self._worker(0), self._worker(1), self._app())
        await self.bench.sync(self.links["server-app"].port)

    def client(self) -> Rotor:
        """A client of server 0, through its proxy."""
        return self.bench.client(self.links["client-server"].port)

    # --- programs

    async def _server(self, number: int, faults: str = "") -> Program:
        dsn = self.bench.dsn
        if number == 0:
            dsn = f"postgresql://rotor@127.0.0.1:{self.links['server-postgres'].port}/postgres"
        server = self.bench.program(
            "rotor.cli",
            "server",
            "--port",
            str(self.ports[number]),
            "--public-url",
            f"http://127.0.0.1:{self.links['app-server'].port}",
            DATABASE_URL=dsn,
            FAULTS=faults,
        )
        return server if faults else await server.says("Serving on")

    async def _worker(self, number: int, faults: str = "") -> Program:
        port = self.links["worker-server"].port if number == 0 else self.ports[1]
        worker = self.bench.program(
            "rotor.cli",
            "worker",
            "tests.crashes.programs:BY_WORKER",
            ROTOR_URL=self.bench.url(port),
            FAULTS=faults,
        )
        return worker if faults else await worker.says("connected to")

    async def _app(self, faults: str = "") -> Program:
        app = self.bench.program(
            "uvicorn", "tests.crashes.served:programs", "--port", str(self.app_port), FAULTS=faults
        )
        return app if faults else await app.says("Application startup complete")

    # --- what can happen

    async def note(self, what: str) -> None:
        """A fault begins: what is on record by now must never change."""
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self.recorded |= await self.bench.recorded()
        self.faults += 1
        count("faults injected")
        self.story.append(f"{time.monotonic() - self._began:6.1f} s  {what}")

    def strike(self, what: str, began: float, *programs: Program) -> None:
        """From `began` until now the processes were dead, frozen or cut off."""
        now = time.time()
        self.strikes += [Strike(program.process.pid, what, began, now) for program in programs]

    async def end_server(self, number: int, how: signal.Signals, *, away_seconds: float) -> None:
        """It is killed or asked to stop, and another one starts in its place."""
        await self.note(f"server {number}: {how.name}, away for {away_seconds:.1f} s and its start")
        server, began = self.servers[number], time.time()
        server.signal(how)
        await server.ended()
        await asyncio.sleep(away_seconds)
        self.servers[number] = await self._server(number)
        self._strike_who_needs(number, "its server was away", began)

    async def freeze_server(self, number: int, seconds: float) -> None:
        await self.note(f"server {number}: frozen for {seconds:.1f} s")
        began = time.time()
        self.servers[number].signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.servers[number].signal(signal.SIGCONT)
        self._strike_who_needs(number, "its server was frozen", began)

    def _strike_who_needs(self, number: int, what: str, began: float) -> None:
        """A server that is away for long keeps no leases."""
        if time.time() - began > SHORT_SECONDS:
            self.strike(what, began, self.workers[number], self.app)

    async def end_worker(self, number: int, how: signal.Signals) -> None:
        await self.note(f"worker {number}: {how.name}")
        worker, began = self.workers[number], time.time()
        worker.signal(how)
        await worker.ended(40)
        if how is signal.SIGKILL:
            self.strike("killed", began, worker)
        self.workers[number] = await self._worker(number)

    async def end_app(self, how: signal.Signals) -> None:
        await self.note(f"app: {how.name}")
        app, began = self.app, time.time()
        app.signal(how)
        await app.ended(40)
        if how is signal.SIGKILL:
            self.strike("killed", began, app)
        self.app = await self._app()

    async def run_server_into(self, points: Sequence[str]) -> None:
        """Server 0 is started again and again, each time with a fault at another point, and dies of it."""
        self.servers[0].kill()
        for point in points:
            began = time.time()
            self.servers[0] = await self._server(0, point)
            await self._dies_of("server 0", self.servers[0], point)
            self._strike_who_needs(0, "its server died", began)
        self.servers[0] = await self._server(0)

    async def run_worker_into(self, points: Sequence[str]) -> None:
        """The same for worker 1, whose server lives."""
        self.workers[1].signal(signal.SIGTERM)
        await self.workers[1].ended(40)
        for point in points:
            began = time.time()
            self.workers[1] = await self._worker(1, point)
            await self._dies_of("worker 1", self.workers[1], point)
            self.strike(point, began, self.workers[1])
        self.workers[1] = await self._worker(1)

    async def run_app_into(self, points: Sequence[str]) -> None:
        """The same for the app."""
        self.app.signal(signal.SIGTERM)
        await self.app.ended(40)
        for point in points:
            began = time.time()
            self.app = await self._app(point)
            await self._dies_of("app", self.app, point)
            self.strike(point, began, self.app)
        self.app = await self._app()

    async def _dies_of(self, what: str, program: Program, point: str) -> None:
        assert await program.ended(30) < 0, program.said
        await self.note(f"{what}: {point}")

    async def freeze(self, program: Program, what: str, seconds: float) -> None:
        """A worker or the app stands still."""
        await self.note(f"{what}: frozen for {seconds:.1f} s")
        began = time.time()
        program.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        program.signal(signal.SIGCONT)
        if seconds > SHORT_SECONDS:
            await asyncio.sleep(SHORT_SECONDS)  # what it begins before it has heard is explained by it as well
            self.strike("frozen", began, program)

    async def restart_postgres(self, how: signal.Signals, *, away_seconds: float) -> None:
        """SIGINT: fast; SIGQUIT: immediate; SIGKILL: a crash. It recovers from its log."""
        await self.note(f"Postgres: {how.name}, away for {away_seconds:.1f} s and its start")
        assert self.postgres.process is not None
        assert self.postgres.process.process_id is not None
        os.kill(self.postgres.process.process_id, how)
        await asyncio.to_thread(self.postgres.stop)
        await asyncio.sleep(away_seconds)
        await asyncio.to_thread(self.postgres.start)

    async def freeze_postgres(self, seconds: float) -> None:
        """Every backend stands still: nobody is told, and all statements hang. It explains no second run of a body."""
        await self.note(f"Postgres: frozen for {seconds:.1f} s")
        processes = self._postgres_processes()
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        for process in processes:
            os.kill(process, signal.SIGCONT)

    def _postgres_processes(self) -> list[int]:
        assert self.postgres.process is not None
        postmaster = self.postgres.process.process_id
        assert postmaster is not None
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="ascii").split()
        return [postmaster, *map(int, children)]

    async def exhaust_connections(self, seconds: float) -> None:
        """All connections are taken, and those of the servers are lost."""
        await self.note(f"Postgres: no connection is left for {seconds:.1f} s")
        hogs: list[asyncpg.Connection[asyncpg.Record]] = []
        try:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                try:
                    hogs.append(await asyncpg.connect(self.bench.dsn))
                except asyncpg.PostgresError:
                    await hogs[0].execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rotor'"
                    )
                    await asyncio.sleep(0.05)
        finally:
            for hog in hogs:
                await hog.close()

    async def break_link(self, name: str, how: str, *, seconds: float = 0.0, after_bytes: int = 0) -> None:
        """Whoever holds runs at the end of the link may have been cut off."""
        link, began = self.links[name], time.time()
        await self.note(f"{name}: {how} ({seconds:.1f} s, {after_bytes} bytes)")
        match how:
            case "broken":
                link.break_all()
            case "broken for one end":
                link.lose_clients()
            case "half closed":
                link.half_close()
            case "half a request":
                link.cut_requests(after_bytes)
            case "half an answer":
                link.cut_answers(after_bytes)
            case "slow":
                link.delay_seconds = 0.05
            case "silent":
                link.is_silent = True
            case _:
                raise AssertionError(how)
        await asyncio.sleep(seconds)
        link.heal()
        await asyncio.sleep(SHORT_SECONDS / 4)
        if name == "worker-server":
            self.strike(how, began, self.workers[0])
        if name in ("server-app", "app-server"):
            self.strike(how, began, self.app)


@asynccontextmanager
async def open_lab(folder: Path) -> AsyncIterator[Lab]:
    """A lab at work, in `folder`."""
    postgres = Postgres(folder / "pg", settings={"max_connections": str(CONNECTIONS_MAX)})
    await asyncio.to_thread(postgres.start)
    try:
        bench = Bench(postgres.dsn, "rotor", folder, launcher="tests.crashes.launch")
        await bench.open()
        try:
            async with AsyncExitStack() as stack:
                app_port = free_port()
                targets: dict[str, int | str] = dict.fromkeys(LINKS, bench.port)
                targets |= {
                    "server-app": app_port,
                    "server-postgres": f"{postgres.dsn.partition('host=')[2]}/.s.PGSQL.5432",
                }
                links = {name: await stack.enter_async_context(proxied(targets[name])) for name in LINKS}
                lab = Lab(bench, postgres, links)
                lab.app_port = app_port
                await lab.start()
                yield lab
        finally:
            await bench.close()
    finally:
        await asyncio.to_thread(postgres.stop)
