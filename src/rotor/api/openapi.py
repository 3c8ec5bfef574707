"""`/openapi.json`: the API described in OpenAPI 3.1, from the very table that routes and checks it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import msgspec

from rotor import limits
from rotor.api.answers import Answer
from rotor.api.calls import Call
from rotor.api.operations import Operation, Result
from rotor.api.problems import ProblemBody, kinds
from rotor.protocol.messages import Event
from rotor.store.runs import Run, Step

__all__ = ["description", "operation"]

REFERENCE = "#/components/schemas/{name}"

ABOUT = f"""Durable workflows on Postgres.

Bodies and answers are JSON in UTF-8, whatever their Content-Type says. Unknown fields of a body are ignored; unknown
query parameters are refused. What is not JSON is answered 400, and JSON that cannot be used 422, which names each
field. JSON is RFC 8259 without lone surrogates, NaN and infinities; a payload is kept and returned as the text it came
in, up to {limits.PAYLOAD_BYTES:,} bytes (ROTOR_PAYLOAD_BYTES changes that) and {limits.PAYLOAD_DEPTH} levels deep.
Names and ids have 1 to {limits.ID_CHARACTERS} characters, none of them NUL; in a path they are percent-encoded.
Times are RFC 3339 in UTC."""


def operation(described: Sequence[Operation]) -> Operation:
    """The operation that answers with the description of `described`."""
    described = tuple(described)

    async def describe(call: Call) -> Answer:
        return Answer(200, description(described))

    return Operation(
        "GET",
        "/openapi.json",
        "openapi",
        describe,
        "This description",
        {200: Result("OpenAPI 3.1.", dict[str, Any])},
        "health",
        access="open",
    )


@cache
def description(operations: tuple[Operation, ...]) -> bytes:
    """The OpenAPI document of `operations`, as JSON."""
    kinds_used = _kinds(operations)
    schemas, components = msgspec.json.schema_components(kinds_used, ref_template=REFERENCE)
    schema_of = {_key(kind): schema for kind, schema in zip(kinds_used, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, schema_of, components)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Rotor",
            "version": version("rotorsh"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key with the scope."},
                "token": {"type": "http", "scheme": "bearer", "description": "The token of one invocation."},
            },
        },
    }
    return msgspec.json.encode(document)


def _kinds(operations: Iterable[Operation]) -> list[Any]:
    kinds_used: dict[str, Any] = {_key(kind): kind for kind in (ProblemBody, Event, Run, Step)}
    for one in operations:
        for kind in (one.body, one.query, *(result.kind for result in one.results.values())):
            if kind is not None:
                kinds_used[_key(kind)] = kind
    return list(kinds_used.values())


def _key(kind: Any) -> str:
    return repr(kind)


def _operation(one: Operation, schema_of: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "tags": [one.tag],
        "security": _security(one),
        "parameters": _parameters(one, schema_of, components),
        "responses": {
            **{str(status): _result(result, schema_of) for status, result in one.results.items()},
            **{str(status): _problem(status, schema_of) for status in _problem_statuses(one)},
        },
    }
    if one.details:
        described["description"] = one.details
    if one.has_body:
        schema = {} if one.takes_raw_body else schema_of[_key(one.body)]
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


def _security(one: Operation) -> list[dict[str, list[str]]]:
    match one.access:
        case "open":
            return []
        case "token":
            return [{"token": []}]
        case scope:
            return [{"key": [scope]}]


def _parameters(one: Operation, schema_of: dict[str, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in one.parameters
    ]
    if one.query is not None:
        name = schema_of[_key(one.query)]["$ref"].rpartition("/")[2]
        for field, schema in components[name]["properties"].items():
            parameters.append({"name": field, "in": "query", "required": False, "schema": schema})
    for header, meaning in one.headers.items():
        parameters.append({"name": header, "in": "header", "description": meaning, "schema": {"type": "string"}})
    return parameters


def _result(result: Result, schema_of: dict[str, Any]) -> dict[str, Any]:
    if result.kind is not None:
        content = {result.content_type: {"schema": schema_of[_key(result.kind)]}}
    elif result.content_type != "application/json":
        content = {result.content_type: {"schema": {"type": "string"}}}
    else:
        return {"description": result.description}
    return {"description": result.description, "content": content}


def _problem_statuses(one: Operation) -> list[int]:
    statuses = {500, 503, *one.problems}
    if one.access != "open":
        statuses |= {401}
    if one.scope is not None:
        statuses |= {403, 429}
    if one.has_body:
        statuses |= {400, 413, 422}
    if one.query is not None or one.parameters:
        statuses |= {422}
    return sorted(statuses)


def _problem(status: int, schema_of: dict[str, Any]) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": schema_of[_key(ProblemBody)]}}
    return {"description": kinds()[status], "content": content}
