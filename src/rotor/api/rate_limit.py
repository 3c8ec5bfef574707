"""How often each API key may call: a bucket of tokens for each, on each server, that fills as time goes by.

A full bucket holds one second's calls. A bucket that nobody has used since it was full is as good as none, so that
forgetting the one that was used longest ago gives away next to nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic

from rotor import limits
from rotor.api.problems import TooManyRequests

__all__ = ["RateLimit"]


class RateLimit:
    """`per_second` calls of each key, and as many at once."""

    def __init__(self, per_second: float, *, clock: Callable[[], float] = monotonic) -> None:
        self._per_second = per_second
        self._full = max(per_second, 1.0)
        self._clock = clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        """The tokens of each key, and when they were counted; used longest ago first."""

    def take(self, key: Hashable) -> None:
        """One call of `key`. Raises `TooManyRequests`, which says when the next one may come."""
        now = self._clock()
        tokens, counted = self._buckets.pop(key, (self._full, now))
        tokens = min(self._full, tokens + (now - counted) * self._per_second)
        allowed = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > limits.KEYS_LIMITED:
            self._buckets.popitem(last=False)
        if not allowed:
            raise TooManyRequests(
                f"this API key may call {self._per_second:g} times a second (ROTOR_RATE_LIMIT); try again later",
                retry_after_seconds=(1.0 - tokens) / self._per_second,
            )
