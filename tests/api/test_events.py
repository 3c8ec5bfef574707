"""Events are accepted all or none; what cannot be kept is refused by its field."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from rotor import limits
from rotor.store.database import Database
from tests.api.conftest import Client
from tests.store.rows import put_run


async def count_of_events(database: Database) -> int:
    async with database.connection() as connection:
        count: int = await connection.raw.fetchval("SELECT count(*) FROM events")
    return count


async def test_an_event_is_accepted_and_can_be_read(call: Client) -> None:
    accepted = await call("POST", "/v1/events", {"name": "user.created", "data": {"userId": "123"}})
    assert accepted.status == 202
    (event_id,) = accepted.json["ids"]

    event = await call("GET", f"/v1/events/{event_id}")

    assert event.status == 200
    assert event.json["name"] == "user.created"
    assert event.json["data"] == {"userId": "123"}
    assert event.json["runs"] == []
    assert event.json["ts"].endswith("Z")


async def test_a_list_of_events_is_answered_with_their_ids_in_order(call: Client) -> None:
    events = [{"name": "a", "data": number, "id": f"e{number}"} for number in range(3)]
    accepted = await call("POST", "/v1/events", events)
    assert (accepted.status, accepted.json) == (202, {"ids": ["e0", "e1", "e2"]})
    assert (await call("POST", "/v1/events", [])).json == {"ids": []}


async def test_the_same_id_again_changes_nothing(call: Client, database: Database) -> None:
    for data in (1, 2):
        answered = await call("POST", "/v1/events", {"name": "a", "data": data, "id": "once"})
        assert (answered.status, answered.json) == (202, {"ids": ["once"]})
    assert (await call("GET", "/v1/events/once")).json["data"] == 1
    assert await count_of_events(database) == 1


@pytest.mark.parametrize("ts", ["2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00", 1772366400000, 1772366400000.0])
async def test_ts_is_rfc_3339_or_epoch_milliseconds(call: Client, ts: object) -> None:
    await call("POST", "/v1/events", {"name": "a", "data": 1, "id": "e", "ts": ts})
    assert (await call("GET", "/v1/events/e")).json["ts"] == "2026-03-01T12:00:00Z"


async def test_ts_ahead_defers_the_event(call: Client) -> None:
    ahead = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    await call("POST", "/v1/events", {"name": "a", "data": 1, "id": "e", "ts": ahead})
    assert (await call("GET", "/v1/events/e")).json["effective_at"] is None


@pytest.mark.parametrize("event_id", ["a/b", "ä ö", "100%", "a?b#c", "..", "x" * 256])
async def test_an_id_may_hold_anything_that_a_path_can_encode(call: Client, event_id: str) -> None:
    accepted = await call("POST", "/v1/events", {"name": "a", "data": 1, "id": event_id})
    assert accepted.status == 202
    encoded = "".join(f"%{byte:02X}" for byte in event_id.encode())
    assert (await call("GET", f"/v1/events/{encoded}")).json["id"] == event_id


@pytest.mark.parametrize(
    "data",
    [
        b"null",
        b'"\\u0000"',
        b"123456789012345678901234567890",
        b'{ "a" : 1.10, "a": 1e400 }',
        b'"' + b"x" * 1_000_000 + b'"',
        b"[" * 128 + b"]" * 128,
        '"ÅÅ\U0001f600"'.encode(),
    ],
)
async def test_data_comes_back_as_it_was_or_is_refused(call: Client, data: bytes) -> None:
    accepted = await call("POST", "/v1/events", raw=b'{"name":"a","id":"e","data":' + data + b"}")
    if accepted.status == 202:
        assert data in (await call("GET", "/v1/events/e")).text
    else:
        assert (accepted.status, accepted.fields) == (422, ["data"])
        assert b"1e400" in data


def event(**changes: Any) -> dict[str, Any]:
    return {"name": "a", "data": 1, **changes}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in event().items() if key != name}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("text", "body"),
        (7, "body"),
        (without("name"), "name"),
        (without("data"), "data"),
        (event(name=""), "name"),
        (event(name=7), "name"),
        (event(name=None), "name"),
        (event(name="a\0b"), "name"),
        (event(name="x" * 257), "name"),
        (event(name="rotor/invoke"), "name"),
        (event(id=""), "id"),
        (event(id=7), "id"),
        (event(id="a\0"), "id"),
        (event(id="x" * 257), "id"),
        (event(ts="yesterday"), "ts"),
        (event(ts="2026-03-01T12:00:00"), "ts"),
        (event(ts="2026-13-01T12:00:00Z"), "ts"),
        (event(ts=True), "ts"),
        (event(ts=-1), "ts"),
        (event(ts=10**30), "ts"),
        (event(ts="0001-01-01T00:00:00+23:00"), "ts"),
        (event(ts="9999-12-31T23:59:59-23:00"), "ts"),
        (event(ts="2099-01-01T00:00:00Z"), "ts"),
        (event(ts={}), "ts"),
        ([event(), event(name="")], "[1].name"),
        ([event(), without("data")], "[1].data"),
        ([event(), 7], "[1]"),
        ([event(), event(ts="x")], "[1].ts"),
        ([[event()]], "[0]"),
        ([event()] * (limits.EVENTS_PER_REQUEST + 1), "body"),
    ],
)
async def test_what_cannot_be_an_event_is_refused_by_its_field(
    call: Client, database: Database, body: object, field: str
) -> None:
    refused = await call("POST", "/v1/events", raw=json.dumps(body).encode())
    assert (refused.status, refused.fields) == (422, [field])
    assert await count_of_events(database) == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"\xef\xbb\xbf{}", "body"),
        (b'{"name":"a","data":tru}', "body"),
        (b'{"name":"a","data":1} {}', "body"),
        (b"{'name':'a','data':1}", "body"),
        (b'{"name":"a","data":NaN}', "data"),
        (b'{"name":"a","data":{"x":[1,-Infinity]}}', "data.x[1]"),
        (b'{"name":"\\ud800","data":1}', "name"),
        (b'{"name":"a","data":{"b":"\\udc00"}}', "data.b"),
        (b'[{"name":"a","data":1},{"name":"a","data":1,"id":"\\ud83d"}]', "[1].id"),
        (b'{"name":"a\xff","data":1}', "body"),
        (b'{"name":"a","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "data"),
        (b'[{"name":"a","data":1},{"name":"a","data":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}]", "[1].data"),
    ],
)
async def test_what_is_not_json_is_refused_and_its_place_named(
    call: Client, database: Database, body: bytes, field: str
) -> None:
    refused = await call("POST", "/v1/events", raw=body)
    assert (refused.status, refused.fields) == (400, [field])
    assert await count_of_events(database) == 0


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"[" * 129 + b"]" * 129, "[1].data"),
        (b'"' + b"x" * limits.PAYLOAD_BYTES + b'"', "[1].data"),
        (b'"\xff"', "[1].data"),
        (b"1" * 5_000, "[1].data"),
    ],
)
async def test_data_beyond_a_limit_is_refused_by_its_item(
    call: Client, database: Database, data: bytes, field: str
) -> None:
    refused = await call("POST", "/v1/events", raw=b'[{"name":"a","data":1},{"name":"a","data":' + data + b"}]")
    assert (refused.status, refused.fields) == (422, [field])
    assert await count_of_events(database) == 0


async def test_every_bad_item_is_named_at_once(call: Client) -> None:
    refused = await call("POST", "/v1/events", [event(name="", ts="x"), event(), event(id="")])
    assert refused.fields == ["[0].name", "[0].ts", "[2].id"]


async def test_unknown_fields_are_ignored(call: Client) -> None:
    assert (await call("POST", "/v1/events", event(user={"id": 1}, v=2))).status == 202


async def test_a_body_over_the_limit_is_refused_whether_or_not_it_says_so(call: Client) -> None:
    body = b" " * (limits.REQUEST_BYTES + 1)
    refused = await call("POST", "/v1/events", raw=body)
    assert (refused.status, refused.json["type"]) == (413, "urn:rotor:problem:too-large")

    async def pieces() -> Any:
        for start in range(0, len(body), 1 << 20):
            yield body[start : start + (1 << 20)]

    async with call.session.post(call.url + "/v1/events", data=pieces(), headers=call.headers) as answer:
        assert answer.status == 413


async def test_an_event_of_another_workspace_is_not_there(call: Client, other: Client) -> None:
    await call("POST", "/v1/events", event(id="ours"))
    assert (await other("GET", "/v1/events/ours")).status == 404
    assert (await other("POST", "/v1/events", event(id="ours", data=2))).status == 202
    assert (await call("GET", "/v1/events/ours")).json["data"] == 1


@pytest.mark.parametrize("path", ["/v1/events/none", "/v1/events/%00", "/v1/events/" + "x" * 300, "/v1/events/"])
async def test_an_unknown_event_is_not_found(call: Client, path: str) -> None:
    assert (await call("GET", path)).status == 404


async def test_a_path_that_is_not_text_is_refused(call: Client) -> None:
    refused = await call("GET", "/v1/events/%FF")
    assert (refused.status, refused.fields) == (422, ["event_id"])


async def test_an_event_shows_the_run_that_it_started(call: Client) -> None:
    function = {"id": "f", "serve_url": "http://app/", "trigger_type": "event", "trigger_event": "a"}
    await call("POST", "/v1/functions", function)
    await call("POST", "/v1/events", event(id="e"))

    (run,) = (await call("GET", "/v1/events/e")).json["runs"]

    assert (run["function_id"], run["status"], run["event"]["id"]) == ("f", "queued", "e")


def cancellation(run_id: object, **changes: Any) -> dict[str, Any]:
    return {"name": "rotor/cancel.run", "data": {"runId": str(run_id)}, **changes}


@pytest.mark.parametrize(
    ("data", "field"),
    [(None, "data"), ({}, "data.runId"), ({"runId": 7}, "data.runId"), ({"runId": "run-abc-123"}, "data.runId")],
)
async def test_an_event_that_cancels_names_a_run(call: Client, data: object, field: str) -> None:
    refused = await call("POST", "/v1/events", {"name": "rotor/cancel.run", "data": data})
    assert (refused.status, refused.fields) == (422, [field])


async def test_an_event_that_would_cancel_nothing_is_answered_so_and_accepts_nothing(
    call: Client, other: Client, database: Database
) -> None:
    ended, open_run = await put_run(database, status="completed"), await put_run(database)
    assert (await call("POST", "/v1/events", [event(), cancellation(ended)])).status == 409
    assert (await call("POST", "/v1/events", [event(), cancellation(uuid4())])).status == 404
    assert (await other("POST", "/v1/events", cancellation(open_run))).status == 404
    assert await count_of_events(database) == 0
    assert (await call("POST", "/v1/events", cancellation(open_run))).status == 202


async def test_a_cancelling_event_sent_again_is_answered_as_before(call: Client, database: Database) -> None:
    run_id = await put_run(database)
    once = cancellation(run_id, id="once")
    assert (await call("POST", "/v1/events", once)).status == 202
    await call("POST", f"/v1/runs/{run_id}/cancel")
    assert (await call("POST", "/v1/events", once)).status == 202
