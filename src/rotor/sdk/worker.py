"""A worker: a long-lived process that dials out to the server and runs functions, with no inbound port.

    connect ──Hello──▶ Welcome ──▶ runs ⇄ checkpoints ──▶ (connection lost) ──▶ connect again with lease and runs held
       stop(): Goodbye, active runs get `grace_seconds` to end or park, the rest is given back, the connection closes

Across a lost connection the sessions go on, up to the next thing that needs the server. On the way back every message
that was not acknowledged is sent again; the server knows a step by its key, so twice is once. A server that has given
the lease up welcomes the worker under another one: what it held then belongs to others, and is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, Protocol

from rotor import limits
from rotor.errors import ConfigError, ConnectionLostError
from rotor.protocol.messages import (
    PROTOCOL_VERSION,
    Goodbye,
    Hello,
    HolderSays,
    Manifest,
    ServerMessage,
    Welcome,
    WorkerMessage,
)
from rotor.sdk.environment import api_key_or_default, url_or_default
from rotor.sdk.functions import Function
from rotor.sdk.held_runs import HeldRuns
from rotor.sdk.loading import check_ids
from rotor.sdk.versions import code_version

__all__ = ["Worker", "connect"]

log = logging.getLogger("rotor.worker")

RECONNECT_SECONDS_MAX: Final = 3.0
"""Less than a server that comes up waits before it gives the runs of workers to others."""
LAST_WORDS_SECONDS: Final = 5.0
"""How long a stopping worker waits for its last messages to be written."""


class Outgoing(Protocol):
    """The connection as a worker uses it."""

    def send(self, message: WorkerMessage) -> None:
        """Send `message` soon."""

    async def flushed(self) -> None:
        """Until all that was sent is written."""

    async def listen(self, take: Callable[[list[ServerMessage]], bool]) -> None:
        """Hand the server's messages to `take`, first those that came with the greeting, until it says no."""


def connect(
    functions: Sequence[Function[Any, Any]],
    *,
    url: str | None = None,
    api_key: str | None = None,
    slots: int = 100,
    name: str | None = None,
    parked_max: int = 1_000,
    threads: int = 32,
    grace_seconds: float = 20.0,
    version: str | None = None,
) -> Worker:
    """A worker that serves `functions` over one outgoing connection. `await worker.run()` lasts until `worker.stop()`.

    `url` and `api_key` default to `ROTOR_URL` and `ROTOR_API_KEY`. `slots` is how many runs it takes at once; a
    sleeping or waiting run takes none. `parked_max` bounds the waiting runs whose bodies it keeps in memory so that
    they go on quickly. `threads` bounds the sync step bodies that run at once. `grace_seconds` is how long the runs in
    hand may go on after `stop`. `name` is how server and dashboard call it: host and process id unless given. `version`
    names the code, which each step of a run shows: `ROTOR_VERSION` unless given, or else a hash of the files in which
    the functions stand.

        worker = connect([welcome], slots=200)
        asyncio.run(worker.run())

    Raises `ConfigError` for settings or functions that cannot be used.
    """
    if not 1 <= slots <= limits.WORKER_SLOTS:
        raise ConfigError(f"slots is {slots}; give a number from 1 to {limits.WORKER_SLOTS:,} (WORKER_SLOTS)")
    if parked_max < 0 or threads < 1 or grace_seconds < 0:
        raise ConfigError("parked_max and grace_seconds must not be negative, and threads at least 1")
    return Worker(
        check_ids(functions),
        url=url_or_default(url),
        api_key=api_key_or_default(api_key),
        slots=slots,
        name=name or f"{socket.gethostname()}-{os.getpid()}",
        parked_max=parked_max,
        threads=threads,
        grace_seconds=grace_seconds,
        version=code_version(functions, version),
    )


