"""The JSON of payloads: kept as it came, or refused by name."""

from __future__ import annotations

import gc
import math
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotor import limits
from rotor.errors import PayloadError
from rotor.protocol import json
from rotor.protocol.json import Raw

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


class Reading(msgspec.Struct):
    value: float = math.nan


@given(value=VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    text = json.encode(value)
    json.check(text)
    assert json.decode(text) == value


@given(text=st.binary())
def test_any_bytes_are_kept_or_refused(text: bytes) -> None:
    try:
        json.check(text)
    except PayloadError:
        with pytest.raises(PayloadError):
            json.decode(text)
    else:
        json.decode(text)


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, -(2**64), 10**400, 10**4299])
def test_an_integer_of_any_size_is_kept(number: int) -> None:
    assert json.decode(json.encode({"n": number})) == {"n": number}
    json.check(str(number).encode())


@pytest.mark.parametrize(
    "text", [b'"\\u0000"', b'"\\ud83d\\ude00"', '"\U0001f600"'.encode(), b'{"a": 1, "a": 2}', b" 1 "]
)
def test_what_is_valid_is_kept(text: bytes) -> None:
    json.check(text)
    json.check(Raw(text))


@pytest.mark.parametrize(
    "text",
    [
        *[b"", b" ", b"{", b"[1,]", b"01", b"1.", b"'a'", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"nul"],
        *[b'"\x00"', b"\xef\xbb\xbf{}", b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b"9" * 4301, b"{} {}", b"{1: 2}"],
    ],
)
def test_what_is_not_json_is_refused(text: bytes) -> None:
    for refuse in (json.check, json.decode):
        with pytest.raises(PayloadError):
            refuse(text)


@pytest.mark.parametrize("text", [b'"\\ud800"', b'"\\udc00"', b'{"\\ud800": 1}', b'"\\ud800\\u0041"', b'"\\uD800x"'])
def test_a_lone_surrogate_is_refused(text: bytes) -> None:
    with pytest.raises(PayloadError, match="surrogate"):
        json.check(text)


def test_a_lone_surrogate_in_a_str_is_refused_as_well() -> None:
    with pytest.raises(PayloadError, match="surrogate"):
        json.decode('"\ud800"')


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}, ["\udfff"]])
def test_a_lone_surrogate_is_not_encoded(value: Any) -> None:
    with pytest.raises(PayloadError, match="surrogate"):
        json.encode(value)


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, [1, [math.nan]], {"a": {"b": math.inf}}, (math.nan,), Reading(), [Reading()]],
)
def test_a_number_that_json_lacks_is_not_encoded(value: Any) -> None:
    with pytest.raises(PayloadError, match="NaN and infinity"):
        json.encode(value)


def test_a_number_that_json_lacks_is_found_in_what_a_hook_returns() -> None:
    with pytest.raises(PayloadError, match="NaN and infinity"):
        json.encode([object()], hook=lambda _: math.nan)


def test_null_is_encoded_beside_raw_text() -> None:
    assert json.encode({"a": None, "b": Raw(b'"null"'), "c": 1.5}) == b'{"a":null,"b":"null","c":1.5}'
    assert json.encode(json.NULL) == b"null"


@pytest.mark.parametrize("value", [object(), {(1, 2): 3}, {None: 1}, 1j])
def test_what_has_no_json_form_is_refused(value: Any) -> None:
    with pytest.raises(PayloadError):
        json.encode(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(PayloadError, match="contains itself"):
        json.encode(value)


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + b"1" + closing * depth


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"]": ', b"}]")])
def test_depth_is_limited_by_name(opening: bytes, closing: bytes) -> None:
    deepest = limits.PAYLOAD_DEPTH // opening.count(b"[" if b"[" in opening else b"{")
    deepest = deepest // 2 if opening.startswith(b"[{") else deepest
    json.check(nested(deepest, opening, closing))
    for depth in (deepest + 1, 100_000):
        with pytest.raises(PayloadError, match=r"128 levels \(PAYLOAD_DEPTH\)"):
            json.check(nested(depth, opening, closing))


def test_brackets_side_by_side_or_in_strings_are_no_depth() -> None:
    json.check(b"[" + b"[],{}," * 1_000 + b"[]]")
    json.check(json.encode({"[" * 500: "{" * 500, 'a"[\\': ['\\"[{' * 500, "\\", "[" * 200, ""]}))


@given(texts=st.lists(st.text(alphabet='"\\[]{}a\n\u20ac')), depth=st.integers(1, limits.PAYLOAD_DEPTH + 2))
def test_depth_is_measured_outside_strings(texts: list[str], depth: int) -> None:
    value: Any = {}
    for _ in range(depth - 1):
        value = [*texts, value, *texts]
    padding = b'"' + b"[" * limits.PAYLOAD_DEPTH + b'"'
    text = b"[" + padding + b"," + json.encode(value) + b"]"
    if depth + 1 <= limits.PAYLOAD_DEPTH:
        json.check(text)
    else:
        with pytest.raises(PayloadError, match="PAYLOAD_DEPTH"):
            json.check(text)


def test_size_is_limited_by_name_before_anything_is_parsed() -> None:
    json.check(b'"' + b"x" * 8 + b'"', payload_bytes_max=10)
    with pytest.raises(PayloadError, match=r"is 11 bytes; the limit is 10 \(PAYLOAD_BYTES\)"):
        json.check(b"\xff" * 11, payload_bytes_max=10)


def test_a_field_at_fault_is_named() -> None:
    with pytest.raises(PayloadError, match=r"Expected `float`, got `str` - at `\$\.value`"):
        json.decode_as(b'{"value": "secret"}', Reading)


@pytest.mark.parametrize("text", [b"[" + b"[]," * 50_000 + b"[]]", b"[" + b"[]," * 50_000])
def test_a_large_payload_is_read_without_the_collector_which_then_goes_on(text: bytes) -> None:
    collected: list[str] = []

    def note(phase: str, _: object) -> None:
        collected.append(phase)

    gc.collect()
    gc.callbacks.append(note)
    try:
        with suppress(PayloadError):
            json.check(text)
    finally:
        gc.callbacks.remove(note)
    assert len(collected) <= 2  # one collection, at the end
    assert gc.isenabled()
