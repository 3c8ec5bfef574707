"""Server-sent events: the changes of one run, until it has ended or its follower is gone.

A stream reads the database when this process has committed something of the run, and at its own slowing pace for what
other servers commit. It rests five times as long as its last reading took, so that following a long run cannot load
the database. Who only waits for the end is not woken before, and while a worker here has the run nothing is read.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TypeAlias
from uuid import UUID

import msgspec
from starlette.types import Receive

from rotor.api.bodies import Disconnected
from rotor.store.changes import Changes
from rotor.store.followers import Followers
from rotor.store.runs import RunReading
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
    """The streams that are open on this server. When it stops, their followers come back elsewhere with their
    `Last-Event-ID`.
    """

    def __init__(self, changes: Changes, followers: Followers) -> None:
        self._changes = changes
        self._followers = followers

    def follow(
        self, follower: Follower, first: Sequence[Change], receive: Receive, still_may: StillMay
    ) -> AsyncGenerator[bytes, None]:
        """The text of a stream that begins with the changes `first`, and ends once `still_may` says no.

        Raises `Overloaded` where too many are open.
        """
        self._followers.admit(follower.workspace_id)
        return self._texts(follower, first, receive, still_may)

    async def end_of(
        self,
        workspace_id: int,
        run_id: UUID,
        is_open: Callable[[], bool],
        read: Callable[[], Awaitable[RunReading]],
        receive: Receive,
        *,
        seconds: float,
    ) -> RunReading:
        """What `read` gives once the run has ended; after `seconds`, or when the server stops, as it is by then. Where
        memory says that the run `is_open` it is not asked at first.

        Raises `Overloaded` where too many wait, and `Disconnected` once the client is gone.
        """
        self._followers.admit(workspace_id)
        until, pause = monotonic() + seconds, POLL_FIRST_SECONDS
        with self._listening(workspace_id, run_id, end_only=True) as listener:
            gone = asyncio.create_task(_until_gone(receive), name="rotor wait watch")
            gone.add_done_callback(lambda _: listener.set())
            try:
                if is_open():
                    await _set_within(min(pause, seconds), listener)
                while not gone.done():
                    listener.clear()
                    found = await read()
                    left = until - monotonic()
                    if found.run.ended_at is not None or self._followers.ending or left <= 0:
                        return found
                    await _set_within(min(pause, left), listener)
                    pause = min(pause * 2, POLL_LAST_SECONDS)
            finally:
                gone.cancel()
        raise Disconnected

    @contextmanager
    def _listening(self, workspace_id: int, run_id: UUID, *, end_only: bool = False) -> Iterator[asyncio.Event]:
        """What is set at each change of the run, or at its end alone, and when the server stops."""
        listener = self._changes.listen(run_id, end_only=end_only)
        try:
            with self._followers.following(workspace_id, listener):
                yield listener
        finally:
            self._changes.unlisten(run_id, listener)

    async def _texts(
        self, follower: Follower, first: Sequence[Change], receive: Receive, still_may: StillMay
    ) -> AsyncGenerator[bytes, None]:
        with self._listening(follower.workspace_id, follower.run_id) as listener:
            listener.set()  # what was committed since the first reading was told to nobody
            stream = _Stream(follower, listener, receive, still_may)
            watch = asyncio.create_task(stream.watch(), name="rotor stream watch")
            try:
                yield b"retry: 1000\n\n" + as_server_sent_events(first)
                while not (stream.gone or self._followers.ending or follower.ended):
                    text = await stream.next_text()
                    if text:
                        yield text
            finally:
                watch.cancel()


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
        await _until_gone(self._receive)
        self.gone = True
        self.listener.set()

    async def next_text(self) -> bytes:
        """Wait for a reason to read, read, and return what to send; nothing where there is none."""
        if not self.follower.more:
            await asyncio.sleep(self._rest)
            await _set_within(self._pause, self.listener)
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


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _set_within(seconds: float, event: asyncio.Event) -> None:
    """Return once `event` is set, or after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def as_server_sent_events(changes: Sequence[Change]) -> bytes:
    return b"".join(as_server_sent_event(change) for change in changes)


def as_server_sent_event(change: Change) -> bytes:
    """One change as text; a payload's own line ends, which are white space in JSON, become lines of data."""
    data = _LINE_END.sub(b"\ndata: ", _encoder.encode(change.row))
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (change.resume, change.kind.encode(), data)
