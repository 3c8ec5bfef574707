"""What is wrong with a request, as RFC 9457 problem+json.

| status | when |
| --- | --- |
| 400 | the body is not JSON |
| 401 | no valid key, token or signature |
| 403 | the key lacks a scope; a foreign Host or Origin |
| 404 | the path, or the thing it names, is not there |
| 405 | the path does not take this method |
| 409 | the thing's state does not allow it |
| 413 | the body is over a limit of its size |
| 422 | the body is JSON, or the query is there, but a value cannot be used: `errors` names each field |
| 429 | the key calls more often than it may |
| 503 | a queue is full, too much is under way, or the database does not answer: the same request will do later |
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from math import ceil

import msgspec

from rotor.api.answers import Answer
from rotor.store.problems import Conflict, Invalid, NotFound, Overloaded, Problem, Unreadable, is_unavailable

__all__ = [
    "FieldError",
    "Forbidden",
    "Malformed",
    "ProblemBody",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "kinds",
    "problem",
    "problem_of",
]

log = logging.getLogger("rotor.api")


class FieldError(msgspec.Struct, frozen=True):
    """One value that cannot be used."""

    field: str
    message: str


class ProblemBody(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError]


class Malformed(Problem):
    """The body is not JSON; `field` is where."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.errors = [(field, message)]


class TooLarge(Problem):
    """The body is over a limit of its size."""


class Unauthorized(Problem):
    """Nothing in the request proves that it may."""


class TooManyRequests(Overloaded):
    """The key calls more often than it may."""


class Forbidden(Problem):
    """The request comes from where none is taken, or its key lacks the scope for it."""


_KINDS: dict[int, tuple[str, str]] = {
    400: ("malformed", "The request is malformed"),
    401: ("unauthorized", "The request is not authorised"),
    403: ("forbidden", "The request is refused"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "The method is not allowed"),
    409: ("conflict", "Conflict"),
    413: ("too-large", "The request is too large"),
    422: ("invalid", "The request holds values that cannot be used"),
    429: ("too-many-requests", "Too many requests"),
    500: ("internal", "The server failed"),
    503: ("unavailable", "Not available now"),
}


def kinds() -> dict[int, str]:
    """The title of every problem by its status."""
    return {status: title for status, (_, title) in _KINDS.items()}


_STATUSES: tuple[tuple[type[Problem], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (Invalid, 422),
    (TooManyRequests, 429),
    (Overloaded, 503),
    (Unreadable, 500),
    (Malformed, 400),
    (TooLarge, 413),
    (Unauthorized, 401),
    (Forbidden, 403),
)


def problem(
    status: int, detail: str, *, errors: Sequence[tuple[str, str]] = (), headers: Sequence[tuple[bytes, bytes]] = ()
) -> Answer:
    """The answer that tells a problem."""
    kind, title = _KINDS[status]
    fields = [FieldError(field, message) for field, message in errors]
    body = ProblemBody(f"urn:rotor:problem:{kind}", title, status, detail, fields)
    return Answer(status, msgspec.json.encode(body), content_type=b"application/problem+json", headers=headers)


def problem_of(error: Exception) -> Answer:
    """The answer to whoever's request ended in `error`; one that is not foreseen is logged, without its message."""
    if isinstance(error, Problem):
        status = next(status for kind, status in _STATUSES if isinstance(error, kind))
        return problem(status, str(error), errors=getattr(error, "errors", ()), headers=_headers(error))
    if is_unavailable(error):
        log.warning("the database does not answer: %s", type(error).__name__)
        return problem(503, "the database does not answer; try again", headers=[(b"retry-after", b"1")])
    # The message of a foreign error may quote a payload; its name and place do not.
    log.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    return problem(500, "an error that was not foreseen; the server's log says where")


def _headers(error: Problem) -> list[tuple[bytes, bytes]]:
    if isinstance(error, Overloaded):
        return [(b"retry-after", str(max(1, ceil(error.retry_after_seconds))).encode())]
    return [(b"www-authenticate", b"Bearer")] if isinstance(error, Unauthorized) else []
