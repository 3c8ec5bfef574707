"""Pages of a long list: where one ends, an opaque cursor says where the next begins."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec

from rotor.store.problems import Invalid

__all__ = ["Page", "decode_cursor", "encode_cursor"]

Item = TypeVar("Item")


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """Some items of a list, and the cursor of the next page; null: this is the last."""

    items: list[Item]
    next_cursor: str | None


def encode_cursor(place: tuple[Any, ...]) -> str:
    """The cursor for a place in a list: the values that its order goes by."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def decode_cursor(cursor: str, kind: Any) -> Any:
    """The place that `encode_cursor` was given, as the tuple type `kind`.

    Raises `Invalid`, naming `cursor`, for any other text.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = msgspec.json.decode(text, type=kind)
        for part in place:
            if isinstance(part, datetime):
                part.astimezone(UTC)  # of the years that there are
        return place
    except (binascii.Error, ValueError, OverflowError, msgspec.DecodeError):
        raise Invalid([("cursor", "is not the next_cursor of an earlier page")]) from None
