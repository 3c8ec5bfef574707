"""Tokens of checkpoint call-backs: what lets the holder of one invocation write to its run, and to no other.

A token is `rt_WORKSPACE_RUN_LEASE_MAC`. The MAC binds all before it by the workspace's signing key, so that nothing is
stored; that the lease still holds is checked where the messages are written.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple
from uuid import UUID

from rotor.store.signing_keys import SigningKeys

__all__ = ["Claim", "Tokens"]


class Claim(NamedTuple):
    """What a token speaks for."""

    workspace_id: int
    run_id: str
    lease_id: UUID


class Tokens:
    """Issues and verifies the tokens of checkpoint call-backs."""

    def __init__(self, signing_keys: SigningKeys) -> None:
        self._signing_keys = signing_keys

    async def issue(self, workspace_id: int, run_id: UUID, lease_id: UUID) -> str:
        """The token for the holder of `lease_id` to write to `run_id`."""
        keys = await self._signing_keys.ensure(workspace_id)
        said = f"rt_{workspace_id}_{run_id}_{lease_id.hex}"
        return f"{said}_{_mac(keys[0], said)}"

    async def verify(self, token: str) -> Claim | None:
        """What `token` speaks for, or None where it is not genuine."""
        said, _, mac = token.rpartition("_")
        claim = _parse(said)
        if claim is None or not mac.isascii():
            return None
        keys = await self._signing_keys.of(claim.workspace_id)
        genuine = [hmac.compare_digest(mac, _mac(key, said)) for key in keys]
        return claim if any(genuine) else None


def _parse(said: str) -> Claim | None:
    parts = said.split("_")
    if len(parts) != 4 or parts[0] != "rt" or not said.isascii():
        return None
    _, workspace, run, lease = parts
    if not workspace.isdigit() or len(workspace) > 18 or len(run) != 36 or len(lease) != 32:
        return None
    try:
        return Claim(int(workspace), run, UUID(hex=lease))
    except ValueError:
        return None


def _mac(key: str, said: str) -> str:
    return hmac.digest(key.encode(), b"checkpoint:" + said.encode(), hashlib.sha256).hex()
