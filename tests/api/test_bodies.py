"""Whatever bytes come as a body, they are read or refused with a field, never a failure of the server."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotor.api.bodies import SEARCHED_BYTES, decode_body
from rotor.api.events import EventInput
from rotor.api.problems import Malformed
from rotor.store.problems import Invalid

EVENTS: msgspec.json.Decoder[EventInput | list[EventInput]] = msgspec.json.Decoder(EventInput | list[EventInput])
ANYTHING: msgspec.json.Decoder[object] = msgspec.json.Decoder()

texts = st.text(st.characters(codec=None, categories=["L", "N", "P", "Cs", "Cc", "Zs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
bodies = st.binary(max_size=64) | st.builds(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"), values)


@given(bodies)
def test_any_bytes_are_read_or_refused_with_a_field(body: bytes) -> None:
    for decoder in (EVENTS, ANYTHING):
        try:
            decode_body(body, decoder)
        except (Malformed, Invalid) as error:
            refused = error
        else:
            continue
        assert all(field and message for field, message in refused.errors)
        str(refused).encode()


@given(bodies)
def test_what_is_read_is_what_the_standard_parser_reads(body: bytes) -> None:
    try:
        value = decode_body(body, ANYTHING)
    except Malformed:
        return
    assert value == json.loads(body)


@pytest.mark.parametrize("depth", [500_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"]":', b"}]")])
def test_deep_nesting_is_refused_whatever_the_depth(depth: int, opening: bytes, closing: bytes) -> None:
    body = b'{"name":"a","data":' + opening * depth + b"1" + closing * depth + b"}"
    with pytest.raises(Malformed) as refused:
        decode_body(body, EVENTS)
    assert [field for field, _ in refused.value.errors] == ["data"]


def test_a_name_that_is_not_text_is_shown_as_text() -> None:
    with pytest.raises(Malformed) as refused:
        decode_body(b'{"\\ud800": NaN}', ANYTHING)
    str(refused.value).encode()


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (b'{"a":1,"b":[0,{"c":NaN}]}', "b[1].c", "NaN"),
        (b'[1,{"a":-Infinity}]', "[1].a", "infinite"),
        (rb'{"gr\u00f6\u00dfe":"\udc00"}', "gr\u00f6\u00dfe", "surrogate"),
        (rb'{"pair":"\ud83d\ude00","text":"\\ud800","lone":"x\uD83Dx"}', "lone", "surrogate"),
        (rb'{"a":{"\ud800":1}}', "a", "surrogate"),
        (b'{"NaN":"NaN",}', "body", "not JSON"),
        (rb'{"a":"\"NaN', "body", "not JSON"),
        (b'{"a":"\xff"}', "body", "not UTF-8"),
        (b"[" * 500, "body", "PAYLOAD_DEPTH"),
        (b'["' + b"x" * SEARCHED_BYTES + b'",NaN]', "body", "not JSON"),
    ],
)
def test_the_field_that_cannot_be_read_is_named(body: bytes, field: str, message: str) -> None:
    with pytest.raises(Malformed) as refused:
        decode_body(body, ANYTHING)
    ((named, complaint),) = refused.value.errors
    assert named == field
    assert message in complaint
