"""Remembers which signed requests were taken, so that a captured one cannot be sent again.

A signature holds for a few minutes around its time (the tolerance); within them the request's `webhook-id` is
remembered, beyond them its time refuses it. The memory is bounded: at the limit the oldest id is forgotten. It belongs
to one process; what a replay could do in another is bounded by the lease and the token inside the invocation.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from rotor.errors import SignatureError

__all__ = ["IDS_MAX", "TOLERANCE_SECONDS", "TakenIds"]

TOLERANCE_SECONDS: Final = 300.0
IDS_MAX: Final = 100_000


class TakenIds:
    """The ids of requests taken within twice the tolerance: a time may lie as far ahead as behind."""

    def __init__(self, ids_max: int = IDS_MAX) -> None:
        self._ids_max = ids_max
        self._times: OrderedDict[str, float] = OrderedDict()

    def take(self, message_id: str, now: float) -> None:
        """Note `message_id` as taken at `now` (epoch seconds). Raises `SignatureError` if it was taken before."""
        while self._times and next(iter(self._times.values())) < now - 2 * TOLERANCE_SECONDS:
            self._times.popitem(last=False)
        if message_id in self._times:
            raise SignatureError("webhook-id was used before; sign each request with an id of its own")
        self._times[message_id] = now
        if len(self._times) > self._ids_max:
            self._times.popitem(last=False)
