"""Turns a user's values into JSON text and back into the types that their annotations name.

What a workflow sees of a step is always the decoded text, so a value must come back as what its annotation says: a
dataclass, TypedDict, msgspec Struct, pydantic model, datetime, UUID, Decimal, Enum, set, bytes, or a composition of
them. msgspec does the work; pydantic is asked where one of its classes is involved, and is never imported before the
user has.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from typing import Any, get_args

import msgspec

from rotor import limits
from rotor.errors import DurableError, PayloadError, SerializationError
from rotor.protocol import json
from rotor.protocol.json import Raw
from rotor.protocol.messages import Error
from rotor.sdk.annotations import result_annotation

__all__ = ["decode_value", "encode_value", "error_of", "result_annotation"]


def encode_value(value: Any) -> Raw:
    """`value` as JSON text.

    Raises `SerializationError` for what has no JSON form; the message names the class at fault, never the value.
    """
    try:
        return Raw(json.encode(value, hook=_to_builtins))
    except PayloadError as error:
        raise SerializationError(f"{type(value).__name__} cannot be stored as JSON: {error}") from None


def decode_value(raw: Raw, annotation: Any = Any) -> Any:
    """The value of JSON text `raw` as `annotation` says; plain dicts, lists and scalars for `Any`.

    Raises `SerializationError` that names the field at fault.
    """
    if annotation is Any:
        return _decode_plain(raw)
    try:
        decoder = _decoder(annotation)
    except TypeError:  # an annotation that cannot be hashed
        decoder = _new_decoder(annotation)
    return decoder.decode(raw)


def error_of(exception: BaseException) -> Error:
    """`exception` as the protocol says it: class name, message and traceback, within `ERROR_TEXT_CHARACTERS` each."""
    try:
        message = str(exception)
    except Exception as broken:  # a user's __str__ may itself raise: the error must still be recorded
        message = f"<{type(exception).__name__}.__str__ raised {type(broken).__name__}>"
    stack = "".join(traceback.format_exception(exception))
    if isinstance(exception, DurableError) and exception.stack:
        stack = f"{exception.stack.rstrip()}\n\nwhich reached the workflow as:\n\n{stack}"
    return Error(name=_clean(type(exception).__name__), message=_head(_clean(message)), stack=_ends(_clean(stack)))


def _clean(text: str) -> str:
    """`text` as Unicode: a lone surrogate has no UTF-8 form."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _head(text: str) -> str:
    room = limits.ERROR_TEXT_CHARACTERS
    return text if len(text) <= room else text[: room - 1] + "…"


def _ends(text: str) -> str:
    """Both ends of `text`: of a long traceback the first and the last frames tell most."""
    room = limits.ERROR_TEXT_CHARACTERS
    if len(text) <= room:
        return text
    cut = f"\n… {len(text) - room:,} characters left out …\n"
    half = (room - len(cut)) // 2
    return text[:half] + cut + text[-half:]


def _to_builtins(value: Any) -> Any:
    """What msgspec asks for a class it does not know."""
    if _is_pydantic(type(value)):
        return value.model_dump(mode="json", by_alias=True, round_trip=True)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | Set):
        return list(value)
    name = type(value).__name__
    raise TypeError(f"{name} has no JSON form; return plain data, a dataclass, a msgspec Struct or a pydantic model")


def _is_pydantic(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__")


def _names_pydantic(annotation: Any) -> bool:
    """Whether a pydantic class stands in `annotation` itself (`Model`, `list[Model]`, `Model | None`)."""
    return _is_pydantic(annotation) or any(_names_pydantic(part) for part in get_args(annotation))


def _decode_plain(raw: Raw) -> Any:
    try:
        return json.decode(raw)
    except PayloadError as error:
        raise SerializationError(str(error)) from None


class _Plain:
    """Reads JSON into a type that msgspec knows, and pydantic models in the fields of its classes."""

    def __init__(self, annotation: Any) -> None:
        self._decoder = msgspec.json.Decoder(annotation, dec_hook=_from_builtins)

    def decode(self, raw: Raw) -> Any:
        try:
            return self._decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SerializationError(str(error)) from None


class _Pydantic:
    """Reads JSON into a type that names a pydantic class."""

    def __init__(self, annotation: Any) -> None:
        from pydantic import TypeAdapter  # noqa: PLC0415  (imported by the user already, or we would not be here)

        self._adapter = TypeAdapter(annotation)

    def decode(self, raw: Raw) -> Any:
        from pydantic import ValidationError  # noqa: PLC0415

        try:
            return self._adapter.validate_json(bytes(raw))
        except ValidationError as error:
            raise SerializationError(_fields_at_fault(error.errors(include_url=False, include_input=False))) from None


def _fields_at_fault(errors: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f"{error['msg']} - at `{'.'.join(['$', *map(str, error['loc'])])}`" for error in errors)


def _from_builtins(kind: type, value: Any) -> Any:
    """What msgspec asks for a class it does not know: pydantic's inside its own."""
    if _is_pydantic(kind):
        try:
            return _decoder(kind).decode(Raw(json.encode(value)))
        except SerializationError as error:
            raise ValueError(str(error)) from None  # msgspec adds where it stands, and raises its own
    raise TypeError(f"{kind.__name__} cannot be read from JSON")


def _new_decoder(annotation: Any) -> _Plain | _Pydantic:
    try:
        return _Pydantic(annotation) if _names_pydantic(annotation) else _Plain(annotation)
    except (TypeError, ValueError, RuntimeError) as error:  # PydanticUserError and its schema errors are these too
        raise SerializationError(f"a value cannot be read as {annotation!r}: {error}") from None


_decoder = lru_cache(maxsize=4_096)(_new_decoder)
