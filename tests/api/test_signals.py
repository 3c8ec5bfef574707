"""A signal's data is the body, kept as it came, once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from rotor import limits
from rotor.store.database import Database
from tests.api.conftest import Client


async def data_of(database: Database, signal_id: str) -> bytes | None:
    async with database.connection() as connection:
        data: bytes | None = await connection.raw.fetchval("SELECT data FROM signals WHERE id = $1", signal_id)
    return data


async def test_a_signal_that_nobody_waits_for_yet_is_kept(call: Client, database: Database) -> None:
    text = b'{ "approved" : true, "n": 1.0 }'
    done = await call("POST", "/v1/signals/approval/complete", raw=text)
    assert (done.status, done.json) == (202, {"run_id": None, "delivered": False})
    assert await data_of(database, "approval") == text


async def test_a_second_completion_is_a_conflict_and_changes_nothing(call: Client, database: Database) -> None:
    await call("POST", "/v1/signals/s/complete", raw=b"1")
    again = await call("POST", "/v1/signals/s/complete", raw=b"2")
    assert (again.status, again.json["type"]) == (409, "urn:rotor:problem:conflict")
    assert await data_of(database, "s") == b"1"


async def test_of_many_completions_at_once_one_counts(call: Client) -> None:
    answers = await asyncio.gather(*(call("POST", "/v1/signals/s/complete", raw=b"1") for _ in range(20)))
    assert Counter(answer.status for answer in answers) == {202: 1, 409: 19}


async def test_workspaces_share_no_signal(call: Client, other: Client) -> None:
    assert (await call("POST", "/v1/signals/s/complete", raw=b"1")).status == 202
    assert (await other("POST", "/v1/signals/s/complete", raw=b"2")).status == 202


@pytest.mark.parametrize("signal_id", ["a/b", "ä", "%", "a?b", "complete", "x" * 256])
async def test_a_signal_id_may_hold_anything_that_a_path_can_encode(
    call: Client, database: Database, signal_id: str
) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in signal_id.encode())
    assert (await call("POST", f"/v1/signals/{encoded}/complete", raw=b"1")).status == 202
    assert await data_of(database, signal_id) == b"1"


@pytest.mark.parametrize("encoded", ["%00", "x" * 257, "%FF", "%ED%A0%80"])
async def test_an_id_that_cannot_be_kept_is_refused(call: Client, encoded: str) -> None:
    refused = await call("POST", f"/v1/signals/{encoded}/complete", raw=b"1")
    assert (refused.status, refused.fields) == (422, ["signal_id"])


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        (b"", 400, ["body"]),
        (b"  ", 400, ["body"]),
        (b"approved", 400, ["body"]),
        (b'{"a": NaN}', 400, ["a"]),
        (b'{"a": ["\\ud800"]}', 400, ["a[0]"]),
        (b'"\xff"', 400, ["body"]),
        (b"[" * 129 + b"]" * 129, 422, ["body"]),
        (b"[" * 100_000 + b"]" * 100_000, 400, ["body"]),
        (b'"' + b"x" * limits.PAYLOAD_BYTES + b'"', 413, []),
    ],
)
async def test_data_that_cannot_be_kept_is_refused(
    call: Client, database: Database, body: bytes, status: int, fields: list[str]
) -> None:
    refused = await call("POST", "/v1/signals/s/complete", raw=body)
    assert (refused.status, refused.fields) == (status, fields)
    assert await data_of(database, "s") is None
