"""Request bodies: read within their limits, decoded into the type that the operation declares.

What a body holds is decoded once, by msgspec. Only where that fails is its beginning looked at again, token by token,
to name the field at fault.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.types import Receive, Scope

from rotor import limits
from rotor.api.problems import Malformed, TooLarge
from rotor.errors import PayloadError
from rotor.protocol import json
from rotor.store.problems import Invalid, Overloaded

__all__ = ["BodyBudget", "Disconnected", "decode_body", "field_error", "read_body"]

SEARCHED_BYTES = 128 * 1024
"""How much of a body that is not JSON is searched for the field at fault, which holds up every other request."""


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
    fault = _first_unfit(body[:SEARCHED_BYTES])
    if fault is not None:
        return fault
    if isinstance(error, UnicodeDecodeError):
        return "body", "is not UTF-8"
    if isinstance(error, RecursionError):
        return "body", f"nests deeper than {limits.PAYLOAD_DEPTH} levels (PAYLOAD_DEPTH)"
    return "body", f"is not JSON: {error}"


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|(?P<unclosed>.*))|[\[\]{},:]|[^\s"\[\]{},:]++', re.DOTALL)
_ESCAPES = re.compile(
    rb"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|\\u(d[89a-f][0-9a-f]{2})|\\.", re.IGNORECASE | re.DOTALL
)
_NOT_FINITE = frozenset({b"NaN", b"Infinity", b"-Infinity"})


def _first_unfit(body: bytes) -> tuple[str, str] | None:
    """The first field whose value no JSON text may hold, and why not; None where what is wrong is no one value.

    It goes by tokens alone, for this is no JSON: nothing is parsed here.
    """
    places: list[int | bytes | None] = []
    """Where the token is: the number in each list that is open, the name in each object, None before that came."""
    text = b""
    for match in _TOKEN.finditer(body):
        token = match[0]
        if match["unclosed"] is not None:
            return None
        if token in (b"{", b"["):
            places.append(None if token == b"{" else 0)
            # The request's own object or list comes on top of the payload's levels.
            if len(places) > limits.PAYLOAD_DEPTH + 2:
                return _outermost(places), f"nests deeper than {limits.PAYLOAD_DEPTH} levels (PAYLOAD_DEPTH)"
        elif token in (b"]", b"}"):
            if places:
                places.pop()
        elif token == b":" and places:
            places[-1] = text
        elif token == b"," and places:
            last = places[-1]
            places[-1] = last + 1 if isinstance(last, int) else None
        elif problem := _unfit(token):
            return _path(places), problem
        else:
            text = token[1:-1]
    return None


def _unfit(token: bytes) -> str | None:
    """What is wrong with a string, a number or a word."""
    if token in _NOT_FINITE or (token[:1] in b"-0123456789" and _is_infinite(token)):
        return "is NaN, infinite or too large for a number"
    if token.startswith(b'"') and any(escape[3] for escape in _ESCAPES.finditer(token)):
        return "holds a lone surrogate, which is not Unicode text"
    return None


def _is_infinite(number: bytes) -> bool:
    try:
        return math.isinf(float(number))
    except ValueError:
        return False


def _outermost(places: Sequence[int | bytes | None]) -> str:
    """The path down to the first name, as in `[3].data`."""
    named = next((number for number, place in enumerate(places[:3], 1) if isinstance(place, bytes)), 0)
    return _path(places[:named])


def _path(places: Sequence[int | bytes | None]) -> str:
    """The path to a place, as in `[3].data.a`."""
    path = ""
    for place in places:
        if isinstance(place, int):
            path += f"[{place}]"
        elif place is not None:
            path += f".{_name(place)}"
    return path.removeprefix(".")[: limits.ID_CHARACTERS] or "body"


def _name(text: bytes) -> str:
    """The name that stands between these quotes, or the text itself where that is none."""
    try:
        return str(json.decode(b'"' + text + b'"'))
    except PayloadError:
        return text.decode("utf-8", "replace")
