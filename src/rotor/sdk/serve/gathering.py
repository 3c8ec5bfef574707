"""Gathers the checkpoints of all runs that an app holds: what is ready in one turn of the event loop is one request.

While a few requests are on their way to a server, what becomes ready waits for the next one. So requests grow with the
load instead of in number, and a run alone waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from typing import Final, NamedTuple, Protocol

from rotor import limits
from rotor.errors import ApiError
from rotor.protocol.messages import HolderMessage
from rotor.sdk.serve.checkpoints import Checkpoints

__all__ = ["Gathering", "Holder", "Taken"]

REQUESTS_AT_ONCE: Final = 2
"""To one address."""


class Taken(NamedTuple):
    """One checkpoint about to be posted."""

    checkpoint: bytes
    messages: int
    """How many it holds."""


class Holder(Protocol):
    """The holder of one run."""

    token: str
    """That of its invocation."""

    def take(self) -> Taken | None:
        """Its next checkpoint; None: there is nothing to post any more."""

    def answered(self, answer: Sequence[HolderMessage]) -> None:
        """Hear the server's answer to what was taken."""

    def failed(self, error: Exception) -> None:
        """Hear that what was taken reached nobody, or was refused."""

    def note_away(self) -> None:
        """Hear that the server does not answer at once."""


Parcel = Sequence[tuple[Holder, Taken]]


class Gathering:
    """The checkpoints on their way from one process, on one event loop or, after it, another."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._ways: dict[str, _Way] = {}
        """By address."""

    def ready(self, url: str, holder: Holder) -> None:
        """Take the next checkpoint of `holder` soon, post it to `url`, and tell it what came of that."""
        loop = asyncio.get_running_loop()
        way = self._ways.get(url)
        if way is None or way.loop is not loop:
            way = self._ways[url] = _Way(self._checkpoints, url, loop)
        way.ready(holder)


class _Way:
    """The requests to one address."""

    def __init__(self, checkpoints: Checkpoints, url: str, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._checkpoints = checkpoints
        self._url = url
        self._ready: deque[Holder] = deque()
        self._left_over: tuple[Holder, Taken] | None = None
        """What was taken and did not fit in a request."""
        self._is_called = False
        self._requests: set[asyncio.Task[None]] = set()

    def ready(self, holder: Holder) -> None:
        self._ready.append(holder)
        self._call()

    def _call(self) -> None:
        """Send a request at the end of this turn, if another may go. It belongs to no run, whoever asks for it."""
        if not self._is_called and len(self._requests) < REQUESTS_AT_ONCE:
            self._is_called = True
            self.loop.call_soon(self._send, context=Context())

    def _send(self) -> None:
        self._is_called = False
        parcel = self._parcel()
        if parcel:
            request = self.loop.create_task(self._deliver(parcel), name="rotor checkpoints")
            self._requests.add(request)
            request.add_done_callback(self._sent)

    def _sent(self, request: asyncio.Task[None]) -> None:
        self._requests.discard(request)
        if self._ready or self._left_over:
            self._call()

    def _parcel(self) -> list[tuple[Holder, Taken]]:
        """As much of what is ready as one request holds."""
        parcel: list[tuple[Holder, Taken]] = []
        size = count = 0
        while (posted := self._next()) is not None:
            size, count = size + len(posted[1].checkpoint), count + max(posted[1].messages, 1)
            if parcel and (size > limits.REQUEST_BYTES or count > limits.MESSAGES_PER_FRAME):
                self._left_over = posted
                break
            parcel.append(posted)
        return parcel

    def _next(self) -> tuple[Holder, Taken] | None:
        posted, self._left_over = self._left_over, None
        while posted is None and self._ready:
            holder = self._ready.popleft()
            try:
                taken = holder.take()
            except Exception as error:  # it must not hold up the others
                holder.failed(error)
                continue
            posted = None if taken is None else (holder, taken)
        return posted

    async def _deliver(self, parcel: Parcel) -> None:
        """Post it. One that is refused must not spoil it for the others: then each half goes for itself."""
        try:
            answers = await self._checkpoints.post(
                self._url,
                parcel[0][0].token,
                [taken.checkpoint for _, taken in parcel],
                on_away=lambda: _note_away(parcel),
            )
        except Exception as error:
            if isinstance(error, ApiError) and len(parcel) > 1:
                await self._deliver(parcel[: len(parcel) // 2])
                await self._deliver(parcel[len(parcel) // 2 :])
                return
            for holder, _ in parcel:
                holder.failed(error)
            return
        for (holder, _), answer in zip(parcel, answers, strict=True):
            holder.answered(answer)


def _note_away(parcel: Parcel) -> None:
    for holder, _ in parcel:
        holder.note_away()
