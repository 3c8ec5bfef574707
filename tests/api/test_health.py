"""Those who watch over the server learn whether it lives, whether it can work, and what it counts."""

from __future__ import annotations

import pytest

from rotor import limits
from rotor.store import readiness
from rotor.store.database import Database
from tests.api.conftest import Client


async def test_a_living_server_says_so_to_anyone(anyone: Client) -> None:
    for path in ("/healthz", "/readyz"):
        answered = await anyone("GET", path)
        assert (answered.status, answered.json) == (200, {"status": "ok"})
        assert answered.headers["x-content-type-options"] == "nosniff"
    assert (await anyone("HEAD", "/healthz")).status == 200


async def test_a_server_whose_schema_is_behind_is_not_ready(anyone: Client, database: Database) -> None:
    async with database.connection() as connection:
        await connection.raw.execute("UPDATE migrations SET applied = '{}'")
    answered = await anyone("GET", "/readyz")
    assert answered.status == 503
    assert "rotor migrate" in answered.json["detail"]
    async with database.connection() as connection:
        await connection.raw.execute("DROP TABLE migrations")
    assert (await anyone("GET", "/readyz")).status == 503
    assert (await anyone("GET", "/healthz")).status == 200


async def test_a_server_without_its_database_is_not_ready_and_says_so(call: Client, database: Database) -> None:
    await database.close()
    for path in ("/readyz", "/v1/runs"):
        answered = await call("GET", path)
        assert (answered.status, answered.json["type"]) == (503, "urn:rotor:problem:unavailable")


async def test_a_database_that_hangs_is_given_up(database: Database) -> None:
    async with database.connection() as connection, connection.raw.transaction():
        await connection.raw.execute("LOCK TABLE migrations")
        hindrance = await readiness.hindrance(database, timeout_seconds=0.05)
    assert hindrance is not None
    assert "does not answer" in hindrance


async def test_requests_and_events_are_counted(call: Client, anyone: Client) -> None:
    await call("POST", "/v1/events", {"name": "a", "data": 1})
    await call("GET", "/v1/events/none")
    metrics = await anyone("GET", "/metrics")
    assert metrics.status == 200
    assert metrics.headers["content-type"].startswith("text/plain")
    assert b'rotor_http_requests_total{operation="get_event",status="404"}' in metrics.text
    assert b"rotor_events_accepted_total" in metrics.text


async def test_the_bodies_of_all_requests_together_are_bounded(
    call: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODIES_BYTES", 1_000)
    refused = await call("POST", "/v1/events", {"name": "a", "data": "x" * 2_000})
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    for _ in range(5):
        assert (await call("POST", "/v1/events", {"name": "a", "data": "x" * 800})).status == 202


async def test_an_error_that_was_not_foreseen_is_told_without_what_it_quotes(
    call: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "a secret payload"

    async def fail(*_: object, **__: object) -> None:
        raise KeyError(secret)

    monkeypatch.setattr("rotor.store.runs.page", fail)
    answered = await call("GET", "/v1/runs")
    assert (answered.status, answered.json["type"]) == (500, "urn:rotor:problem:internal")
    assert b"secret" not in answered.text
    assert "KeyError" in caplog.text
    assert secret not in caplog.text


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/nothing", "/v1/events/", "/v1/runs//stream", "//v1/events", "/v1/events%2F"]
)
async def test_an_unknown_path_is_a_problem_like_any_other(call: Client, path: str) -> None:
    answered = await call("POST", path)
    assert answered.status == 404
    assert answered.headers["content-type"] == "application/problem+json"
    assert answered.headers["x-content-type-options"] == "nosniff"
    assert answered.json.keys() == {"type", "title", "status", "detail", "errors"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/events", "POST"),
        ("POST", "/v1/functions/f", "DELETE, GET"),
        ("GET", "/v1/runs/0197c8ea-0000-7000-8000-000000000000/cancel", "POST"),
        ("OPTIONS", "/v1/functions", "GET, POST"),
    ],
)
async def test_a_method_that_a_path_does_not_take_is_named(call: Client, method: str, path: str, allowed: str) -> None:
    answered = await call(method, path)
    assert (answered.status, answered.headers["allow"]) == (405, allowed)
