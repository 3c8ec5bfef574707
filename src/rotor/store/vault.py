"""Payloads at rest: sealed with AES-256-GCM under a key from the environment.

A sealed payload begins with a NUL byte, which no JSON does, so sealed and plain ones live side by side:

    \\0 \\1 | tag of the key (4) | workspace (8) | salt (16) | number (4) | ciphertext, 16 longer than the text

Under each salt a key of its own is derived, and its messages are numbered: so no nonce is used twice however much is
written, which random ones could not promise. What stands before the salt is authenticated: a payload that is moved into
another workspace, or altered, does not open there. A connection to Postgres opens what it reads by itself; whoever
writes seals, since only the writer knows the workspace.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from rotor.errors import ConfigError
from rotor.store.problems import Unreadable

__all__ = ["ENCRYPTION_KEYS", "Vault", "is_sealed"]

ENCRYPTION_KEYS: Final = "ROTOR_ENCRYPTION_KEYS"
MAGIC: Final = b"\0\1"
HEADER: Final = len(MAGIC) + 4 + 8
BODY: Final = HEADER + 16 + 4
MESSAGES_PER_SALT: Final = 2**32 - 1


def is_sealed(payload: bytes) -> bool:
    """Whether a payload as it is stored is encrypted."""
    return payload.startswith(MAGIC)


class Vault:
    """A ring of keys by their ids: the first seals, each opens what was sealed under it."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = {_tag(name): key for name, key in keys.items()}
        self._names = {_tag(name): name for name in keys}
        self._first = _tag(next(iter(keys)))
        self._derived = lru_cache(maxsize=1_000)(self._derive)
        self._salt = b""
        self._number = MESSAGES_PER_SALT

    @classmethod
    def parse(cls, text: str) -> Vault:
        """From "2026b:BASE64,2026a:BASE64", keys of 32 bytes. Raises `ConfigError` that names the setting."""
        keys: dict[str, bytes] = {}
        for place, item in enumerate(text.split(","), start=1):
            name, _, encoded = item.strip().partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except ValueError:
                key = b""
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) or len(key) != 32:
                # The item itself is not shown: it may be a key.
                raise ConfigError(
                    f"{ENCRYPTION_KEYS}: item {place} is not ID:KEY with a key of 32 bytes in base64; "
                    "`openssl rand -base64 32` makes one"
                )
            if name in keys or _tag(name) in {_tag(other) for other in keys}:
                raise ConfigError(f"{ENCRYPTION_KEYS}: the id {name} is given twice, or is too much like another")
            keys[name] = key
        return cls(keys)

    def seal(self, workspace_id: int, payload: bytes) -> bytes:
        """`payload` as it is to be stored for a workspace."""
        if self._number == MESSAGES_PER_SALT:
            self._salt, self._number = secrets.token_bytes(16), 0
        self._number += 1
        number = self._number.to_bytes(4, "big")
        header = MAGIC + self._first + workspace_id.to_bytes(8, "big")
        sealed: bytes = self._derived(self._first, self._salt).encrypt(_nonce(number), payload, header)
        return header + self._salt + number + sealed

    def open(self, stored: bytes, workspace_id: int | None) -> bytes:
        """The payload, and one that was never sealed as it is; `workspace_id` is whose it must be, if that is known.

        Raises `Unreadable` where the key is missing, or the payload is not what was sealed for this workspace.
        """
        if not stored.startswith(MAGIC):
            return stored
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra

        header, salt, number = stored[:HEADER], stored[HEADER : BODY - 4], stored[BODY - 4 : BODY]
        tag = header[2:6]
        if tag not in self._keys:
            raise Unreadable(
                f"a payload is encrypted under a key that this server does not have (it has "
                f"{', '.join(self._names.values())}): start it with that key in {ENCRYPTION_KEYS}, behind the others"
            )
        if workspace_id is not None and int.from_bytes(header[6:], "big") != workspace_id:
            raise Unreadable("an encrypted payload belongs to another workspace than its row: somebody has moved it")
        try:
            payload: bytes = self._derived(tag, salt).decrypt(_nonce(number), stored[BODY:], header)
        except InvalidTag:
            raise Unreadable(
                f"an encrypted payload does not open with the key {self._names[tag]}: either that is another key "
                f"under the same id in {ENCRYPTION_KEYS}, or the payload was altered"
            ) from None
        return payload

    def _derive(self, tag: bytes, salt: bytes) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra

        return AESGCM(hmac.digest(self._keys[tag], b"rotor payload" + salt, hashlib.sha256))


def _tag(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:4]


def _nonce(number: bytes) -> bytes:
    return b"\0" * 8 + number
