"""What a workflow sees of a value is what its annotation says, whatever the value was before."""

from __future__ import annotations

import functools
import math
from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotor.errors import ConfigError, SerializationError, StepError
from rotor.limits import ERROR_TEXT_CHARACTERS
from rotor.protocol.json import Raw
from rotor.sdk.codec import decode_value, encode_value, error_of, result_annotation


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


class Lead(TypedDict):
    id: str
    score: float


class Contact(pydantic.BaseModel):
    contact_id: str = pydantic.Field(alias="contactId")
    seen: datetime


class Page(pydantic.BaseModel, strict=True):
    url: str
    at: datetime


class Struct(msgspec.Struct):
    name: str
    contact: Contact | None = None


@dataclass
class Profile:
    id: UUID
    born: date
    balance: Decimal
    contacts: list[Contact]


NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
CONTACT = Contact(contactId="c1", seen=NOW)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (NOW, datetime),
        (timedelta(hours=2), timedelta),
        (UUID(int=7), UUID),
        (Decimal("1.10"), Decimal),
        (Colour.RED, Colour),
        ({1, 2}, set[int]),
        (b"\x00\xff", bytes),
        (Point(1, 2), Point),
        ((1, "a"), tuple[int, str]),
        ({UUID(int=1): [NOW]}, dict[UUID, list[datetime]]),
        ({"id": "1", "score": 0.5}, Lead),
        (CONTACT, Contact),
        ([CONTACT], list[Contact]),
        (None, Contact | None),
        (Page(url="u", at=NOW), Page | Contact),
        (Struct(name="n", contact=CONTACT), Struct),
        (Profile(UUID(int=2), date(2020, 1, 1), Decimal(3), [CONTACT]), Profile),
        (2**70, int),
        ("nul \x00", str),
        (None, None),
    ],
)
def test_a_value_comes_back_as_its_annotation_says(value: Any, annotation: Any) -> None:
    decoded = decode_value(encode_value(value), annotation)
    assert decoded == value
    assert type(decoded) is type(value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_plain_json_comes_back_as_it_was(value: Any) -> None:
    assert decode_value(encode_value(value)) == value


def test_read_only_and_foreign_collections_are_stored_as_plain_ones() -> None:
    assert decode_value(encode_value({"a": MappingProxyType({"b": deque([1])})})) == {"a": {"b": [1]}}


@pytest.mark.parametrize("value", [math.nan, [math.inf], object(), "\ud800", {(1, 2): 3}, Contact])
def test_what_has_no_json_form_is_refused_by_its_class(value: Any) -> None:
    with pytest.raises(SerializationError, match=type(value).__name__):
        encode_value(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(SerializationError, match="nested deeper"):
        encode_value(loop)


@pytest.mark.parametrize(
    ("text", "annotation", "field"),
    [
        (b'{"id":"1","score":"high"}', Lead, r"\$\.score"),
        (b'{"contactId":"secret-value"}', Contact, r"\$\.seen"),
        (b'[{"contactId":"secret-value","seen":"x"}]', list[Contact], r"\$\.0\.seen"),
        (b'{"name":"n","contact":{"contactId":"secret-value"}}', Struct, r"\$\.contact"),
        (b"1", str, "Expected `str`"),
        (b"{", Any, "truncated"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_field(text: bytes, annotation: Any, field: str) -> None:
    with pytest.raises(SerializationError, match=field) as refusal:
        decode_value(Raw(text), annotation)
    assert "secret-value" not in str(refusal.value)


def test_an_annotation_that_nothing_can_read_is_named() -> None:
    with pytest.raises(SerializationError, match="cannot be read as"):
        decode_value(Raw(b"1"), Page | Struct)


async def fetch(page: str) -> list[UUID]:
    return []


class Fetcher:
    def __call__(self) -> Lead:
        return {"id": "", "score": 0}

    async def page(self) -> Page:
        return Page(url="", at=NOW)


def test_the_return_annotation_of_any_callable_is_found() -> None:
    @dataclass
    class Local:
        name: str

    def local() -> list[Local]:
        return [Local("a")]

    assert result_annotation(fetch) == list[UUID]
    assert result_annotation(functools.partial(fetch, "a")) == list[UUID]
    assert result_annotation(Fetcher()) is Lead
    assert result_annotation(Fetcher().page) is Page
    assert result_annotation(Contact) is Contact
    assert result_annotation(local) == list[Local]
    assert result_annotation(lambda: 1) is Any
    assert result_annotation(len) is Any


def test_a_return_annotation_that_cannot_be_read_is_an_error_that_says_what_to_do() -> None:
    def lost() -> Missing:  # type: ignore[name-defined]  # noqa: F821
        return None

    with pytest.raises(ConfigError, match=r"'Missing'.*lost.*run time"):
        result_annotation(lost)


def test_an_error_is_told_by_name_message_and_stack() -> None:
    try:
        raise ValueError("no \ud800 good")
    except ValueError as exception:
        error = error_of(exception)
    assert (error.name, error.message) == ("ValueError", "no ? good")
    assert "test_codec.py" in error.stack


def test_a_long_error_keeps_its_first_and_last_lines() -> None:
    error = error_of(ValueError("x" * 100_000))
    assert len(error.message) == ERROR_TEXT_CHARACTERS
    assert len(error.stack) <= ERROR_TEXT_CHARACTERS
    assert error.stack.startswith("ValueError")
    assert "characters left out" in error.stack


def test_the_error_of_a_failed_step_keeps_the_stack_of_its_cause() -> None:
    error = error_of(StepError("boom", name="KeyError", stack="Traceback of the cause"))
    assert error.stack.startswith("Traceback of the cause")


def test_an_error_whose_text_cannot_be_made_is_still_told() -> None:
    class SilentError(Exception):
        def __str__(self) -> str:
            raise KeyError

    assert "KeyError" in error_of(SilentError()).message


@pytest.mark.parametrize("text", [b'{"\x80":1}', b'{"lines":' + b"[" * 100_000 + b"]" * 100_000 + b"}"])
def test_what_is_no_text_or_nests_too_deep_is_no_value_of_any_type(text: bytes) -> None:
    with pytest.raises(SerializationError):
        decode_value(Raw(text), dict[str, int])
