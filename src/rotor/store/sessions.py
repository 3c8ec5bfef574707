"""Sessions in a browser: begun with an API key or a login link, ended by time, or by the key's own end.

A token is `rs_EXPIRY_KEYHASH_MAC`. The MAC binds the other two by the workspace's signing key, so that nothing is
stored, and logging out takes the cookie away and no more. The hash of the key opens nothing without that MAC; it lets
each request see whether the key still holds.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta

from rotor.store.database import Database
from rotor.store.keys import Keys, hash_of
from rotor.store.scopes import Caller
from rotor.store.signing_keys import SigningKeys

__all__ = ["SESSION", "Sessions"]

SESSION = timedelta(hours=12)


class Sessions:
    """Begins sessions and recognises them, on every server of the database. A session may what its key may."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys = Keys(database)
        self._signing_keys = SigningKeys(database)

    async def begin(self, key: str) -> str | None:
        """The token of a new session, or None for a key that does not hold, or that may not read."""
        return await self._begin(hash_of(key)) if key.startswith("rk_") else None

    async def begin_by_link(self, token: str) -> str | None:
        """The token of a new session, or None for a link that was used before or has expired."""
        key_hash = await self._keys.use_login_link(token, SESSION)
        return None if key_hash is None else await self._begin(key_hash)

    async def _begin(self, key_hash: bytes) -> str | None:
        caller = await self._keys.find(key_hash)
        if caller is None or not caller.may("read"):
            return None
        now: datetime = await self._database.fetchval("read_clock")
        expiry = int((now + SESSION).timestamp())
        claim = f"{expiry}_{key_hash.hex()}"
        signing_keys = await self._signing_keys.ensure(caller.workspace_id)
        return f"rs_{claim}_{_mac(signing_keys[0], 'session', claim)}"

    async def find(self, token: str) -> Caller | None:
        """Whose session this is, or None where it is not genuine, has expired, or its key no longer holds."""
        parsed = _parse(token)
        if parsed is None:
            return None
        expiry, key_hash, mac = parsed
        caller = await self._keys.find(bytes.fromhex(key_hash))
        if caller is None:
            return None
        signing_keys = await self._signing_keys.of(caller.workspace_id)
        claim = f"{expiry}_{key_hash}"
        genuine = [hmac.compare_digest(mac, _mac(key, "session", claim)) for key in signing_keys]
        if not any(genuine):
            return None
        now: datetime = await self._database.fetchval("read_clock")
        return caller if now.timestamp() < int(expiry) else None

    async def form_token(self, caller: Caller, token: str) -> str:
        """What the forms of this session carry, which no other page can know."""
        signing_keys = await self._signing_keys.ensure(caller.workspace_id)
        return _mac(signing_keys[0], "form", token)

    async def is_form_token(self, caller: Caller, token: str, given: str) -> bool:
        """Whether `given` came from a form of this session."""
        keys = await self._signing_keys.of(caller.workspace_id)
        genuine = [hmac.compare_digest(given.encode(), _mac(key, "form", token).encode()) for key in keys]
        return any(genuine)


def _parse(token: str) -> tuple[str, str, str] | None:
    """What a token says of its expiry, the hash of its key and its MAC, be it genuine or not."""
    parts = token.split("_")
    if len(parts) != 4 or parts[0] != "rs" or not token.isascii():
        return None
    _, expiry, key_hash, mac = parts
    if not expiry.isdigit() or len(expiry) > 12 or len(key_hash) != 64 or set(key_hash) - set("0123456789abcdef"):
        return None
    return expiry, key_hash, mac


def _mac(key: str, purpose: str, claim: str) -> str:
    return hmac.new(key.encode(), f"{purpose}:{claim}".encode(), hashlib.sha256).hexdigest()
