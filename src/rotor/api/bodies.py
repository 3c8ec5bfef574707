"""Request bodies: read within their limits, decoded into the type that the operation declares.

What a body holds is decoded once, by msgspec. Only where that fails is it looked at again, slowly, to name the field
at fault.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.types import Receive, Scope

from rotor import limits
from rotor.api.problems import Malformed, TooLarge
from rotor.store.problems import Invalid, Overloaded

__all__ = ["BodyBudget", "Disconnected", "decode_body", "field_error", "read_body"]


class Disconnected(Exception):  # noqa: N818 - not an error: nobody is left to answer
    """The client went away before its request was complete."""


class BodyBudget:
    """The bytes of all request bodies that this server holds at once, so that many large ones cannot exhaust its
    memory."""

    def __init__(self) -> None:
        self.held = 0

    def take(self, size: int) -> None:
        if self.held + size > limits.BODIES_BYTES:
            raise Overloaded(f"the server holds {limits.BODIES_BYTES:,} bytes of requests (BODIES_BYTES); try again")
        self.held += size

    def give_back(self, size: int) -> None:
        self.held -= size


async def read_body(scope: Scope, receive: Receive, budget: BodyBudget, bytes_max: int, limit: str) -> bytes:
    """The whole body, whose size the caller gives back to `budget` when it is done with it.

    Raises `TooLarge` as soon as it is, `Overloaded`, and `Disconnected`.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > bytes_max:
            raise _too_large(bytes_max, limit)
    chunks: list[bytes] = []
    size = 0
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunk = message.get("body", b"")
            if size + len(chunk) > bytes_max:
                raise _too_large(bytes_max, limit)
            budget.take(len(chunk))
            size += len(chunk)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except BaseException:
        budget.give_back(size)
        raise


def decode_body(body: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    """The body's value. Raises `Malformed` for what is not JSON, and `Invalid` for JSON of another shape."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Invalid([field_error(error)]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(*_fault(body, error)) from None


def field_error(error: msgspec.ValidationError) -> tuple[str, str]:
    """The field that msgspec complains of, as in `[3].name`, and the complaint."""
    message, _, place = str(error).partition(" - at `$")
    field = place.removesuffix("`").removeprefix(".")
    missing = re.fullmatch(r"Object missing required field `(.*)`", message)
    if missing:
        return (f"{field}.{missing[1]}" if field else missing[1]), "is missing"
    return field or "body", message[:1].lower() + message[1:]


def _too_large(bytes_max: int, limit: str) -> TooLarge:
    return TooLarge(f"the body is larger than {bytes_max:,} bytes ({limit})")


def _fault(body: bytes, error: Exception) -> tuple[str, str]:
    """The field at fault in a body that is not JSON, and what is wrong with it."""
    if not body.strip():
        return "body", "is empty; send JSON"
    deep = _deepest_field(body)
    if deep is not None:
        return deep, f"nests deeper than {limits.PAYLOAD_DEPTH} levels (PAYLOAD_DEPTH)"
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as undecodable:
        return "body", f"is not UTF-8 (byte {undecodable.start})"
    try:
        # The standard parser is laxer: it lets through, and so lets us find, what msgspec refuses.
        lax = json.loads(text)
    except ValueError:
        return "body", f"is not JSON: {error}"
    return next(_unfit(lax, ""), ("body", f"is not JSON: {error}"))


def _unfit(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The fields whose values no JSON text may hold; `value` is known not to nest too deep."""
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        yield path or "body", "holds a lone surrogate, which is not Unicode text"
    elif isinstance(value, float) and not math.isfinite(value):
        yield path or "body", "is NaN, infinite or too large for a number"
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unfit(key, path)
            yield from _unfit(item, f"{path}.{_shown(key)}" if path else _shown(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unfit(item, f"{path}[{number}]")


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{},:]', re.DOTALL)


def _deepest_field(body: bytes) -> str | None:
    """The outermost field under which `body` nests too deep, as in `[3].data`; None where it does not."""
    places: list[int | bytes] = []
    text = b""
    for match in _TOKEN.finditer(body):
        token = match[0]
        if token == b"{":
            places.append(b"")
        elif token == b"[":
            places.append(0)
        elif token in (b"]", b"}"):
            if places:
                places.pop()
        elif token == b":" and places:
            places[-1] = text
        elif token == b"," and places:
            last = places[-1]
            places[-1] = last + 1 if isinstance(last, int) else b""
        else:
            text = token[1:-1]
        # The request's own object or list comes on top of the payload's levels.
        if len(places) > limits.PAYLOAD_DEPTH + 2:
            return _path(places)
    return None


def _path(places: list[int | bytes]) -> str:
    """The path down to the first name, as in `[3].data`."""
    path = ""
    for place in places[:3]:
        if isinstance(place, bytes):
            return f"{path}.{_shown(place.decode('utf-8', 'replace'))}".removeprefix(".")
        path += f"[{place}]"
    return "body"


def _shown(key: str) -> str:
    return key.encode("utf-8", "replace").decode()[: limits.ID_CHARACTERS]
