"""Whatever a client sends is kept as it was, or refused by a clear 4xx that names the field and changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rotor import limits
from tests.conformance.service import Service
from tests.conformance.workflows.limits import TRIES

LONG = "x" * 257
NOWHERE = "http://127.0.0.1:9/api/rotor"
FUNCTION = {"id": "bad", "serve_url": NOWHERE, "trigger_type": "event", "trigger_event": "bad"}
CRON = {"id": "bad", "serve_url": NOWHERE, "trigger_type": "cron", "trigger_cron": "0 9 * * 1"}
Case = tuple[str, Any, int, str]
"""A path, a body (text, or a value for JSON), the status, and the field at fault."""


def function(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in {**FUNCTION, **fields}.items() if value is not ...}


def cron(**fields: Any) -> dict[str, Any]:
    return {**CRON, **fields}


def event(data: str) -> str:
    """The text of an event with `data` as it stands."""
    return f'{{"name": "bad", "data": {data}}}'


EVENTS: dict[str, Case] = {
    "no body": ("/v1/events", "", 400, "body"),
    "no JSON": ("/v1/events", "{name: 1}", 400, "body"),
    "cut short": ("/v1/events", '{"name": "bad", "data": {', 400, "body"),
    "two values": ("/v1/events", '{"name": "bad", "data": 1} {}', 400, "body"),
    "a byte order mark": ("/v1/events", "\ufeff" + event("1"), 400, "body"),
    "not UTF-8": ("/v1/events", event('"\xff"').encode("latin-1"), 422, "data"),
    "a number": ("/v1/events", 7, 422, "body"),
    "null": ("/v1/events", None, 422, "body"),
    "no name": ("/v1/events", {"data": 1}, 422, "name"),
    "no data": ("/v1/events", {"name": "bad"}, 422, "data"),
    "name is a number": ("/v1/events", {"name": 7, "data": 1}, 422, "name"),
    "name is null": ("/v1/events", {"name": None, "data": 1}, 422, "name"),
    "name is empty": ("/v1/events", {"name": "", "data": 1}, 422, "name"),
    "name is long": ("/v1/events", {"name": LONG, "data": 1}, 422, "name"),
    "name has a NUL": ("/v1/events", {"name": "a\0b", "data": 1}, 422, "name"),
    "name has a lone surrogate": ("/v1/events", r'{"name": "\ud800", "data": 1}', 400, "name"),
    "name is Rotor's own": ("/v1/events", {"name": "rotor/cron", "data": 1}, 422, "name"),
    "id is a number": ("/v1/events", {"name": "bad", "data": 1, "id": 7}, 422, "id"),
    "id is empty": ("/v1/events", {"name": "bad", "data": 1, "id": ""}, 422, "id"),
    "id is long": ("/v1/events", {"name": "bad", "data": 1, "id": LONG}, 422, "id"),
    "id has a NUL": ("/v1/events", {"name": "bad", "data": 1, "id": "\0"}, 422, "id"),
    "ts is no time": ("/v1/events", {"name": "bad", "data": 1, "ts": "soon"}, 422, "ts"),
    "ts has no zone": ("/v1/events", {"name": "bad", "data": 1, "ts": "2030-01-01T00:00:00"}, 422, "ts"),
    "ts is a list": ("/v1/events", {"name": "bad", "data": 1, "ts": []}, 422, "ts"),
    "ts is negative": ("/v1/events", {"name": "bad", "data": 1, "ts": -1}, 422, "ts"),
    "ts is huge": ("/v1/events", f'{{"name": "bad", "data": 1, "ts": {10**30}}}', 422, "ts"),
    "ts is far ahead": ("/v1/events", {"name": "bad", "data": 1, "ts": "9000-01-01T00:00:00Z"}, 422, "ts"),
    "data is NaN": ("/v1/events", event("NaN"), 400, "data"),
    "data holds NaN": ("/v1/events", event('{"a": [1, NaN]}'), 400, "data.a[1]"),
    "data holds infinity": ("/v1/events", event("[-Infinity]"), 400, "data[0]"),
    "data holds 1e999": ("/v1/events", event("[1e999]"), 422, "data"),
    "data holds a lone surrogate": ("/v1/events", event(r'{"a": "\ud800"}'), 400, "data.a"),
    "a key is a lone surrogate": ("/v1/events", event(r'{"\udfff": 1}'), 400, "data"),
    "data nests deep": ("/v1/events", event("[" * 129 + "]" * 129), 422, "data"),
    "data nests very deep": ("/v1/events", event("[" * 100_000 + "]" * 100_000), 400, "data"),
    "data is 5 MB": ("/v1/events", event('"' + "x" * (5 << 20) + '"'), 422, "data"),
    "data is 10 MB": ("/v1/events", event('"' + "x" * (10 << 20) + '"'), 422, "data"),
    "the second of a list": ("/v1/events", [{"name": "bad", "data": 1}, {"name": "", "data": 1}], 422, "[1].name"),
    "too many": ("/v1/events", [{"name": "bad", "data": 1}] * (limits.EVENTS_PER_REQUEST + 1), 422, "body"),
    "a list of lists": ("/v1/events", [[]], 422, "[0]"),
}

FUNCTIONS: dict[str, Case] = {
    "no id": ("/v1/functions", function(id=...), 422, "id"),
    "id is empty": ("/v1/functions", function(id=""), 422, "id"),
    "id is long": ("/v1/functions", function(id=LONG), 422, "id"),
    "id has a NUL": ("/v1/functions", function(id="\0"), 422, "id"),
    "id is a list": ("/v1/functions", function(id=[]), 422, "id"),
    "no serve_url": ("/v1/functions", function(serve_url=...), 422, "serve_url"),
    "serve_url is no URL": ("/v1/functions", function(serve_url="app"), 422, "serve_url"),
    "serve_url is a file": ("/v1/functions", function(serve_url="file:///etc/passwd"), 422, "serve_url"),
    "serve_url has a password": ("/v1/functions", function(serve_url="http://a:b@c/"), 422, "serve_url"),
    "serve_url has a space": ("/v1/functions", function(serve_url="http://a b/"), 422, "serve_url"),
    "serve_url is long": ("/v1/functions", function(serve_url="http://a/" + "x" * 3_000), 422, "serve_url"),
    "no trigger": ("/v1/functions", function(trigger_type=..., trigger_event=...), 422, "trigger_type"),
    "unknown trigger": ("/v1/functions", function(trigger_type="webhook"), 422, "trigger_type"),
    "no event": ("/v1/functions", function(trigger_event=...), 422, "trigger_event"),
    "event is empty": ("/v1/functions", function(trigger_event=""), 422, "trigger_event"),
    "event has a NUL": ("/v1/functions", function(trigger_event="\0"), 422, "trigger_event"),
    "match is no expression": ("/v1/functions", function(trigger_match="data.a =="), 422, "trigger_match"),
    "match names a stranger": ("/v1/functions", function(trigger_match="user.a == 1"), 422, "trigger_match"),
    "match is long": ("/v1/functions", function(trigger_match="true && " * 200 + "true"), 422, "trigger_match"),
    "cron is words": ("/v1/functions", cron(trigger_cron="every monday"), 422, "trigger_cron"),
    "cron never comes": ("/v1/functions", cron(trigger_cron="0 0 31 2 *"), 422, "trigger_cron"),
    "cron is out of range": ("/v1/functions", cron(trigger_cron="61 * * * *"), 422, "trigger_cron"),
    "cron is empty": ("/v1/functions", cron(trigger_cron=""), 422, "trigger_cron"),
    "cron is long": ("/v1/functions", cron(trigger_cron="0 " * 100), 422, "trigger_cron"),
    "unknown zone": ("/v1/functions", cron(trigger_timezone="Mars/Olympus"), 422, "trigger_timezone"),
    "zone is a path": ("/v1/functions", cron(trigger_timezone="../../etc/passwd"), 422, "trigger_timezone"),
    "negative retries": ("/v1/functions", function(retries=-1), 422, "retries"),
    "many retries": ("/v1/functions", function(retries=101), 422, "retries"),
    "retries is text": ("/v1/functions", function(retries="3"), 422, "retries"),
    "retries is huge": ("/v1/functions", function(retries=10**30), 422, "retries"),
    "an app without an address": ("/v1/apps", {"functions": []}, 422, "serve_url"),
    "two of one id in an app": (
        "/v1/apps",
        {"serve_url": NOWHERE, "functions": [{"id": "bad", "triggers": [{"event": "bad"}]}] * 2},
        422,
        "functions[1].id",
    ),
    "a bad cron in an app": (
        "/v1/apps",
        {"serve_url": NOWHERE, "functions": [{"id": "bad", "triggers": [{"cron": "x"}]}]},
        422,
        "functions[0].triggers[0].cron",
    ),
}

SIGNALS: dict[str, Case] = {
    "no body": ("/v1/signals/bad/complete", "", 400, "body"),
    "no JSON": ("/v1/signals/bad/complete", "yes", 400, "body"),
    "NaN": ("/v1/signals/bad/complete", '{"a": NaN}', 400, "a"),
    "a lone surrogate": ("/v1/signals/bad/complete", r'"\ud800"', 400, "body"),
    "deep": ("/v1/signals/bad/complete", "[" * 200 + "]" * 200, 422, "body"),
    "a long id": (f"/v1/signals/{LONG}/complete", "1", 422, "signal_id"),
    "a NUL in the id": ("/v1/signals/a%00b/complete", "1", 422, "signal_id"),
}

CASES = {
    f"{group}: {name}": case
    for group, cases in (("events", EVENTS), ("functions", FUNCTIONS), ("signals", SIGNALS))
    for name, case in cases.items()
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_bad_body_is_refused_by_its_field(service: Service, case: Case) -> None:
    path, body, status, field = case
    before = await service.holdings()
    reply = await service.request("POST", path, body if isinstance(body, str | bytes) else json.dumps(body))
    assert (reply.status, reply.fields) == (status, [field]), reply.json["detail"]
    assert reply.json["errors"][0]["message"]
    assert await service.holdings() == before


@pytest.mark.parametrize("path", ["/v1/events", "/v1/functions", "/v1/signals/bad/complete"])
async def test_a_body_over_the_limit_is_refused_by_the_limit(service: Service, path: str) -> None:
    before = await service.holdings()
    reply = await service.request("POST", path, b'"' + b"x" * (17 << 20) + b'"')
    assert reply.status == 413
    assert "BYTES" in reply.json["detail"]
    assert await service.holdings() == before


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=" + "A" * 40, "cursor"),
        ("status=done", "status"),
        ("since=yesterday", "since"),
        ("until=9999999999999999999999", "until"),
        ("function_id=" + LONG, "function_id"),
        ("event_id=%00", "event_id"),
    ],
)
async def test_a_bad_query_is_refused_by_its_field(service: Service, query: str, field: str) -> None:
    reply = await service.request("GET", f"/v1/runs?{query}")
    assert (reply.status, reply.fields) == (422, [field])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/runs/unknown", 404),
        ("GET", "/v1/runs/00000000-0000-4000-8000-000000000000", 404),
        ("POST", "/v1/runs/00000000-0000-4000-8000-000000000000/replay", 404),
        ("GET", "/v1/events/unknown", 404),
        ("GET", f"/v1/events/{LONG}", 404),
        ("GET", "/v1/events/a%00b", 404),
        ("GET", "/v1/functions/unknown", 404),
        ("DELETE", "/v1/functions/unknown", 404),
        ("POST", "/v1/functions/unknown/pause", 404),
        ("GET", "/v1/nothing", 404),
        ("PATCH", "/v1/events", 405),
        ("DELETE", "/v1/runs", 405),
    ],
)
async def test_what_is_not_there_is_a_clear_answer(service: Service, method: str, path: str, status: int) -> None:
    reply = await service.request(method, path)
    assert (reply.status, reply.fields) == (status, [])
    assert reply.json["detail"]


@pytest.mark.parametrize("case", TRIES)
async def test_a_bad_argument_of_a_step_is_an_error_in_the_workflow_and_no_more(
    service: Service, key: str, case: str
) -> None:
    run = await service.run("limits.try", key=key, case=case)
    assert run.status == "completed", run.error
    name, message = run.output
    assert name != "nothing was raised"
    assert message
    assert service.notes(key) == ["afterwards"]
    assert run.attempt == 0
