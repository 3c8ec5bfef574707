"""Tokens of checkpoint call-backs: what lets the holder of one invocation write to its run, and to no other.

A token is `rt_WORKSPACE_LEASE_MAC`. The MAC binds workspace, run and lease by the workspace's signing key, so that
nothing is stored; that the lease still holds is checked where the messages are written.
"""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID

from rotor.store.signing_keys import SigningKeys

__all__ = ["Tokens"]


class Tokens:
    """Issues and verifies the tokens of checkpoint call-backs."""

    def __init__(self, signing_keys: SigningKeys) -> None:
        self._signing_keys = signing_keys

    async def issue(self, workspace_id: int, run_id: UUID, lease_id: UUID) -> str:
        """The token for the holder of `lease_id` to write to `run_id`."""
        keys = await self._signing_keys.ensure(workspace_id)
        return f"rt_{workspace_id}_{lease_id.hex}_{_mac(keys[0], workspace_id, run_id, lease_id)}"

    async def verify(self, token: str, run_id: UUID) -> tuple[int, UUID] | None:
        """The (workspace id, lease id) that `token` speaks for about `run_id`, or None where it is not genuine."""
        claim = _parse(token)
        if claim is None:
            return None
        workspace_id, lease_id, mac = claim
        keys = await self._signing_keys.of(workspace_id)
        genuine = [hmac.compare_digest(mac, _mac(key, workspace_id, run_id, lease_id)) for key in keys]
        return (workspace_id, lease_id) if any(genuine) else None


def _parse(token: str) -> tuple[int, UUID, str] | None:
    parts = token.split("_")
    if len(parts) != 4 or parts[0] != "rt" or not token.isascii():
        return None
    _, workspace, lease, mac = parts
    if not workspace.isdigit() or len(workspace) > 18 or len(lease) != 32:
        return None
    try:
        return int(workspace), UUID(hex=lease), mac
    except ValueError:
        return None


def _mac(key: str, workspace_id: int, run_id: UUID, lease_id: UUID) -> str:
    claim = f"checkpoint:{workspace_id}:{run_id}:{lease_id}"
    return hmac.new(key.encode(), claim.encode(), hashlib.sha256).hexdigest()
