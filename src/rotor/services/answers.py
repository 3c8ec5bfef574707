"""What may come of a post to an app; all answers share one limited memory, so that no app can exhaust the server."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from rotor import limits

__all__ = ["Answer", "Answers", "BrokenOffError", "NoRoomError", "Posting", "UnansweredError", "UnreachedError"]

SPARED_BYTES: Final = 64 * 1024
"""Of each answer so much is always taken: what is usual must not wait for what others send."""


class UnreachedError(Exception):
    """The app has not begun the invocation."""


class UnansweredError(Exception):
    """The app may have begun the invocation, and does not answer it."""


class BrokenOffError(Exception):
    """The app has begun the invocation, and does not answer it as it should."""


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

    async def read(self, parts: AsyncIterable[bytes]) -> bytes:
        """The whole body, within FRAME_BYTES. Raises `NoRoomError`, and `BrokenOffError` for one that is larger."""
        body = bytearray()
        async for part in parts:
            body += part
            if len(body) > limits.FRAME_BYTES:
                raise BrokenOffError(f"its answer is over {limits.FRAME_BYTES:,} bytes (FRAME_BYTES)")
            more = max(len(body) - SPARED_BYTES, 0) - self.counted
            self._answers.take(more)
            self.counted += more
        return bytes(body)


class Posting(Protocol):
    """Posts to apps (`services/posting.py`)."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], answer: Answer) -> bytes:
        """The body of the answer. Raises `UnreachedError`, `UnansweredError`, `BrokenOffError` and `NoRoomError`."""
        ...

    async def close(self) -> None: ...
