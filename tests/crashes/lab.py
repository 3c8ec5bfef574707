"""Two servers, two workers, a serve app and a Postgres of their own, a proxy on each link, and all that can happen."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from rotor import Rotor
from rotor.dev.postgres import Postgres
from rotor.store.doctor import Finding
from tests.campaign import count_fault
from tests.crashes.bench import Bench, Program, Recorded, until
from tests.crashes.faults import CUT_OFF, FROZEN, LINKS, NO_CONNECTION, Fault
from tests.crashes.launch import LEASE_SECONDS
from tests.crashes.proxy import Proxy, proxied
from tests.dev.processes import free_port

__all__ = ["LONG_SECONDS", "Lab", "Strike", "open_lab"]

CONNECTIONS_MAX: Final = 40
LONG_SECONDS: Final = LEASE_SECONDS + 1.5
"""A holder that is frozen or cut off for so long has lost its runs."""
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
        """All that was on record before one of the faults."""
        self.found: list[Finding] = []
        """What the doctor found before one of them."""
        self.injected: Counter[Fault] = Counter()
        self.tallied: Counter[str] = Counter()
        """What verdicts have counted so far."""
        self.story: list[str] = []
        self._without_database: list[tuple[float, float]] = []
        """From when until when, in their order."""
        self._began = time.monotonic()

    async def start(self) -> None:
        self.servers = list(await asyncio.gather(self._server(0), self._server(1)))
        *self.workers, self.app = await asyncio.gather(self._worker(0), self._worker(1), self._app())
        await self.bench.sync(self.links["server-app"].port)

    def clients(self) -> list[Rotor]:
        """One of each server; that of server 0 through its proxy."""
        return [self.bench.client(self.links["client-server"].port), self.bench.client(self.ports[1])]

    # --- programs

    async def _server(self, number: int, faults: str = "") -> Program:
        """One without faults serves. Where it ends since its link to Postgres was broken as it started, it is started
        again, as by whatever supervises it."""
        link = self.links["server-postgres"]
        while True:
            harmed, server = link.harmed, self._start_server(number, faults)
            try:
                return server if faults else await server.says("Serving on")
            except AssertionError:
                if number or server.process.poll() is None or link.harmed == harmed:
                    raise

    def _start_server(self, number: int, faults: str) -> Program:
        dsn = self.bench.dsn
        if number == 0:
            dsn = f"postgresql://rotor@127.0.0.1:{self.links['server-postgres'].port}/postgres"
        return self.bench.program(
            "rotor.cli",
            "server",
            "--port",
            str(self.ports[number]),
            "--public-url",
            f"http://127.0.0.1:{self.links['app-server'].port}",
            DATABASE_URL=dsn,
            FAULTS=faults,
        )

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

    @asynccontextmanager
    async def injecting(self, whom: str, how: str, detail: str = "") -> AsyncIterator[None]:
        """A fault, which counts once it was seen to strike. What is on record before it must never change."""
        # A connection that is cut off in the middle may tell of that as a fault of its own.
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            self.recorded |= await self.bench.recorded()
            self.found += await self.bench.findings()
        self.story.append(f"{time.monotonic() - self._began:6.1f} s  {whom}: {how} {detail}".rstrip())
        yield
        self.injected[whom, how] += 1
        count_fault(whom, how)

    def strike(self, what: str, began: float, *programs: Program) -> None:
        """From `began` until now the processes were dead, frozen or cut off."""
        now = time.time()
        self.strikes += [Strike(program.process.pid, what, began, now) for program in programs]

    def _strike_who_needs(self, number: int, what: str, began: float) -> None:
        """A server that is away for long keeps no leases; nor does one whose database was away shortly before."""
        for database_away, database_back in reversed(self._without_database):
            if database_away < began < database_back + SHORT_SECONDS:
                began = database_away
        if time.time() - began > SHORT_SECONDS:
            self.strike(what, began, self.workers[number], self.app)

    @asynccontextmanager
    async def _no_database(self) -> AsyncIterator[None]:
        """Within, no server can keep a lease."""
        began = time.time()
        yield
        self._without_database.append((began, time.time()))

    async def end_server(self, number: int, how: signal.Signals, *, away_seconds: float = 0) -> None:
        """It is killed or asked to stop, and another one starts in its place."""
        server, began = self.servers[number], time.time()
        async with self.injecting("server", how.name, f"({number}, away for {away_seconds:.1f} s and its start)"):
            await _end(server, how)
        await asyncio.sleep(away_seconds)
        self.servers[number] = await self._server(number)
        self._strike_who_needs(number, "its server was away", began)

    async def end_worker(self, number: int, how: signal.Signals) -> None:
        worker, began = self.workers[number], time.time()
        async with self.injecting("worker", how.name, f"({number})"):
            await _end(worker, how)
        if how is signal.SIGKILL:
            self.strike("killed", began, worker)
        self.workers[number] = await self._worker(number)

    async def end_app(self, how: signal.Signals) -> None:
        app, began = self.app, time.time()
        async with self.injecting("app", how.name):
            await _end(app, how)
        if how is signal.SIGKILL:
            self.strike("killed", began, app)
        self.app = await self._app()

    async def run_server_into(self, number: int, points: Sequence[str]) -> None:
        """A server is started again and again, each time with a fault at another point, and dies of it."""
        self.servers[number].kill()
        for point in points:
            began = time.time()
            self.servers[number] = await self._server(number, point)
            await self._dies_of("server", self.servers[number], point)
            self._strike_who_needs(number, "its server died", began)
        self.servers[number] = await self._server(number)

    async def run_worker_into(self, number: int, points: Sequence[str]) -> None:
        """The same for a worker."""
        self.workers[number].signal(signal.SIGTERM)
        await self.workers[number].ended()
        for point in points:
            began = time.time()
            self.workers[number] = await self._worker(number, point)
            await self._dies_of("worker", self.workers[number], point)
            self.strike(point, began, self.workers[number])
        self.workers[number] = await self._worker(number)

    async def run_app_into(self, points: Sequence[str]) -> None:
        """The same for the app."""
        self.app.signal(signal.SIGTERM)
        await self.app.ended()
        for point in points:
            began = time.time()
            self.app = await self._app(point)
            await self._dies_of("app", self.app, point)
            self.strike(point, began, self.app)
        self.app = await self._app()

    async def _dies_of(self, whom: str, program: Program, point: str) -> None:
        async with self.injecting(whom, "SIGKILL", point):
            assert await program.ended(60) == -signal.SIGKILL, program.said

    async def freeze_server(self, number: int) -> None:
        """It stands still until its leases have run out."""
        server, began = self.servers[number], time.time()
        async with self.injecting("server", FROZEN, f"({number})"):
            await _freeze(server, LONG_SECONDS)
        self._strike_who_needs(number, "its server was frozen", began)

    async def freeze_worker(self, number: int) -> None:
        """The same for a worker."""
        async with self.injecting("worker", FROZEN, f"({number})"):
            await self._freeze_holder(self.workers[number])

    async def freeze_app(self) -> None:
        """The same for the app."""
        async with self.injecting("app", FROZEN):
            await self._freeze_holder(self.app)

    async def _freeze_holder(self, program: Program) -> None:
        began = time.time()
        await _freeze(program, LONG_SECONDS)
        await asyncio.sleep(SHORT_SECONDS)  # what it begins before it has heard is explained by it as well
        self.strike("frozen", began, program)

    async def restart_postgres(self, how: signal.Signals, *, away_seconds: float = 0) -> None:
        """SIGTERM: smart, so that only the connections that there are go on, and a fast one after; SIGINT: fast;
        SIGQUIT: immediate; SIGKILL: a crash. It recovers from its log."""
        process = self.postgres.process
        assert process is not None
        assert process.process_id is not None
        async with self._no_database():
            async with self.injecting("Postgres", how.name, f"(away for {away_seconds:.1f} s and its start)"):
                os.kill(process.process_id, how)
                if how is signal.SIGTERM:
                    await until(self._refuses_connections)
                    await asyncio.sleep(0.5)
                    assert process.exit_code() is None, "nobody held a connection"
                    os.kill(process.process_id, signal.SIGINT)
                await asyncio.to_thread(process.wait)
            await asyncio.to_thread(self.postgres.stop)
            await asyncio.sleep(away_seconds)
            await asyncio.to_thread(self.postgres.start)

    async def _refuses_connections(self) -> bool:
        try:
            connection = await asyncpg.connect(self.bench.dsn)
        except asyncpg.CannotConnectNowError:
            return True
        except asyncpg.TooManyConnectionsError:
            return False
        await connection.close()
        return False

    async def freeze_postgres(self) -> None:
        """Every backend stands still: nobody is told, and all statements hang. It explains no second run of a body."""
        async with self._no_database(), self.injecting("Postgres", FROZEN):
            processes = self._postgres_processes()
            for process in processes:
                os.kill(process, signal.SIGSTOP)
            await asyncio.sleep(LONG_SECONDS)
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def _postgres_processes(self) -> list[int]:
        assert self.postgres.process is not None
        postmaster = self.postgres.process.process_id
        assert postmaster is not None
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="ascii").split()
        return [postmaster, *map(int, children)]

    async def exhaust_connections(self, seconds: float = 1.0) -> None:
        """All connections are taken, and those of the servers are lost."""
        async with self._no_database(), self.injecting("Postgres", NO_CONNECTION, f"({seconds:.1f} s)"):
            hogs: list[asyncpg.Connection[asyncpg.Record]] = []
            refused = 0
            try:
                until_time = time.monotonic() + seconds
                while time.monotonic() < until_time or not refused:
                    try:
                        hogs.append(await asyncpg.connect(self.bench.dsn))
                    except asyncpg.TooManyConnectionsError:
                        refused += 1
                        await hogs[0].execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rotor'"
                        )
                        await asyncio.sleep(0.05)
            finally:
                for hog in hogs:
                    await hog.close()

    async def break_link(self, name: str, how: str, *, seconds: float = 0.0, after_bytes: int = 1) -> None:
        """Break it once there is something to break. `after_bytes` is how much of a half request or answer passes."""
        link = self.links[name]
        async with self.injecting(name, how, f"({seconds:.1f} s, {after_bytes} bytes)"):
            await until(link.is_in_use, within_seconds=60)
            before, began = link.harmed, time.time()
            link.harm(how, after_bytes)
            await until(lambda: link.is_harmed(since=before), within_seconds=60)
            await asyncio.sleep(LONG_SECONDS if how == CUT_OFF else seconds)
            link.heal()
        await asyncio.sleep(SHORT_SECONDS / 4)
        if name == "server-app":  # whose answers nobody has then
            self.strike(how, began, self.app)
        elif time.time() - began > SHORT_SECONDS:
            self.strike(how, began, self.workers[0], self.app)


async def _end(program: Program, how: signal.Signals) -> None:
    program.signal(how)
    code = await program.ended()
    assert code == -how or (code == 0 and how is not signal.SIGKILL), program.said


async def _freeze(program: Program, seconds: float) -> None:
    program.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    assert program.state == "T", program.said
    program.signal(signal.SIGCONT)


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
