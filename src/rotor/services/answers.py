"""What apps answer is read into memory that all invocations of a server share, so that no app can exhaust it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp

from rotor import limits

__all__ = ["Answers", "NoRoomError"]

SPARED_BYTES: Final = 64 * 1024
"""Of each answer so much is always taken: what is usual must not wait for what others send."""


class NoRoomError(Exception):
    """The server holds too many answers to take this one."""


class Answers:
    """The bytes of all answers that are being read or written."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def one(self) -> Iterator[Answer]:
        """Room for one answer, as long as it is held."""
        answer = Answer(self)
        try:
            yield answer
        finally:
            self._held -= answer.counted

    def take(self, size: int) -> None:
        if self._held + size > limits.ANSWERS_BYTES:
            raise NoRoomError(f"the server holds {limits.ANSWERS_BYTES:,} bytes of answers (ANSWERS_BYTES)")
        self._held += size


class Answer:
    """One of them."""

    def __init__(self, answers: Answers) -> None:
        self.counted = 0
        """What the others have less room by."""
        self._answers = answers

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body, within FRAME_BYTES. Raises `NoRoomError`, and `ClientPayloadError` for one that is larger."""
        parts = bytearray()
        async for part in response.content.iter_any():
            parts += part
            if len(parts) > limits.FRAME_BYTES:
                raise aiohttp.ClientPayloadError(f"the answer is over {limits.FRAME_BYTES:,} bytes (FRAME_BYTES)")
            more = max(len(parts) - SPARED_BYTES, 0) - self.counted
            self._answers.take(more)
            self.counted += more
        return bytes(parts)
