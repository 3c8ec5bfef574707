"""Pages that change while they are looked at: parts of them, drawn anew by the server, as server-sent events.

A stream looks when this process has committed something of its run, and at its own slowing pace for what other servers
commit. It draws only what was read anew, sends only what looks different, and rests five times as long as that took.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from starlette.responses import Response, StreamingResponse

from rotor.store.changes import Changes
from rotor.store.followers import Followers
from rotor.store.problems import NotFound, is_unavailable

__all__ = ["Live", "View"]

log = logging.getLogger("rotor.dashboard")

LOOK_FIRST_SECONDS = 0.5
LOOK_LAST_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 15.0
STREAM_SECONDS = 60.0
"""Then a stream ends and the browser asks for it again, so that who may no longer see it is not answered."""
RESTS_PER_LOOK = 5

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class View:
    """What was seen at one look: something to compare, how to draw it, and whether nothing will follow."""

    seen: object
    draw: Callable[[], Mapping[str, str]]
    """The HTML of each part by its name."""
    ended: bool = False
    run_ids: frozenset[UUID] = frozenset()
    """The runs whose changes are news."""


Look = Callable[[], Awaitable[View]]


class Live:
    """The streams of pages that are open on this server."""

    def __init__(self, changes: Changes, followers: Followers) -> None:
        self._changes = changes
        self._followers = followers

    async def follow(self, workspace_id: int, look: Look) -> Response:
        """The stream of a page. Raises `Overloaded` where too many are open, and what the first look raises."""
        self._followers.admit(workspace_id)
        first = await look()
        return StreamingResponse(
            self._texts(workspace_id, look, first.run_ids),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )

    async def _texts(self, workspace_id: int, look: Look, run_ids: frozenset[UUID]) -> AsyncGenerator[str, None]:
        listener, heard = asyncio.Event(), set[UUID]()

        def hear(run_ids: frozenset[UUID]) -> None:
            for run_id in run_ids - heard:
                self._changes.listen(run_id, listener)
            heard.update(run_ids)

        hear(run_ids)
        try:
            with self._followers.following(workspace_id, listener):
                async for text in self._looks(look, listener, hear):
                    yield text
        except NotFound:
            yield _event("end", "")
        except Exception as error:
            if not is_unavailable(error):
                raise
            # The browser comes back in a second, and may find the database there.
            log.warning("the database does not answer: %s", type(error).__name__)
        finally:
            for run_id in heard:
                self._changes.unlisten(run_id, listener)

    async def _looks(
        self, look: Look, listener: asyncio.Event, hear: Callable[[frozenset[UUID]], None]
    ) -> AsyncGenerator[str, None]:
        yield "retry: 1000\n\n"
        sent: dict[str, int] = {}
        seen: object = None
        pause, said_at = LOOK_FIRST_SECONDS, monotonic()
        ends_at = said_at + STREAM_SECONDS
        while not self._followers.ending and monotonic() < ends_at:
            listener.clear()
            began = monotonic()
            view = await look()
            hear(view.run_ids)
            news = {} if view.seen == seen else dict(view.draw())
            seen = view.seen
            parts = [part for name, part in news.items() if sent.get(name) != hash(part)]
            sent |= {name: hash(part) for name, part in news.items()}
            if parts or began - said_at > KEEP_ALIVE_SECONDS:
                said_at = began
                yield _event("parts", "\n".join(parts)) if parts else ": still here\n\n"
            if view.ended:
                yield _event("end", "")
                return
            pause = LOOK_FIRST_SECONDS if parts else min(pause * 2, LOOK_LAST_SECONDS)
            await asyncio.sleep((monotonic() - began) * RESTS_PER_LOOK)
            await _wait(listener, pause)


async def _wait(listener: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await listener.wait()
    except TimeoutError:
        return


def _event(kind: str, text: str) -> str:
    lines = "".join(f"data: {line}\n" for line in _LINE_END.split(text))
    return f"event: {kind}\n{lines}\n"
