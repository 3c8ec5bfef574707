"""What the store refuses, for the floors above to tell whoever asked."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from rotor.errors import RotorError

__all__ = ["Problem", "NotFound", "Conflict", "Invalid", "Overloaded", "Unreadable", "is_unavailable"]


class Problem(RotorError):  # noqa: N818 - named by RFC 9457
    """A request that changes nothing, and why. The message is meant for the person who asked."""


class NotFound(Problem):
    """The named thing is not in this workspace."""


class Conflict(Problem):
    """The thing is in a state that does not allow what was asked."""


class Invalid(Problem):
    """Values that cannot be used: `errors` are (field, message) pairs, a field being `[3].data` or
    `triggers[0].cron`.
    """

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field} {message}" if field else message for field, message in errors))
        self.errors = list(errors)


class Overloaded(Problem):
    """A queue of this server is at its limit: the same request will do later, after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Unreadable(Problem):
    """What is stored cannot be read by this server as it is set up."""


def is_unavailable(error: BaseException) -> bool:
    """Whether `error` says that the database could not be reached, or went away, rather than that it refused."""
    return isinstance(
        error,
        OSError
        | TimeoutError
        | asyncpg.PostgresConnectionError
        | asyncpg.CannotConnectNowError
        | asyncpg.OperatorInterventionError
        | asyncpg.TooManyConnectionsError
        | asyncpg.InterfaceError,
    )
