"""What each exit code means, and which error ends with which."""

from __future__ import annotations

from rotor.errors import ApiError, ConfigError, ConnectionLostError, DurationError, RotorError

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "NOT_FOUND",
    "REFUSED",
    "TABLE",
    "UNREACHABLE",
    "USAGE",
    "NotFoundError",
    "exit_code",
]

FAILED = 1
USAGE = 2
NOT_FOUND = 3
UNREACHABLE = 4
REFUSED = 5
INTERRUPTED = 130

TABLE = """\b
Exit codes:
  0    done
  1    failed: the run failed, a check found something, the server refused
  2    usage: an argument, a setting or a file that cannot be used
  3    not found: no such run, function, key or signal
  4    not reachable: the server or the database does not answer
  5    key refused: ROTOR_API_KEY is missing, unknown, revoked, expired, or lacks a scope
  130  interrupted by Ctrl-C
"""


class NotFoundError(RotorError):
    """What a command was asked about does not exist."""


def exit_code(error: RotorError) -> int:
    """The exit code that `error` ends a command with."""
    match error:
        case NotFoundError() | ApiError(status=404):
            return NOT_FOUND
        case ApiError(status=401 | 403):
            return REFUSED
        case ConfigError() | DurationError() | ApiError(status=400 | 413 | 422):
            return USAGE
        case ConnectionLostError() | ApiError(status=502 | 503 | 504):
            return UNREACHABLE
        case _:
            return FAILED
