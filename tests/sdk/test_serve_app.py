"""The serve path answers whoever proves to be the workspace's server, and nobody else."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from rotor.errors import ConfigError, SignatureError
from rotor.protocol import signing
from rotor.protocol.messages import RunCompleted
from rotor.sdk import http
from rotor.sdk.serve.app import Answer, Request, ServedApp
from rotor.sdk.serve.replays import TakenIds
from rotor.sdk.versions import code_version
from tests.sdk.servers import serving
from tests.sdk.serving import FUNCTIONS, KEY, CheckpointServer, invocation, result, signed

URL = "https://app.example.com/api/rotor"


@pytest.fixture
async def server() -> AsyncIterator[CheckpointServer]:
    double = CheckpointServer()
    async with serving(double) as double.url:
        yield double


@pytest.fixture
def app() -> ServedApp:
    return ServedApp(FUNCTIONS, signing_key=KEY)


async def ask(app: ServedApp, method: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    return await app.answer(Request(method, URL, headers or {}, body))


def told(answer: Answer) -> Any:
    return json.loads(answer.body)


async def test_what_is_served_is_told_to_anybody_and_holds_nothing_secret(app: ServedApp) -> None:
    answer = await ask(app, "GET")
    assert answer.status == 200
    assert told(answer) == {
        "functions": [
            {"id": "doubler", "triggers": [{"event": "number"}], "retries": 1},
            {"id": "sleeper", "triggers": [{"event": "bed"}]},
            {"id": "blocking", "triggers": [{"event": "number"}]},
        ],
        "version": code_version(FUNCTIONS, None),
    }


async def test_a_signed_invocation_is_run(app: ServedApp, server: CheckpointServer) -> None:
    body = invocation("doubler", {"number": 3}, server.url)
    answer = await ask(app, "POST", body, signed(body))
    assert answer.status == 200
    assert isinstance(result(answer.body)[-1], RunCompleted)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_what_is_not_signed_by_the_workspace_is_refused(app: ServedApp, method: str) -> None:
    body = invocation("doubler", {"number": 3}, "http://127.0.0.1:9")
    for headers in (
        {},
        signed(body, key=signing.generate_key()),
        signed(body + b" "),
        signed(body, at=time.time() - 301),
        signed(body, at=time.time() + 400),
    ):
        answer = await ask(app, method, body, headers)
        assert answer.status == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert "webhook-" in told(answer)["detail"]


async def test_a_captured_invocation_cannot_be_sent_again(app: ServedApp, server: CheckpointServer) -> None:
    body = invocation("doubler", {"number": 3}, server.url)
    headers = signed(body)
    assert (await ask(app, "POST", body, headers)).status == 200
    again = await ask(app, "POST", body, headers)
    assert (again.status, told(again)["title"]) == (409, "sent before")


async def test_a_forged_request_does_not_use_up_an_id(app: ServedApp, server: CheckpointServer) -> None:
    body = invocation("doubler", {"number": 3}, server.url)
    headers = signed(body, message_id="msg_1")
    forged = {**headers, "webhook-signature": "v1,AAAA"}
    assert (await ask(app, "POST", body, forged)).status == 401
    assert (await ask(app, "POST", body, headers)).status == 200


def test_the_memory_of_ids_is_bounded_by_number_and_by_time() -> None:
    taken = TakenIds(ids_max=3)
    for number in range(4):
        taken.take(str(number), now=number)
    with pytest.raises(SignatureError):
        taken.take("3", now=4)
    taken.take("0", now=5)
    assert len(taken._times) == 3
    taken.take("x", now=10_000)
    assert list(taken._times) == ["x"]


async def test_keys_can_change_hands(monkeypatch: pytest.MonkeyPatch, server: CheckpointServer) -> None:
    coming = signing.generate_key()
    monkeypatch.setenv("ROTOR_SIGNING_KEY", f"{coming}, {KEY}")
    body = invocation("doubler", {"number": 3}, server.url)
    for app in (ServedApp(FUNCTIONS, signing_key=[coming, KEY]), ServedApp(FUNCTIONS)):
        for key in (KEY, coming):
            assert (await ask(app, "POST", body, signed(body, key=key))).status == 200


def test_without_a_key_nothing_is_served_but_in_development(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROTOR_SIGNING_KEY", raising=False)
    monkeypatch.delenv("ROTOR_DEV", raising=False)
    with pytest.raises(ConfigError, match="ROTOR_SIGNING_KEY"):
        ServedApp(FUNCTIONS)
    monkeypatch.setenv("ROTOR_DEV", "1")
    ServedApp(FUNCTIONS)
    with pytest.raises(ConfigError):
        ServedApp(FUNCTIONS, dev=False)


def test_a_key_that_cannot_be_one_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="signing key"):
        ServedApp(FUNCTIONS, signing_key="secret")


async def test_in_development_a_web_page_cannot_send_what_needs_no_signature() -> None:
    app = ServedApp(FUNCTIONS, dev=True, signing_key="")
    body = invocation("no-such", None, "http://127.0.0.1:9")
    assert (await ask(app, "POST", body)).status == 404
    for method in ("POST", "PUT"):
        assert (await ask(app, method, body, {"origin": "https://evil.example"})).status == 403


async def test_in_development_with_a_key_signatures_still_count() -> None:
    app = ServedApp(FUNCTIONS, dev=True, signing_key=KEY)
    assert (await ask(app, "POST", b"{}")).status == 401


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"{", 400, "no Invocation"),
        (b'{"run":{}}', 400, "missing required field"),
        (invocation("other", None, "http://127.0.0.1:9"), 404, "'other'"),
    ],
)
async def test_an_invocation_that_cannot_be_run_is_refused(
    app: ServedApp, body: bytes, status: int, detail: str
) -> None:
    answer = await ask(app, "POST", body, signed(body))
    assert answer.status == status
    assert detail in told(answer)["detail"]


async def test_a_body_over_the_limit_is_refused() -> None:
    app = ServedApp(FUNCTIONS, signing_key=KEY, body_bytes_max=10)
    body = b"x" * 11
    answer = await ask(app, "POST", body, signed(body))
    assert (answer.status, "body_bytes_max" in told(answer)["detail"]) == (413, True)


async def test_other_methods_are_refused(app: ServedApp) -> None:
    answer = await ask(app, "DELETE")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, PUT, POST")


class Registry:
    """A server that registers apps."""

    def __init__(self) -> None:
        self.manifests: list[Any] = []
        self.keys: list[str] = []
        self.status = 201

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        assert (request.method, request.path) == ("POST", "/v1/apps")
        self.manifests.append(await request.json())
        self.keys.append(request.headers["authorization"])
        if self.status >= 400:
            return web.json_response({"title": "Invalid", "detail": "trigger"}, status=self.status)
        return web.json_response({"functions": []}, status=self.status)


async def test_a_signed_put_registers_what_is_served_under_the_apps_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTOR_VERSION", "42")
    registry = Registry()
    async with serving(registry) as url:
        app = ServedApp(FUNCTIONS, signing_key=KEY, api_key="rk_app", base_url=url)
        for body, serve_url in (
            (b"", URL),
            (b'{"serve_url":"https://named.example/rotor"}', "https://named.example/rotor"),
        ):
            answer = await ask(app, "PUT", body, signed(body))
            assert answer.status == 200
            assert told(answer) == {"registered": ["doubler", "sleeper", "blocking"], "serve_url": serve_url}
            assert (registry.manifests[-1]["serve_url"], registry.manifests[-1]["version"]) == (serve_url, "42")
            assert registry.keys[-1] == "Bearer rk_app"
        fixed = ServedApp(
            FUNCTIONS, signing_key=KEY, api_key="rk_app", base_url=url, serve_url="https://fixed.example/"
        )
        await ask(
            fixed, "PUT", b'{"serve_url":"https://named.example"}', signed(b'{"serve_url":"https://named.example"}')
        )
        assert registry.manifests[-1]["serve_url"] == "https://fixed.example/"


async def test_an_unsigned_put_registers_nothing() -> None:
    registry = Registry()
    async with serving(registry) as url:
        app = ServedApp(FUNCTIONS, signing_key=KEY, api_key="rk_app", base_url=url)
        assert (await ask(app, "PUT", b'{"serve_url":"https://evil.example"}')).status == 401
    assert registry.manifests == []


async def test_a_registration_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_backoff", lambda _: 0)
    registry = Registry()
    registry.status = 422
    async with serving(registry) as url:
        app = ServedApp(FUNCTIONS, signing_key=KEY, api_key="rk_app", base_url=url)
        answer = await ask(app, "PUT", b"", signed(b""))
    assert answer.status == 502
    assert "422 Invalid: trigger" in told(answer)["detail"]
    gone = ServedApp(FUNCTIONS, signing_key=KEY, base_url="http://127.0.0.1:9")
    assert told(await ask(gone, "PUT", b"", signed(b"")))["title"] == "the server was not reached"
