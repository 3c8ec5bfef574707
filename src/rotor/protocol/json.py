"""The one JSON parser of Rotor: what it accepts can be stored and returned as it came, the rest is refused by name.

Payloads travel as opaque text (`msgspec.Raw`): they are checked once where they enter, and parsed where they are used.
RFC 8259 holds, and more strictly: no NaN or Infinity, no lone surrogates, UTF-8 without a byte order mark, and the
limits of `rotor.limits`. Integers of any size up to 4,300 digits and NUL escapes are kept.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from rotor import limits
from rotor.errors import PayloadError

__all__ = ["Raw", "check", "decode", "decode_as", "encode", "NULL"]

Raw = msgspec.Raw
NULL = Raw(b"null")

T = TypeVar("T")

_decoder = msgspec.json.Decoder()

LARGE_BYTES = 64 * 1024
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NEITHER_BRACKET_NOR_QUOTE = bytes(set(range(256)) - set(b'[]{}"'))


def encode(value: Any, *, hook: Callable[[Any], Any] | None = None) -> bytes:
    """`value` as JSON text.

    Raises `PayloadError` for what JSON cannot hold: NaN and infinities, lone surrogates, keys that are neither
    text nor numbers, objects of unknown classes.
    """
    try:
        encoded = _encoder(hook).encode(value)
    except UnicodeEncodeError:
        raise PayloadError("text with a lone surrogate is not Unicode") from None
    except RecursionError:
        raise PayloadError(f"nested deeper than {limits.PAYLOAD_DEPTH} levels, or contains itself") from None
    except (TypeError, ValueError, OverflowError, NotImplementedError) as error:
        raise PayloadError(str(error)) from None
    if b"null" in encoded and _has_non_finite(value, hook):
        raise PayloadError("NaN and infinity have no JSON form")
    return encoded


def decode(text: bytes | str | Raw) -> Any:
    """The value of JSON `text`. Raises `PayloadError`."""
    return _translated(_decoder.decode, text)


def decode_as(text: bytes | str | Raw, kind: type[T]) -> T:
    """The value of JSON `text`, validated into `kind`. Raises `PayloadError` that names the field at fault."""
    return _translated(lambda raw: msgspec.json.decode(raw, type=kind), text)


def check(text: bytes | Raw, *, payload_bytes_max: int = limits.PAYLOAD_BYTES) -> None:
    """Raise `PayloadError` unless `text` is JSON that Rotor keeps: valid, within the size and the depth."""
    size = len(memoryview(text))
    if size > payload_bytes_max:
        raise PayloadError(f"is {size:,} bytes; the limit is {payload_bytes_max:,} (PAYLOAD_BYTES)")
    raw = bytes(text)
    _parse(raw)
    if raw.count(b"[") + raw.count(b"{") > limits.PAYLOAD_DEPTH and _too_deep(raw):
        raise PayloadError(f"nests deeper than {limits.PAYLOAD_DEPTH} levels (PAYLOAD_DEPTH)")


@lru_cache(maxsize=16)
def _encoder(hook: Callable[[Any], Any] | None) -> msgspec.json.Encoder:
    return msgspec.json.Encoder(enc_hook=hook)


def _parse(raw: bytes) -> None:
    """Raise `PayloadError` unless `raw` is JSON.

    What is parsed holds no cycles, and is forgotten at once. While millions of empty lists come into being, the
    collector of cycles would look at them again and again: five sixths of the time for the worst payload, in which
    nothing else in the process is done.
    """
    paused = len(raw) > LARGE_BYTES and gc.isenabled()
    if paused:
        gc.disable()
    try:
        decode(raw)
    finally:
        if paused:
            gc.enable()


def _translated(decoder: Callable[[Any], T], text: bytes | str | Raw) -> T:
    try:
        return decoder(text)
    except UnicodeDecodeError:
        raise PayloadError("is not UTF-8") from None
    except UnicodeEncodeError:
        raise PayloadError("has a lone surrogate, which is not Unicode") from None
    except RecursionError:
        raise PayloadError(f"nests deeper than {limits.PAYLOAD_DEPTH} levels (PAYLOAD_DEPTH)") from None
    except msgspec.ValidationError as error:
        raise PayloadError(str(error)) from None
    except msgspec.DecodeError as error:
        # msgspec reports a lone surrogate as truncated data; only the text tells the two apart.
        if "truncated" in str(error) and "\\ud" in _text(text).lower():
            raise PayloadError("has a lone surrogate escape, or is cut short") from None
        raise PayloadError(str(error)) from None


def _text(text: bytes | str | Raw) -> str:
    return text if isinstance(text, str) else bytes(text).decode("utf-8", "replace")


def _too_deep(text: bytes) -> bool:
    """Whether brackets of `text`, which is valid JSON, nest beyond the limit; in passes of C speed, not by byte."""
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A quote beside a quote opens and closes nothing that matters here: without both, the same brackets stand outside.
    marks = unescaped.translate(_SQUARE, _NEITHER_BRACKET_NOR_QUOTE).replace(b'""', b"")
    brackets = b"".join(marks.split(b'"')[::2])
    for _ in range(limits.PAYLOAD_DEPTH):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")  # one level less
    return bool(brackets)


def _has_non_finite(value: Any, hook: Callable[[Any], Any] | None) -> bool:
    pending = [msgspec.to_builtins(value, builtin_types=(Raw,), enc_hook=hook, str_keys=True)]
    while pending:
        item = pending.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return True
        if isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, list | tuple):
            pending += item
    return False
