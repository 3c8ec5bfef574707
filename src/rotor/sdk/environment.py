"""What the SDK takes from the environment: the server's address and the workspace's key, unless they are given."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from rotor.errors import ConfigError

__all__ = ["api_key_or_default", "url_or_default"]

DEFAULT_URL = "http://127.0.0.1:8484"
"""Where `rotor dev` listens."""


def url_or_default(url: str | None) -> str:
    """`url`, or ROTOR_URL, without a slash at its end. Raises `ConfigError` for what is no HTTP address."""
    chosen = url or os.environ.get("ROTOR_URL") or DEFAULT_URL
    parts = urlsplit(chosen)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"{chosen!r} is no address of a server; set ROTOR_URL to one such as {DEFAULT_URL}")
    return chosen.rstrip("/")


def api_key_or_default(api_key: str | None) -> str | None:
    """`api_key`, or ROTOR_API_KEY; None where neither is set: `rotor dev` needs none."""
    return api_key or os.environ.get("ROTOR_API_KEY") or None
