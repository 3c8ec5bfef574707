"""What was read a moment ago, read once for all who ask for it at the same time.

Where strangers ask, most of what they ask for is not there, and each guess costs a reading. So the guesses of a second
are bounded: beyond that only what was found before is read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import Generic, TypeVar

from rotor import limits
from rotor.store.problems import Overloaded

__all__ = ["Recent"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

ENTRIES_MAX = 10_000


class Recent(Generic[Key, Value]):
    """The answers of `read`, each kept for `seconds`. Where strangers have `guessed`, an answer that is false says that
    nothing was found, and only so many of these are read in a second (`UNKNOWN_KEYS`).

    Those who ask while a read is under way share it. An answer that was on its way when `clear` was called is given
    to those who waited for it, but not kept.
    """

    def __init__(self, read: Callable[[Key], Awaitable[Value]], *, seconds: float = 1.0, guessed: bool = False) -> None:
        self._read = read
        self._seconds = seconds
        self._guessed = guessed
        self._guesses: set[Key] = set()
        """What was asked for in this second and not found, or not yet."""
        self._guesses_since = 0.0
        self._kept: dict[Key, tuple[float, Value]] = {}
        self._reading: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key, *, known: bool = False) -> Value:
        """The answer for `key`, at most `seconds` old. Raises what `read` raises, which is not kept, and `Overloaded`
        for a guess too many; where the key is `known` to be no stranger's, it is no guess.
        """
        kept = self._kept.get(key)
        if kept is not None and monotonic() < kept[0]:
            return kept[1]
        task = self._reading.get(key)
        if task is None:
            if self._guessed and not known and not (kept and kept[1]):
                self._guess(key)
            task = asyncio.create_task(self._read_and_keep(key), name="rotor-recent-read")
            self._reading[key] = task
        # One who asks may be cancelled; the others still wait for the same read.
        return await asyncio.shield(task)

    def clear(self) -> None:
        """Have everything read again by the next to ask."""
        self._kept = {key: (0.0, value) for key, (_, value) in self._kept.items()}
        self._reading.clear()

    async def _read_and_keep(self, key: Key) -> Value:
        try:
            value = await self._read(key)
            if value:
                self._guesses.discard(key)
        finally:
            current = self._reading.get(key) is asyncio.current_task()
            if current:
                del self._reading[key]
        if current:
            self._keep(key, value)
        return value

    def _guess(self, key: Key) -> None:
        now = monotonic()
        if now - self._guesses_since >= 1.0:
            # What is still being read goes on to count, or a slow database would be asked for ever more at once.
            self._guesses, self._guesses_since = self._guesses & self._reading.keys(), now
        if len(self._guesses) >= limits.UNKNOWN_KEYS:
            raise Overloaded(
                f"too many unknown keys in one second (UNKNOWN_KEYS is {limits.UNKNOWN_KEYS:,}); try again"
            )
        self._guesses.add(key)

    def _keep(self, key: Key, value: Value) -> None:
        now = monotonic()
        # What was not found takes no place of what was.
        for worth_keeping in (_found, _fresh) if value else (_found,):
            if key not in self._kept and len(self._kept) >= ENTRIES_MAX:
                self._kept = {old: entry for old, entry in self._kept.items() if worth_keeping(entry, now)}
        if key in self._kept or len(self._kept) < ENTRIES_MAX:
            self._kept[key] = (now + self._seconds, value)


def _fresh(entry: tuple[float, object], now: float) -> bool:
    return now < entry[0]


def _found(entry: tuple[float, object], now: float) -> bool:
    return bool(entry[1]) or _fresh(entry, now)
