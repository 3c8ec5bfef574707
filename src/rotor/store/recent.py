"""What was read a moment ago, read once for all who ask for it at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import Generic, TypeVar

__all__ = ["Recent"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

ENTRIES_MAX = 10_000


class Recent(Generic[Key, Value]):
    """The answers of `read`, each kept for `seconds`.

    Those who ask while a read is under way share it. An answer that was on its way when `clear` was called is given
    to those who waited for it, but not kept.
    """

    def __init__(self, read: Callable[[Key], Awaitable[Value]], *, seconds: float = 1.0) -> None:
        self._read = read
        self._seconds = seconds
        self._kept: dict[Key, tuple[float, Value]] = {}
        self._reading: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key) -> Value:
        """The answer for `key`, at most `seconds` old. Raises what `read` raises; errors are not kept."""
        kept = self._kept.get(key)
        if kept is not None and monotonic() < kept[0]:
            return kept[1]
        task = self._reading.get(key)
        if task is None:
            task = asyncio.create_task(self._read_and_keep(key), name="rotor-recent-read")
            self._reading[key] = task
        # One who asks may be cancelled; the others still wait for the same read.
        return await asyncio.shield(task)

    def clear(self) -> None:
        """Forget everything: the next to ask reads again."""
        self._kept.clear()
        self._reading.clear()

    async def _read_and_keep(self, key: Key) -> Value:
        try:
            value = await self._read(key)
        finally:
            current = self._reading.get(key) is asyncio.current_task()
            if current:
                del self._reading[key]
        if current:
            self._keep(key, value)
        return value

    def _keep(self, key: Key, value: Value) -> None:
        now = monotonic()
        if len(self._kept) >= ENTRIES_MAX:
            self._kept = {old: entry for old, entry in self._kept.items() if now < entry[0]}
        if len(self._kept) < ENTRIES_MAX:
            self._kept[key] = (now + self._seconds, value)
