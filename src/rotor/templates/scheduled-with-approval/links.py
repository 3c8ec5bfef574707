"""Links that decide: each is signed for one run and one decision, and expires.

That a link works once is not known here: `approvals.py` asks the run whether it still waits.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from urllib.parse import urlencode

import settings

SECRET_CHARACTERS_MIN = 32


class LinkError(Exception):
    """A link that is not ours, or no longer good; `status` is the HTTP status to refuse it with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_secret() -> None:
    """Raise `SystemExit` where the secret is missing or can be guessed."""
    if len(settings.APPROVAL_SECRET) < SECRET_CHARACTERS_MIN:
        raise SystemExit(
            f"APPROVAL_SECRET needs at least {SECRET_CHARACTERS_MIN} characters; "
            'make one with: python -c "import secrets; print(secrets.token_hex(32))"'
        )


def make_link(run_id: str, decision: str, expires: int) -> str:
    """The address that approves or rejects what the run waits for. `expires` is in seconds since 1970."""
    query = urlencode({"expires": expires, "signature": sign(run_id, decision, expires)})
    return f"{settings.APPROVAL_URL}/approvals/{run_id}/{decision}?{query}"


def verify(run_id: str, decision: str, expires: str, signature: str) -> None:
    """Raise `LinkError` for a link that we did not make, or that has expired."""
    known = expires.isascii() and expires.isdecimal() and len(expires) < 15
    if not known or not hmac.compare_digest(sign(run_id, decision, int(expires)).encode(), signature.encode()):
        raise LinkError(403, "This link is not valid. Was it copied whole?")
    if int(expires) <= time.time():
        raise LinkError(410, "This link has expired.")


def sign(run_id: str, decision: str, expires: int) -> str:
    said = f"{run_id}\n{decision}\n{expires}".encode()
    return hmac.new(settings.APPROVAL_SECRET.encode(), said, hashlib.sha256).hexdigest()