class Worker:
    """Made by `connect`."""

    def __init__(
        self,
        functions: Sequence[Function[Any, Any]],
        *,
        url: str,
        api_key: str | None,
        slots: int,
        name: str,
        parked_max: int,
        threads: int,
        grace_seconds: float,
        version: str = "",
    ) -> None:
        self.url = url
        self.name = name
        self.on_connected: Callable[[], None] | None = None
        """Called each time that the server has welcomed the worker."""
        self._functions = functions
        self._api_key = api_key
        self._slots = slots
        self._keeps = parked_max
        self._version = version
        self._grace_seconds = grace_seconds
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="rotor-step")
        self._held = HeldRuns(functions, self, parked_max=parked_max, threads=self._threads)
        self._connection: Outgoing | None = None
        self._lease_id: str | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until `stop`. A lost connection is made again, for as long as it takes.

        Raises `ApiError` where the server refuses the worker: a wrong key, a wrong address, or a function that it
        cannot accept.
        """
        duties = [
            asyncio.create_task(self._stay_connected(), name="rotor worker connection"),
            asyncio.create_task(self._drain_when_stopped(), name="rotor worker drain"),
        ]
        try:
            done, _ = await asyncio.wait(duties, return_when=asyncio.FIRST_COMPLETED)
            for duty in done:
                duty.result()
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            await self._held.close()
            self._threads.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """Take no more runs, let those in hand end or park within the grace time, give back the rest, and end `run`."""
        self._stopping.set()

    def send(self, message: HolderSays) -> None:
        """The channel of the sessions. What cannot go now is sent when the connection is back, if it must be."""
        if self._connection is not None:
            self._connection.send(message)

    async def _drain_when_stopped(self) -> None:
        await self._stopping.wait()
        self._held.refuse_more()
        if self._connection is not None:
            self._connection.send(Goodbye())
        log.info("stopping; %d runs in hand", len(self._held.active))
        try:
            async with asyncio.timeout(self._grace_seconds):
                await self._held.idle()
        except TimeoutError:
            log.warning(
                "%d runs did not end within %s s and are given back", len(self._held.active), self._grace_seconds
            )
            await self._held.release()
        if self._connection is not None:
            with suppress(TimeoutError):  # the server is gone: the lease runs out, and others take the runs
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await self._connection.flushed()

    async def _stay_connected(self) -> None:
        from rotor.sdk.connection import open_connection  # noqa: PLC0415  (picows takes a while to import)

        delay = 0.0
        while True:
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311  (spreads workers, guards no secret)
            try:
                async with open_connection(self.url, self._api_key, self._hello()) as (connection, welcome):
                    delay = 0.0
                    await self._welcomed(connection, welcome)
                    await self._listen(connection)
                log.info("the server stops; connecting again")
            except ConnectionLostError as error:
                log.warning("not connected, trying again: %s", error)
            finally:
                self._connection = None
            delay = min(max(0.1, delay * 2), RECONNECT_SECONDS_MAX)

    def _hello(self) -> Hello:
        manifest = Manifest(
            functions=[function.spec for function in self._functions],
            version=self._version,
        )
        return Hello(
            protocol=PROTOCOL_VERSION,
            worker=self.name,
            manifest=manifest,
            slots=self._slots,
            keeps=self._keeps,
            lease_id=self._lease_id,
            held=self._held.active,
        )

    async def _welcomed(self, connection: Outgoing, welcome: Welcome) -> None:
        """Go on under the lease that the server has given."""
        if self._lease_id not in (None, welcome.lease_id):
            log.warning(
                "the lease was lost; %d runs in hand are dropped, others go on with them", len(self._held.active)
            )
            await self._held.close()
        self._lease_id = welcome.lease_id
        self._held.payload_bytes_max = welcome.payload_bytes_max
        self._connection = connection
        log.info("connected to %s as %s", self.url, self.name)
        if self.on_connected is not None:
            self.on_connected()

    async def _listen(self, connection: Outgoing) -> None:
        """Take the server's messages until it asks to connect again. Raises `ConnectionLostError`.

        What came with the greeting comes first: of a run that it drops nothing is sent again.
        """
        sent_again = False

        def take(frame: list[ServerMessage]) -> bool:
            nonlocal sent_again
            for message in frame:
                if isinstance(message, Goodbye):
                    return False
                if not isinstance(message, Welcome):
                    self._held.receive(message)
            if not sent_again:
                sent_again = True
                self._send_again(connection)
            return True

        await connection.listen(take)

    def _send_again(self, connection: Outgoing) -> None:
        """Send what an earlier connection may have lost."""
        for message in self._held.unacknowledged:
            connection.send(message)
        if self._stopping.is_set():
            connection.send(Goodbye())
