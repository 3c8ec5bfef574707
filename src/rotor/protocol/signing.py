"""Signed requests in both directions, by Standard Webhooks (https://www.standardwebhooks.com, symmetric `v1`).

What is signed is `ID.TIMESTAMP.BODY`, by HMAC-SHA256. A message carries one signature a key, so that keys can be
changed with no request lost; any one that holds suffices. An id has no full stop: otherwise one signature would fit two
messages. The timestamp bounds how long a captured message can be sent again. Vectors are in `conformance/signing.json`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from rotor.errors import ConfigError, SignatureError

__all__ = ["generate_key", "sign", "verify"]

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

KEY_PREFIX: Final = "whsec_"
KEY_BYTES: Final = 32
KEY_BYTES_MIN: Final = 24
"""Of the standard."""
SIGNATURES: Final = 16
"""Signatures of one message that are looked at."""

_ID: Final = re.compile(r"[!-\-/-~]{1,256}")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")


def generate_key() -> str:
    """A new signing key, as text.

    >>> generate_key().startswith("whsec_")
    True
    """
    return KEY_PREFIX + base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def sign(body: bytes, *, message_id: str, timestamp: int, keys: Sequence[str]) -> dict[str, str]:
    """The headers that sign `body` with each of `keys`; `timestamp` is in seconds since 1970.

    Raises `ConfigError` for a key that cannot be used, and `SignatureError` for an unusable id.
    """
    if _ID.fullmatch(message_id) is None:
        raise SignatureError(f"{ID_HEADER} must be 1 to 256 visible ASCII characters without a full stop")
    signatures = [f"v1,{_signature(key, message_id, timestamp, body)}" for key in _usable(keys)]
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: " ".join(signatures),
    }


def verify(
    body: bytes, headers: Mapping[str, str], *, keys: Sequence[str], now: float, tolerance_seconds: float = 300
) -> None:
    """Return if one of `keys` signed `body` within `tolerance_seconds` of `now` (seconds since 1970).

    Raises `SignatureError` that names the header at fault, and `ConfigError` for a key that cannot be used.
    """
    named = {name.lower(): value for name, value in headers.items()}
    message_id, stamp, given = (_header(named, name) for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER))
    if _ID.fullmatch(message_id) is None:
        raise SignatureError(f"{ID_HEADER} is not an id: 1 to 256 visible ASCII characters without a full stop")
    if _TIMESTAMP.fullmatch(stamp) is None:
        raise SignatureError(f"{TIMESTAMP_HEADER} is not a whole number of seconds since 1970")
    if abs(now - int(stamp)) > tolerance_seconds:
        side = "old" if int(stamp) < now else "far ahead"
        raise SignatureError(
            f"{TIMESTAMP_HEADER} is too {side}: over {tolerance_seconds:g} seconds from this machine's clock; "
            "set both machines' clocks, and send again"
        )
    expected = [_signature(key, message_id, int(stamp), body).encode() for key in _usable(keys)]
    candidates = [part[3:].encode(errors="replace") for part in given.split() if part.startswith("v1,")][:SIGNATURES]
    # Every pair is compared, each in constant time: how long this takes tells nothing.
    matches = [hmac.compare_digest(one, other) for one in expected for other in candidates]
    if not any(matches):
        raise SignatureError(
            f"{SIGNATURE_HEADER} holds no signature by a known key: compare the signing keys of both sides, "
            "and see that nothing between them changes the body"
        )


def _header(headers: Mapping[str, str], name: str) -> str:
    try:
        return headers[name]
    except KeyError:
        raise SignatureError(f"{name} is missing: the request is not signed") from None


def _signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _usable(keys: Sequence[str]) -> list[bytes]:
    if not keys:
        raise ConfigError("there is no signing key: set ROTOR_SIGNING_KEY to what `rotor keys create` printed")
    return [_key_bytes(key) for key in keys]


@lru_cache(maxsize=1024)
def _key_bytes(key: str) -> bytes:
    try:
        decoded = base64.b64decode(key.removeprefix(KEY_PREFIX), validate=True) if key.startswith(KEY_PREFIX) else b""
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) < KEY_BYTES_MIN:
        raise ConfigError(
            f'a signing key is not usable: it must be "{KEY_PREFIX}" followed by {KEY_BYTES_MIN} bytes or more '
            "in base64, as `rotor keys create` prints it"
        )
    return decoded
