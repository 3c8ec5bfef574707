"""From a request to its operation and back: find it, authenticate, check the query and the body, call the handler,
answer.

Plain ASGI, with no layer between: what a request costs is its handler. Paths are matched as they were sent, still
encoded, so that an id with an encoded slash is one name.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from functools import cache
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes

import msgspec
from prometheus_client import Counter, Histogram
from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from rotor import telemetry, tracing
from rotor.api.answers import Answer, StreamAnswer, respond
from rotor.api.authentication import authenticate, require
from rotor.api.bodies import Disconnected, decode_body, field_error, read_body
from rotor.api.calls import Api, Call, header
from rotor.api.operations import Operation
from rotor.api.problems import problem, problem_of
from rotor.store.audit import caller_acts
from rotor.store.problems import Invalid

__all__ = ["Operations"]

log = logging.getLogger("rotor.api")

Methods = dict[str, Operation]


class Operations(BaseRoute):
    """Every operation of the API as one route of a Starlette application."""

    def __init__(self, api: Api, operations: Sequence[Operation]) -> None:
        self._api = api
        self._fixed: dict[str, Methods] = {}
        self._patterns: dict[str, tuple[Operation, Methods]] = {}
        for operation in operations:
            if operation.parameters:
                _, methods = self._patterns.setdefault(operation.path, (operation, {}))
            else:
                methods = self._fixed.setdefault(operation.path, {})
            methods[operation.method] = operation

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        found = self._find(scope)
        return (Match.FULL, {"rotor.found": found}) if found is not None else (Match.NONE, {})

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods, path = scope["rotor.found"]
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        operation = methods.get(method)
        if operation is None:
            allowed = ", ".join(sorted(methods))
            answer = problem(405, f"this path takes {allowed}", headers=[(b"allow", allowed.encode())])
            await respond(answer, send)
            return
        began = perf_counter()
        call = Call(self._api, scope, receive, path)
        if method != "GET" and tracing.active():
            parent = header(scope, b"traceparent")
            with tracing.span(f"rotor {operation.name}", "server", parent, {"operation": operation.name}) as span:
                status, is_stream = await self._serve(operation, call, send)
                span.set_attribute("http.response.status_code", status)
        else:
            status, is_stream = await self._serve(operation, call, send)
        _requests(operation.name, status).inc()
        if not is_stream:
            _seconds(operation.name).observe(perf_counter() - began)

    def _find(self, scope: Scope) -> tuple[Methods, dict[str, str]] | None:
        path = _raw_path(scope)
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed, {}
        # The longest template is the most specific: `.../{id}/pause` before `.../{id}`, where its methods allow it.
        candidates = []
        for operation, methods in self._patterns.values():
            match = operation.pattern.fullmatch(path)
            if match is not None:
                candidates.append((methods, match.groupdict()))
        if not candidates:
            return None
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        return next((one for one in candidates if method in one[0]), candidates[0])

    async def _serve(self, operation: Operation, call: Call, send: Send) -> tuple[str, bool]:
        """Answer, and return the status and whether it was a stream."""
        answer: Answer | StreamAnswer
        try:
            answer = await self._answer(operation, call)
        except Disconnected:
            return "gone", False
        except Exception as error:
            answer = problem_of(error)
        finally:
            self._api.bodies.give_back(len(call.raw_body))
        try:
            await respond(answer, send)
        except Exception as error:
            # The answer has begun: nothing but its being cut short can tell the client, which uvicorn does for us. The
            # message of the error may quote a payload.
            place = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s: the answer broke off: %s\n%s", operation.name, type(error).__name__, place)
        return str(answer.status), isinstance(answer, StreamAnswer)

    async def _answer(self, operation: Operation, call: Call) -> Answer | StreamAnswer:
        scope = operation.scope
        if scope is not None:
            call.caller = await authenticate(self._api, call.scope)
            if self._api.rate_limit is not None and call.caller.key_id is not None:
                self._api.rate_limit.take(call.caller.key_id)
            require(call.caller, scope)
            caller_acts(call.caller, call.scope["client"])
        call.path = {name: _decoded(name, text) for name, text in call.path.items()}
        if operation.query is not None:
            call.query = _query(call.scope, operation.query)
        if operation.admit is not None:
            await operation.admit(call)
        if operation.has_body:
            call.raw_body = await read_body(
                call.scope, call.receive, self._api.bodies, operation.body_bytes_max, operation.body_limit
            )
            if operation.body is not None:
                call.body = decode_body(call.raw_body, operation.decoder)
        return await operation.handler(call)


@cache
def _requests(operation: str, status: str) -> Counter:
    return telemetry.REQUESTS.labels(operation, status)


@cache
def _seconds(operation: str) -> Histogram:
    return telemetry.REQUEST_DURATION.labels(operation)


@cache
def _names(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Of the parameters of a query. To ask msgspec takes longer than all else about a small request."""
    return frozenset(field.name for field in msgspec.structs.fields(kind))


def _raw_path(scope: Scope) -> str:
    raw = scope.get("raw_path")
    return quote(scope["path"]) if raw is None else raw.decode("latin-1")


def _decoded(name: str, text: str) -> str:
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid([(name, "is not UTF-8 text")]) from None


def _query(scope: Scope, kind: type[msgspec.Struct]) -> msgspec.Struct:
    """The query's parameters. Raises `Invalid` that names one that is unknown, repeated or of another type."""
    try:
        pairs = parse_qsl(
            scope["query_string"].decode("latin-1"), keep_blank_values=True, errors="strict", max_num_fields=100
        )
    except ValueError:
        raise Invalid([("query", "is not UTF-8 text, or has more than 100 parameters")]) from None
    values = dict(pairs)
    known = _names(kind)
    errors = [(name[:64], "is not a parameter of this call") for name in values if name not in known]
    errors += [
        (name, "is given more than once") for name in known & values.keys() if sum(name == key for key, _ in pairs) > 1
    ]
    if errors:
        raise Invalid(errors)
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid([field_error(error)]) from None
