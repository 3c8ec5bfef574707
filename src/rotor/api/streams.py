"""Server-sent events: the changes of one run, until it has ended or its follower is gone.

A stream reads the database when this process has committed something of the run, and at its own slowing pace for what
other servers commit. It rests five times as long as its last reading took, so that following a long run cannot load
the database.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from time import monotonic
from typing import TypeAlias
from uuid import UUID

import msgspec
from starlette.types import Receive

from rotor import limits, telemetry
from rotor.store.changes import Changes
from rotor.store.problems import Overloaded
from rotor.store.streams import Change, Follower

__all__ = ["Streams", "as_server_sent_events"]

POLL_FIRST_SECONDS = 0.5
POLL_LAST_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 15.0
RESTS_PER_READING = 5

StillMay: TypeAlias = Callable[[], Awaitable[bool]]
"""Whether the follower's key still holds."""

_LINE_END = re.compile(rb"\r\n|\r|\n")
_encoder = msgspec.json.Encoder()


class Streams:
    """The streams that are open on this server."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._open: set[asyncio.Event] = set()
        self._ending = False

    @property
    def count(self) -> int:
        return len(self._open)

    def end(self) -> None:
        """End every stream: the server stops, and its followers come back elsewhere with their `Last-Event-ID`."""
        self._ending = True
        for listener in self._open:
            listener.set()

    def follow(
        self, follower: Follower, run_id: UUID, first: Sequence[Change], receive: Receive, still_may: StillMay
    ) -> AsyncGenerator[bytes, None]:
        """The text of a stream that begins with the changes `first`, and ends once `still_may` says no.

        Raises `Overloaded` where too many are open.
        """
        if len(self._open) >= limits.STREAMS or self._ending:
            message = f"{len(self._open):,} streams are open here (STREAMS is {limits.STREAMS:,}); try again"
            raise Overloaded(message, retry_after_seconds=5)
        stream = _Stream(follower, self._changes.listen(run_id, steps=follower.steps), receive, still_may)
        return self._texts(stream, run_id, first)

    async def _texts(self, stream: _Stream, run_id: UUID, first: Sequence[Change]) -> AsyncGenerator[bytes, None]:
        # What was committed since the first reading was told to nobody.
        stream.listener.set()
        self._open.add(stream.listener)
        telemetry.STREAMS.set(len(self._open))
        watch = asyncio.create_task(stream.watch(), name="rotor stream watch")
        try:
            yield b"retry: 1000\n\n" + as_server_sent_events(first)
            while not (stream.gone or self._ending or stream.follower.ended):
                text = await stream.next_text()
                if text:
                    yield text
        finally:
            watch.cancel()
            self._open.discard(stream.listener)
            self._changes.unlisten(run_id, stream.listener)
            telemetry.STREAMS.set(len(self._open))


class _Stream:
    """One follower: when to read again, and when to say that the line is alive."""

    def __init__(self, follower: Follower, listener: asyncio.Event, receive: Receive, still_may: StillMay) -> None:
        self.follower = follower
        self._still_may = still_may
        self.listener = listener
        self.gone = False
        self._receive = receive
        self._pause = POLL_FIRST_SECONDS
        self._rest = 0.0
        self._last_text = monotonic()

    async def watch(self) -> None:
        """Notice that the client has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self.listener.set()

    async def next_text(self) -> bytes:
        """Wait for a reason to read, read, and return what to send; nothing where there is none."""
        if not self.follower.more:
            await asyncio.sleep(self._rest)
            await self._wait()
        if not await self._still_may():
            self.gone = True
        if self.gone:
            return b""
        self.listener.clear()
        began = monotonic()
        changes = await self.follower.read()
        now = monotonic()
        self._rest = (now - began) * RESTS_PER_READING
        self._pause = POLL_FIRST_SECONDS if changes else min(self._pause * 2, POLL_LAST_SECONDS)
        if changes or now - self._last_text >= KEEP_ALIVE_SECONDS:
            self._last_text = now
            return as_server_sent_events(changes) or b": still here\n\n"
        return b""

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._pause):
                await self.listener.wait()
        except TimeoutError:
            return


def as_server_sent_events(changes: Sequence[Change]) -> bytes:
    return b"".join(as_server_sent_event(change) for change in changes)


def as_server_sent_event(change: Change) -> bytes:
    """One change as text; a payload's own line ends, which are white space in JSON, become lines of data."""
    data = _LINE_END.sub(b"\ndata: ", _encoder.encode(change.row))
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (change.resume, change.kind.encode(), data)
