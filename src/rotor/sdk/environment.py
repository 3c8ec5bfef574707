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
    chosen = (url or os.environ.get("ROTOR_URL") or DEFAULT_URL).strip()
    if "@" in chosen:
        raise ConfigError("the server's address names a user, which is sent nowhere; a key goes into ROTOR_API_KEY")
    if not _is_address(chosen):
        raise ConfigError(f"{chosen!r} is no address of a server; set ROTOR_URL to one such as {DEFAULT_URL}")
    return chosen.rstrip("/")


def api_key_or_default(api_key: str | None) -> str | None:
    """`api_key`, or ROTOR_API_KEY; None where neither is set: `rotor dev` needs none.

    The end of a line after it is no part of it. Raises `ConfigError` for what cannot be a key.
    """
    chosen = (api_key or os.environ.get("ROTOR_API_KEY") or "").strip()
    if not (chosen.isascii() and chosen.isprintable()):
        raise ConfigError("ROTOR_API_KEY holds a character that no API key has: copy it again")
    return chosen or None


def _is_address(url: str) -> bool:
    """Whether `url` is a scheme and a host, perhaps with a port and a path."""
    try:
        parts = urlsplit(url)
        names_server = bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:  # a port, an IPv6 address or a name that is none
        return False
    return names_server and parts.scheme in ("http", "https") and not parts.query and not parts.fragment
