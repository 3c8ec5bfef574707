"""Keys open their own workspace and nothing else; requests that nobody signed do nothing."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from rotor.errors import ApiError
from rotor.protocol import signing
from tests.conformance.service import Service

POINTED_ELSEWHERE = '{"serve_url": "http://127.0.0.1:9/elsewhere"}'


async def test_another_workspace_sees_and_touches_nothing(keyed: Service, key: str) -> None:
    other = keyed.of("other")
    run_id = await keyed.start("signals.wait", signal=key)
    await keyed.reaches(run_id, "gate")
    (event_id,) = [run.event.id for run in [await keyed.rotor.runs.get(run_id)] if run.event]
    before = await keyed.holdings()
    for method, path in (
        ("GET", f"/v1/runs/{run_id}"),
        ("GET", f"/v1/runs/{run_id}/stream"),
        ("POST", f"/v1/runs/{run_id}/cancel"),
        ("POST", f"/v1/runs/{run_id}/replay"),
        ("GET", f"/v1/events/{event_id}"),
        ("GET", "/v1/functions/signals.wait"),
        ("DELETE", "/v1/functions/signals.wait"),
        ("POST", "/v1/functions/signals.wait/pause"),
        ("POST", "/v1/functions/signals.wait/resume"),
    ):
        reply = await other.request(method, path)
        assert (reply.status, path) == (404, path)
    assert (await other.rotor.runs.list()).items == []
    assert (await other.rotor.runs.list(event_id=event_id)).items == []
    assert (await other.rotor.functions.list()).items == []
    assert await keyed.holdings() == before
    with pytest.raises(ApiError) as unknown:
        await other.rotor.send("rotor/cancel.run", {"runId": run_id})
    assert unknown.value.status == 404
    assert not (await other.rotor.complete_signal(key, "theirs")).delivered
    assert (await keyed.rotor.complete_signal(key, "ours")).run_id == run_id
    assert (await keyed.ended(run_id)).output == "ours"


async def test_the_same_names_in_two_workspaces_are_two_things(keyed: Service, key: str) -> None:
    other = keyed.of("other")
    run_id = await keyed.start("events.matching", match={"data.key": key})
    await keyed.reaches(run_id, "ping")
    assert await other.rotor.send("ping", {"key": key, "n": "theirs"}, id=key) == key
    assert await other.rotor.send("steps.bodies", {"key": key}, id=f"start-{key}") == f"start-{key}"
    assert await other.runs_of(f"start-{key}") == []
    assert await keyed.rotor.send("ping", {"key": key, "n": "ours"}, id=key) == key
    assert (await keyed.ended(run_id)).output["data"]["n"] == "ours"
    assert (await other.rotor.events.get(key)).data["n"] == "theirs"
    assert len(await keyed.runs_of(await keyed.rotor.send("steps.bodies", {"key": key}, id=f"start-{key}"))) == 1


CALLS = [
    ("POST", "/v1/functions"),
    ("GET", "/v1/functions"),
    ("POST", "/v1/apps"),
    ("POST", "/v1/events"),
    ("GET", "/v1/runs"),
    ("GET", "/v1/runs/00000000-0000-4000-8000-000000000000"),
    ("POST", "/v1/signals/x/complete"),
]


@pytest.mark.parametrize("key", ["", "rk_wrong", "rk_0000000000000000_" + "0" * 40, "é", "x" * 5_000], ids=ascii)
async def test_a_call_without_a_valid_key_is_refused(keyed: Service, key: str) -> None:
    before = await keyed.holdings()
    for method, path in CALLS:
        reply = await keyed.request(method, path, '{"name": "ping", "data": 1}', key=key or "")
        assert (reply.status, path) == (401, path)
        assert reply.headers["www-authenticate"] == "Bearer"
        assert reply.json["detail"]
    assert await keyed.holdings() == before


async def test_a_revoked_key_opens_nothing(keyed: Service) -> None:
    made = keyed.shape.rotor("keys", "create", "--workspace", "other", "--name", "lost")
    assert (await keyed.request("GET", "/v1/runs", key=made["key"])).status == 200
    (found,) = [
        one for one in keyed.shape.rotor("keys", "list")["items"] if one["name"] == "lost" and not one["revoked_at"]
    ]
    keyed.shape.rotor_text("keys", "revoke", found["id"])
    for _ in range(1_000):
        if (await keyed.request("GET", "/v1/runs", key=made["key"])).status == 401:
            return
        await asyncio.sleep(0.03)  # a server remembers a key for a second
    raise AssertionError("the key is still taken")


async def connected(service: Service, **headers: str) -> int:
    """The status that a worker's connection is answered with."""
    url = service.shape.url.replace("http", "ws", 1) + "/v1/connect"
    async with aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(url, headers=headers):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status


