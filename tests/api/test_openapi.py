"""The description comes from the table that routes, so it names every operation and every type it uses."""

from __future__ import annotations

import re
from typing import Any

from rotor.api.app import DECLARED
from tests.api.conftest import Client

METHODS = {"get", "post", "delete"}


async def described(anyone: Client) -> dict[str, Any]:
    answered = await anyone("GET", "/openapi.json")
    assert answered.status == 200
    document: dict[str, Any] = answered.json
    return document


async def test_every_operation_is_described_once(anyone: Client) -> None:
    document = await described(anyone)
    assert document["openapi"] == "3.1.0"
    found = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert found == {(one.method, one.path) for one in DECLARED}
    names = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(set(names)) == len(names)


async def test_every_reference_leads_somewhere(anyone: Client) -> None:
    answered = await anyone("GET", "/openapi.json")
    references = set(re.findall(r'"\$ref":\s*"#/components/schemas/([^"]+)"', answered.text.decode()))
    assert references <= answered.json["components"]["schemas"].keys()
    assert {"Run", "Step", "ProblemBody"} <= answered.json["components"]["schemas"].keys()


async def test_every_name_in_a_path_is_a_parameter(anyone: Client) -> None:
    document = await described(anyone)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))


async def test_what_a_caller_must_know_is_said(anyone: Client) -> None:
    paths = (await described(anyone))["paths"]
    send = paths["/v1/events"]["post"]
    assert {"202", "400", "401", "403", "413", "422", "503"} <= send["responses"].keys()
    assert send["security"] == [{"key": ["send"]}]
    assert send["requestBody"]["required"]
    filters = {one["name"]: one["schema"] for one in paths["/v1/runs"]["get"]["parameters"]}
    assert filters.keys() == {"function_id", "status", "event_id", "since", "until", "cursor", "limit"}
    assert (filters["limit"]["minimum"], filters["limit"]["maximum"]) == (1, 200)
    assert paths["/healthz"]["get"]["security"] == []
    assert "text/event-stream" in paths["/v1/runs/{run_id}/stream"]["get"]["responses"]["200"]["content"]
