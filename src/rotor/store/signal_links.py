"""Links that complete a signal: whoever has one may answer one wait, once and until a time, and needs no key.

A link's token is `rl_WORKSPACE_EXPIRY_SIGNAL_MAC`, the signal's id in base64url. The MAC binds the other three by the
workspace's signing key, so that nothing is stored for a link until it is used; then its MAC is, until it would have
expired.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rotor import limits
from rotor.store import audit, signals
from rotor.store.checks import name_problem
from rotor.store.database import Database
from rotor.store.problems import Conflict, Invalid
from rotor.store.signals import Completion
from rotor.store.signing_keys import SigningKeys
from rotor.store.store import Store

__all__ = ["SignalLink", "SignalLinks"]

EXPIRY_DIGITS = 12


@dataclass(frozen=True, slots=True)
class SignalLink:
    """A genuine link that has not expired."""

    workspace_id: int
    signal_id: str
    expires_at: datetime
    mac: bytes


class SignalLinks:
    """Makes links, recognises them on every server of the database, and completes signals by them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._signing_keys = SigningKeys(database)

    async def make(self, workspace_id: int, signal_id: str, expires_in: timedelta) -> tuple[str, datetime]:
        """The token of a link, and when it expires (to the second). Raises `Invalid`, naming the field."""
        problem = name_problem(signal_id)
        if problem:
            raise Invalid([("signal_id", problem)])
        if not timedelta(seconds=1) <= expires_in <= limits.SLEEP:
            raise Invalid([("expires_in", f"must be from a second to {limits.SLEEP.days:,} days (SLEEP)")])
        now: datetime = await self._database.fetchval("read_clock")
        expiry = int((now + expires_in).timestamp())
        keys = await self._signing_keys.ensure(workspace_id)
        named = base64.urlsafe_b64encode(signal_id.encode()).decode().rstrip("=")
        claim = f"{workspace_id}_{expiry}_{named}"
        return f"rl_{claim}_{_mac(keys[0], claim).hex()}", datetime.fromtimestamp(expiry, UTC)

    async def find(self, token: str) -> SignalLink | None:
        """What the token stands for, or None where it is not genuine or has expired."""
        link = _parse(token)
        if link is None:
            return None
        claim = token[len("rl_") :].rpartition("_")[0]
        keys = await self._signing_keys.of(link.workspace_id)
        genuine = [hmac.compare_digest(link.mac, _mac(key, claim)) for key in keys]
        if not any(genuine):
            return None
        now: datetime = await self._database.fetchval("read_clock")
        return link if now < link.expires_at else None

    async def is_used(self, link: SignalLink) -> bool:
        """Whether the link has been used, or its signal completed by somebody else."""
        return bool(await self._database.of(link.workspace_id).fetchval("read_signal_use", link.signal_id, link.mac))

    async def complete(self, store: Store, link: SignalLink, data: bytes) -> Completion:
        """Complete the link's signal with `data` (JSON).

        Raises `Conflict` where the link was used before, or the signal completed.
        """
        async with self._database.of(link.workspace_id).transaction() as connection:
            if await connection.fetchval("use_signal_link", link.mac, link.expires_at) is None:
                raise Conflict("this link has been used before")
            sealed = connection.sealed(data)
            waiter = await connection.fetchrow("complete_signal", link.signal_id, sealed, limits.SIGNAL_KEPT)
            if waiter is not None:
                await audit.record(connection, "signal.completed", link.signal_id)
        return await signals.deliver(store, link.workspace_id, link.signal_id, waiter)


def _parse(token: str) -> SignalLink | None:
    """What a token says, be it genuine or not."""
    if not token.isascii() or not token.startswith("rl_"):
        return None
    workspace, _, rest = token[len("rl_") :].partition("_")
    expiry, _, rest = rest.partition("_")
    named, _, mac = rest.rpartition("_")
    if not (workspace.isdigit() and len(workspace) <= 18 and expiry.isdigit() and len(expiry) < EXPIRY_DIGITS):
        return None
    try:
        signal_id = base64.b64decode(named + "=" * (-len(named) % 4), altchars=b"-_", validate=True).decode()
        expires_at = datetime.fromtimestamp(int(expiry), UTC)
        link = SignalLink(int(workspace), signal_id, expires_at, bytes.fromhex(mac))
    except (binascii.Error, ValueError, OverflowError, OSError):
        return None
    return None if name_problem(signal_id) else link


def _mac(key: str, claim: str) -> bytes:
    return hmac.digest(key.encode(), f"signal:{claim}".encode(), hashlib.sha256)
