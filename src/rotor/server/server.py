"""A server: API, dashboard, services and store joined on one event loop. Several of them may share one database."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager

import uvicorn
from starlette.types import ASGIApp

from rotor import limits, telemetry
from rotor.api.app import create_app
from rotor.api.settings import ApiSettings
from rotor.dashboard.app import Dashboard
from rotor.dashboard.signal_links import SignalLinkPages
from rotor.errors import ConfigError
from rotor.server.config import ServerConfig
from rotor.server.connections import GuardedHttp
from rotor.server.overload import LAST_WALL, Bounded
from rotor.server.sockets import DirectSocket
from rotor.services.dispatcher import Dispatcher
from rotor.services.invoker import Invoker
from rotor.services.keeper import Keeper
from rotor.services.loop import Loop
from rotor.services.matcher import Matcher
from rotor.services.pruner import Pruner
from rotor.services.pulse import Pulse
from rotor.services.rescuer import Rescuer
from rotor.services.scheduler import Scheduler
from rotor.services.timers import Timers
from rotor.services.workers import Workers
from rotor.store.database import Database
from rotor.store.migrate import pending
from rotor.store.readiness import reaching, unreadable
from rotor.store.signing_keys import SigningKeys
from rotor.store.store import Store

__all__ = ["Server", "ServerConfig", "run"]

BACKLOG = 4_096


class Server:
    """Start it, and stop it cleanly: what was accepted is written, workers are told to connect again.

    It serves on `listening` where that is given, else it takes the port of `config`.
    """

    def __init__(self, config: ServerConfig, *, listening: socket.socket | None = None) -> None:
        self.config = config
        self._listening = listening
        self.store: Store
        self.loops: list[Loop] = []
        self._http: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once requests are answered.

        Raises `ConfigError` where the database or the port cannot be used, and `ConnectionLostError` where the database
        does not answer.
        """
        config = self.config
        with reaching(config.database_url):
            database = await _open_database(config)
        self.store = store = Store.on(
            database,
            payload_bytes_max=config.payload_bytes_max,
            destinations=config.destinations.with_loopback() if config.dev else config.destinations,
        )
        self.workers = Workers(store)
        self.invoker = Invoker(store, SigningKeys(database), public_url=config.url)
        self.loops = _loops(store, self.workers, self.invoker, config)
        store.start()
        for loop in self.loops:
            loop.start()
        settings = ApiSettings(
            keys_required=not config.dev, public_url=config.url, requests_per_second=config.requests_per_second
        )
        _count(store, self.workers)
        dashboard = Dashboard(store, login_required=not config.dev, public_url=config.public_url)
        routes = [*dashboard.routes(), *SignalLinkPages(store).routes()]
        app = create_app(store, settings=settings, connect=self.workers.serve, routes=routes)
        try:
            await self._listen(app)
        except BaseException:
            await self.stop()
            raise

    async def _listen(self, app: ASGIApp) -> None:
        bounded = Bounded(app)
        config = uvicorn.Config(
            bounded,
            log_config=None,  # its lines go where ours go, in the same form
            log_level="warning",
            access_log=False,
            lifespan="off",
            backlog=BACKLOG,
            ws_max_size=limits.FRAME_BYTES,
            ws_ping_interval=None,
            http=GuardedHttp,
            ws=DirectSocket,
            limit_concurrency=LAST_WALL,
            timeout_graceful_shutdown=3,
            server_header=False,
        )
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        self._http = _Http(config)
        bounded.connections = self._http.server_state.connections
        listening = self._listening or _bind(self.config)
        self._serving = asyncio.create_task(self._http.serve(sockets=[listening]), name="rotor http")
        while not self._http.started:
            if self._serving.done():
                await self._serving
                raise ConfigError("the HTTP server did not start: its log says why")
            await asyncio.sleep(0.002)

    async def stop(self) -> None:
        """Answer what is in flight, write what is queued, and end."""
        await self.workers.say_goodbye()
        if self._http is not None and self._serving is not None:
            self.store.followers.end()
            self._http.should_exit = True
            await self._serving
        for loop in self.loops:
            await loop.stop()
        await self.invoker.stop()
        await self.store.stop()
        await self.store.database.close()


class _Http(uvicorn.Server):
    """uvicorn without signal handlers of its own: whoever started the server stops it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _is_news(record: logging.LogRecord) -> bool:
    """uvicorn calls it an error of ours when a WebSocket was refused, which any stranger can bring about."""
    return record.msg != "ASGI callable returned without completing handshake."


def _count(store: Store, workers: Workers) -> None:
    """Have `/metrics` look at what has a size at the moment."""
    telemetry.WORKERS.set_function(lambda: len(workers.connections))
    for commits in (store.intake.commits, store.committer.commits, store.logs.commits):
        telemetry.QUEUED_WRITES.labels(commits.name).set_function(commits.queued)


def _loops(store: Store, workers: Workers, invoker: Invoker, config: ServerConfig) -> list[Loop]:
    rescuer, scheduler = Rescuer(store), Scheduler(store)
    return [
        Matcher(store),
        Timers(store),
        Dispatcher(store, workers, invoker),
        Keeper(store, workers, invoker),
        rescuer,
        scheduler,
        Pruner(store, config.retention),
        Pulse(store, rescuer=rescuer.wake, scheduler=scheduler.wake),
    ]


async def _open_database(config: ServerConfig) -> Database:
    """A pool to a database that this server can use. Raises `ConfigError`, and what asyncpg raises."""
    if missing := await pending(config.database_url, schema=config.schema):
        raise ConfigError(
            f"the database lacks {len(missing)} migrations ({', '.join(missing)}): run `rotor migrate` first"
        )
    async with AsyncExitStack() as opened:
        database = await Database.connect(
            config.database_url,
            schema=config.schema,
            connections_max=config.connections_max,
            vault=config.vault,
        )
        opened.push_async_callback(database.close)
        if problem := await unreadable(database):
            raise ConfigError(problem)
        opened.pop_all()
    return database


def _bind(config: ServerConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((config.host, config.port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"port {config.port} on {config.host} cannot be used ({error.strerror}): choose another with --port"
        ) from None
    return listening


async def run(config: ServerConfig, *, ready: Callable[[], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; `ready` is called once requests are answered."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    server = Server(config)
    await server.start()
    ready()
    try:
        await stopping.wait()
    finally:
        await server.stop()
