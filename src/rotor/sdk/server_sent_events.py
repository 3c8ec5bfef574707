"""Reads a stream of server-sent events from the chunks in which it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

__all__ = ["ServerSentEvent", "server_sent_events"]


@dataclass(frozen=True)
class ServerSentEvent:
    """One event of a stream: its name, its data, and the id from which a client resumes."""

    name: str
    data: bytes
    id: str


async def server_sent_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[ServerSentEvent]:
    """The events of a stream; what is cut off at its end is left out, as the standard asks."""
    waiting = bytearray()
    name, data, last_id = "message", list[bytes](), ""
    async for chunk in chunks:
        if b"\n" not in chunk:
            waiting += chunk
            continue
        *lines, rest = (bytes(waiting) + chunk).split(b"\n")
        waiting = bytearray(rest)
        for line in lines:
            field, _, value = line.removesuffix(b"\r").partition(b":")
            value = value.removeprefix(b" ")
            if not field and not value:
                if data:
                    yield ServerSentEvent(name, b"\n".join(data), last_id)
                name, data = "message", []
            elif field == b"event":
                name = value.decode("utf-8", "replace")
            elif field == b"data":
                data.append(value)
            elif field == b"id":
                last_id = value.decode("utf-8", "replace")
