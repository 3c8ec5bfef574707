"""Signed requests: every vector, and the keys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotor.errors import ConfigError, SignatureError
from rotor.protocol.signing import generate_key, sign, verify
from tests.conformance_vectors import shown, vectors

VECTORS = vectors("signing")
NOW = 1_700_000_000


@pytest.mark.parametrize("vector", VECTORS["sign"], ids=shown)
def test_messages_are_signed_as_the_vectors_say(vector: dict[str, Any]) -> None:
    headers = sign(
        vector["body"].encode(), message_id=vector["message_id"], timestamp=vector["timestamp"], keys=vector["keys"]
    )
    assert headers == vector["headers"]


@pytest.mark.parametrize("vector", VECTORS["verify"], ids=shown)
def test_signatures_are_verified_as_the_vectors_say(vector: dict[str, Any]) -> None:
    def check() -> None:
        verify(
            vector["body"].encode(),
            vector["headers"],
            keys=vector["keys"],
            now=vector["now"],
            tolerance_seconds=vector["tolerance_seconds"],
        )

    if vector["valid"]:
        check()
    else:
        with pytest.raises(SignatureError, match="webhook-"):
            check()


def test_keys_are_new_each_time_and_sign() -> None:
    first, second = generate_key(), generate_key()
    assert first != second
    headers = sign(b"{}", message_id="m", timestamp=NOW, keys=[first])
    verify(b"{}", headers, keys=[second, first], now=NOW)


def test_a_key_that_is_being_changed_verifies_on_both_sides() -> None:
    old, new = generate_key(), generate_key()
    headers = sign(b"{}", message_id="m", timestamp=NOW, keys=[new, old])
    for known in (old, new):
        verify(b"{}", headers, keys=[known], now=NOW)


@pytest.mark.parametrize(
    "key", ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64!", "whsec_é"]
)
def test_an_unusable_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="rotor keys create") as caught:
        sign(b"", message_id="m", timestamp=NOW, keys=[key])
    assert len(key) < 8 or key not in str(caught.value)


def test_without_a_key_nothing_is_verified() -> None:
    headers = sign(b"{}", message_id="m", timestamp=NOW, keys=[generate_key()])
    with pytest.raises(ConfigError, match="ROTOR_SIGNING_KEY"):
        verify(b"{}", headers, keys=[], now=NOW)


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\n", "é", "x" * 257])
def test_an_id_that_the_standard_has_no_room_for_is_refused(message_id: str) -> None:
    with pytest.raises(SignatureError, match="webhook-id"):
        sign(b"", message_id=message_id, timestamp=NOW, keys=[generate_key()])


def test_more_signatures_than_anyone_needs_are_not_looked_at() -> None:
    key = generate_key()
    headers = sign(b"{}", message_id="m", timestamp=NOW, keys=[key])
    headers["webhook-signature"] = "v1,AAAA " * 1_000 + headers["webhook-signature"]
    with pytest.raises(SignatureError):
        verify(b"{}", headers, keys=[key], now=NOW)


@given(body=st.binary(), flipped=st.integers(0))
def test_one_changed_bit_of_the_body_is_noticed(body: bytes, flipped: int) -> None:
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = sign(body, message_id="m", timestamp=NOW, keys=[key])
    verify(body, headers, keys=[key], now=NOW)
    changed = bytearray(body or b"\0")
    changed[flipped % len(changed)] ^= 1 << (flipped % 8)
    with pytest.raises(SignatureError):
        verify(bytes(changed), headers, keys=[key], now=NOW)


@given(headers=st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()))
def test_any_headers_are_refused_by_name(headers: dict[str, str]) -> None:
    with pytest.raises(SignatureError, match="webhook-"):
        verify(b"{}", headers, keys=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], now=NOW)
