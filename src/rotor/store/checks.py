"""What a name, a URL, a trigger and a function may be: the one place where texts from outside are judged.

Each check returns what is wrong, as the end of a sentence that begins with the field's name; None or nothing is well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from rotor import limits
from rotor.engine.cron import check_cron
from rotor.engine.matching import parse_match
from rotor.errors import ConfigError, ExpressionError
from rotor.protocol.messages import FunctionSpec, Trigger

__all__ = [
    "CANCEL_RUN",
    "app_problems",
    "event_name_problem",
    "function_problems",
    "name_problem",
    "text_problem",
    "url_problem",
]

FieldError = tuple[str, str]

OWN_PREFIX = "rotor/"
CANCEL_RUN = "rotor/cancel.run"
"""The one event of Rotor's own that others send: it cancels the run that its data names."""

_UNSAFE_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")


def text_problem(text: str, *, characters_max: int = limits.ID_CHARACTERS, limit: str = "ID_CHARACTERS") -> str | None:
    """What is wrong with a text that Postgres is to keep: its length, a NUL, a lone surrogate."""
    if len(text) > characters_max:
        return f"has {len(text):,} characters; the limit is {characters_max:,} ({limit})"
    if "\0" in text:
        return "holds a NUL character"
    # isascii costs nothing and settles nearly every name.
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "holds a lone surrogate, which is not Unicode text"
    return None


def name_problem(name: str) -> str | None:
    """What is wrong with an id or a name."""
    return "is empty" if not name else text_problem(name)


def event_name_problem(name: str) -> str | None:
    """What is wrong with the name of an event that somebody sends."""
    if name.startswith(OWN_PREFIX) and name != CANCEL_RUN:
        return f"begins with {OWN_PREFIX}, which is Rotor's own"
    return name_problem(name)


def url_problem(url: str) -> str | None:
    """What is wrong with the URL of an app."""
    problem = text_problem(url, characters_max=limits.URL_CHARACTERS, limit="URL_CHARACTERS")
    if problem:
        return problem
    if _UNSAFE_IN_URL.search(url):
        return "holds a space, a backslash or a control character"
    try:
        parts = urlsplit(url)
        callable_port = parts.port != 0
    except ValueError:
        callable_port = False
    if not callable_port or parts.scheme not in ("http", "https") or not parts.hostname:
        return "is not a URL that begins with http:// or https:// and names a host, with or without a port"
    if parts.username is not None or parts.password is not None:
        return "holds a user or a password, which would be shown: calls are signed instead"
    return "ends in a #fragment, which is never sent" if parts.fragment else None


def app_problems(functions: Sequence[FunctionSpec], serve_url: str | None, app: str, version: str) -> list[FieldError]:
    """What is wrong with the functions of an app: (field, message) pairs, fields as in
    `functions[2].triggers[0].cron`.
    """
    return list(_app(functions, serve_url, app, version))


def function_problems(function: FunctionSpec) -> list[FieldError]:
    """What is wrong with one function: (field, message) pairs, fields as in `triggers[0].cron`."""
    return list(_function(function))


def _app(functions: Sequence[FunctionSpec], serve_url: str | None, app: str, version: str) -> Iterator[FieldError]:
    if serve_url is not None:
        yield from _named("serve_url", url_problem(serve_url))
    yield from _named("app", text_problem(app))
    yield from _named("version", text_problem(version))
    if len(functions) > limits.FUNCTIONS_PER_APP:
        yield "functions", f"holds {len(functions):,}; the limit is {limits.FUNCTIONS_PER_APP:,} (FUNCTIONS_PER_APP)"
        return
    seen: set[str] = set()
    for number, function in enumerate(functions):
        for field, message in _function(function):
            yield f"functions[{number}].{field}", message
        if function.id in seen:
            yield f"functions[{number}].id", f"{function.id[:64]!r} is given to two functions"
        seen.add(function.id)


def _function(function: FunctionSpec) -> Iterator[FieldError]:
    yield from _named("id", name_problem(function.id))
    if not 0 <= function.retries <= limits.RETRIES:
        yield "retries", f"must be from 0 to {limits.RETRIES} (RETRIES)"
    count = len(function.triggers)
    if not 1 <= count <= limits.TRIGGERS_PER_FUNCTION:
        yield "triggers", f"holds {count}; a function has 1 to {limits.TRIGGERS_PER_FUNCTION} (TRIGGERS_PER_FUNCTION)"
        return
    for number, trigger in enumerate(function.triggers):
        for field, message in _trigger(trigger):
            yield f"triggers[{number}].{field}", message


def _trigger(trigger: Trigger) -> Iterator[FieldError]:
    if trigger.event is not None and trigger.cron is not None:
        yield "cron", "stands beside an event: a trigger is one or the other"
    elif trigger.event is not None:
        yield from _event_trigger(trigger.event, trigger)
    elif trigger.cron is not None:
        yield from _cron_trigger(trigger.cron, trigger)
    else:
        yield "event", "is missing: a trigger is an event or a cron"


def _event_trigger(event: str, trigger: Trigger) -> Iterator[FieldError]:
    yield from _named("event", name_problem(event))
    if trigger.timezone is not None:
        yield "timezone", "belongs to a cron, and this trigger is an event"
    if trigger.match is not None:
        yield from _named("match", _match_problem(trigger.match))


def _cron_trigger(cron: str, trigger: Trigger) -> Iterator[FieldError]:
    if trigger.match is not None:
        yield "match", "belongs to an event, and this trigger is a cron"
    problem = text_problem(cron, characters_max=limits.CRON_CHARACTERS, limit="CRON_CHARACTERS")
    zone_problem = trigger.timezone is not None and name_problem(trigger.timezone)
    if problem or zone_problem:
        yield from _named("cron", problem)
        yield from _named("timezone", zone_problem or None)
        return
    try:
        check_cron(cron, trigger.timezone)
    except ConfigError as error:
        # A schedule that holds without its time zone leaves the zone at fault.
        yield ("cron" if not _cron_holds(cron) else "timezone"), str(error)


def _cron_holds(cron: str) -> bool:
    try:
        check_cron(cron, None)
    except ConfigError:
        return False
    return True


def _match_problem(match: str) -> str | None:
    problem = text_problem(match, characters_max=limits.EXPRESSION_CHARACTERS, limit="EXPRESSION_CHARACTERS")
    if problem:
        return problem
    try:
        parse_match(match)
    except ExpressionError as error:
        return str(error)
    return None


def _named(field: str, problem: str | None) -> Iterator[FieldError]:
    if problem:
        yield field, problem
