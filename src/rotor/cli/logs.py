"""The log of the long-running commands: one line an event on standard error."""

from __future__ import annotations

import os

from rotor.errors import ConfigError

__all__ = ["start_logging"]

LEVELS = ("debug", "info", "warning", "error")


def start_logging() -> None:
    """Log from the level that `ROTOR_LOG` names, `info` unless set. Raises `ConfigError` for an unknown level."""
    import logging

    level = os.environ.get("ROTOR_LOG", "info").lower()
    if level not in LEVELS:
        raise ConfigError(f"ROTOR_LOG is {level!r}; give one of {', '.join(LEVELS)}")
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s  %(message)s")