async def test_a_worker_without_a_valid_key_or_from_a_foreign_page_is_refused(keyed: Service, dev: Service) -> None:
    assert await connected(keyed) in (401, 403)
    assert await connected(keyed, authorization="Bearer rk_wrong") in (401, 403)
    assert await connected(keyed, authorization=f"Bearer {keyed.shape.keys['other']}") == 101
    assert await connected(dev) == 101
    assert await connected(dev, origin="https://evil.example") == 403
    assert await connected(dev, host="evil.example") == 403


@pytest.mark.parametrize(
    ("name", "value"),
    [("host", "rotor.example.com"), ("host", "127.0.0.1.evil.example"), ("origin", "https://evil.example")],
)
async def test_without_keys_foreign_hosts_and_pages_are_refused(dev: Service, name: str, value: str) -> None:
    before = await dev.holdings()
    for method, path in CALLS:
        reply = await dev.request(method, path, '{"name": "ping", "data": 1}', **{name: value})
        assert (reply.status, path) == (403, path)
    assert await dev.holdings() == before


def signed(body: str, key: str, *, age_seconds: int = 0) -> dict[str, str]:
    message = f"msg_{time.monotonic_ns()}"
    return signing.sign(body.encode(), message_id=message, timestamp=int(time.time()) - age_seconds, keys=[key])


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_the_serve_path_does_nothing_for_who_has_not_signed(serve: Service, key: str, method: str) -> None:
    assert serve.shape.serve_url
    before = await serve.holdings()
    body = POINTED_ELSEWHERE
    right = serve.shape.signing_key
    for headers in (
        {},
        signed(body, signing.generate_key()),
        signed(body + " ", right),
        signed(body, right, age_seconds=3_600),
        {**signed(body, right), "webhook-id": "msg_another"},
        {**signed(body, right), "webhook-signature": "v1,AAAA"},
    ):
        reply = await serve.request(method, serve.shape.serve_url, body, key="", **headers)
        assert reply.status == 401, headers
    assert await serve.holdings() == before


async def test_a_signed_request_is_taken_once(serve: Service) -> None:
    assert serve.shape.serve_url
    headers = signed("{}", serve.shape.signing_key)
    first = await serve.request("POST", serve.shape.serve_url, "{}", key="", **headers)
    again = await serve.request("POST", serve.shape.serve_url, "{}", key="", **headers)
    assert (first.status, again.status) == (400, 409)


async def test_the_serve_path_tells_what_is_served_and_no_secret(serve: Service) -> None:
    assert serve.shape.serve_url
    reply = await serve.request("GET", serve.shape.serve_url, key="")
    assert {"id": "steps.bodies", "triggers": [{"event": "steps.bodies"}], "retries": 0} in reply.json["functions"]
    assert serve.shape.signing_key not in reply.body.decode()
    assert serve.shape.keys["default"] not in reply.body.decode()
    hello = await serve.request("GET", serve.shape.serve_url.replace("/api/rotor", "/hello"), key="")
    assert hello.json == "the app's own route"


@pytest.mark.parametrize("token", ["", "x", "eyJ9.e30.x"])
async def test_checkpoints_are_taken_from_nobody_without_a_token(keyed: Service, key: str, token: str) -> None:
    run_id = await keyed.start("signals.wait", signal=key)
    await keyed.reaches(run_id, "gate")
    message = f'{{"type": "run_completed", "run_id": "{run_id}", "n": 9, "output": "forged"}}'
    checkpoints = f'[{{"token": "{token}", "messages": [{message}]}}]'
    reply = await keyed.request("POST", "/v1/checkpoints", checkpoints, key=token)
    assert reply.status == 401
    assert (await keyed.request("POST", "/v1/checkpoints", checkpoints)).status == 401
    assert (await keyed.rotor.runs.get(run_id)).status == "waiting"
