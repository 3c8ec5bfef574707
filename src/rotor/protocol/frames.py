"""Packs messages into frames: as few as the limits allow, so that what is ready together travels together."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rotor import limits
from rotor.protocol.messages import HolderSays, ServerMessage, WorkerMessage

__all__ = ["frames"]

_encoder = msgspec.json.Encoder()


def frames(
    messages: Sequence[WorkerMessage] | Sequence[ServerMessage] | Sequence[HolderSays],
    *,
    bytes_max: int = limits.FRAME_BYTES,
) -> list[bytes]:
    """`messages` as frames of at most MESSAGES_PER_FRAME messages, and `bytes_max` bytes unless one alone is larger."""
    if not messages:
        return []
    if len(messages) <= limits.MESSAGES_PER_FRAME:
        frame = _encoder.encode(messages)
        if len(frame) <= bytes_max or len(messages) == 1:
            return [frame]
    middle = len(messages) // 2
    return [*frames(messages[:middle], bytes_max=bytes_max), *frames(messages[middle:], bytes_max=bytes_max)]
