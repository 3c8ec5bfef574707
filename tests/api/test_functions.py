"""Functions are registered in the quickstart's form or with a list of triggers, and live until they are deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Client

WELCOME = {
    "id": "welcome-sequence",
    "serve_url": "https://your-app.example.com/api/rotor",
    "trigger_type": "event",
    "trigger_event": "user.created",
}


def changed(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**WELCOME, **changes}.items() if value is not ...}


async def test_registering_is_201_for_a_new_function_and_200_after(call: Client) -> None:
    created = await call("POST", "/v1/functions", WELCOME)
    same = await call("POST", "/v1/functions", WELCOME)
    updated = await call("POST", "/v1/functions", changed(retries=1))

    assert (created.status, same.status, updated.status) == (201, 200, 200)
    assert created.json == same.json
    assert created.json["id"] == "welcome-sequence"
    assert created.json["serve_url"] == WELCOME["serve_url"]
    assert [trigger["event"] for trigger in created.json["triggers"]] == ["user.created"]
    assert updated.json["retries"] == 1


async def test_a_cron_says_when_it_fires_next(call: Client) -> None:
    body = changed(trigger_type="cron", trigger_event=..., trigger_cron="0 9 * * 1", trigger_timezone="Europe/Paris")
    (trigger,) = (await call("POST", "/v1/functions", body)).json["triggers"]
    assert (trigger["cron"], trigger["timezone"]) == ("0 9 * * 1", "Europe/Paris")
    assert trigger["next_at"].endswith("Z")


async def test_a_function_may_have_several_triggers(call: Client) -> None:
    triggers = [{"event": "a", "match": 'data.x == "1"'}, {"cron": "@daily"}]
    body = changed(trigger_type=..., trigger_event=..., triggers=triggers)
    created = await call("POST", "/v1/functions", body)
    assert created.status == 201
    assert [(one["event"], one["cron"]) for one in created.json["triggers"]] == [("a", None), (None, "@daily")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        (changed(id=...), "id"),
        (changed(id=7), "id"),
        (changed(id=""), "id"),
        (changed(id="a\0b"), "id"),
        (changed(id="x" * 257), "id"),
        (changed(serve_url=...), "serve_url"),
        (changed(serve_url=None), "serve_url"),
        (changed(serve_url="not a url"), "serve_url"),
        (changed(serve_url="file:///etc/passwd"), "serve_url"),
        (changed(trigger_type=...), "trigger_type"),
        (changed(trigger_type="webhook"), "trigger_type"),
        (changed(trigger_event=...), "trigger_event"),
        (changed(trigger_event=""), "trigger_event"),
        (changed(trigger_event=["a"]), "trigger_event"),
        (changed(trigger_match="data.x =="), "trigger_match"),
        (changed(trigger_match="secret.x == 1"), "trigger_match"),
        (changed(trigger_cron="* * * * *"), "trigger_cron"),
        (changed(trigger_type="cron"), "trigger_cron"),
        (changed(trigger_type="cron", trigger_event=..., trigger_cron="never"), "trigger_cron"),
        (
            changed(trigger_type="cron", trigger_event=..., trigger_cron="* * * * *", trigger_timezone="Mars"),
            "trigger_timezone",
        ),
        (changed(retries=-1), "retries"),
        (changed(retries=10**40), "retries"),
        (changed(retries=1.5), "retries"),
        (changed(retries="3"), "retries"),
        (changed(retries=True), "retries"),
        (changed(app="a\0"), "app"),
        (changed(triggers=[{"event": "a"}], trigger_type=...), "trigger_event"),
        (changed(triggers=[], trigger_type=..., trigger_event=...), "triggers"),
        (changed(triggers=[{"event": "a"}, {}], trigger_type=..., trigger_event=...), "triggers[1].event"),
        (changed(triggers=[{"event": 7}], trigger_type=..., trigger_event=...), "triggers[0].event"),
    ],
)
async def test_what_cannot_be_a_function_is_refused_by_its_field(call: Client, body: object, field: str) -> None:
    refused = await call("POST", "/v1/functions", body)
    assert (refused.status, refused.fields) == (422, [field])
    assert (await call("GET", "/v1/functions")).json == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("function_id", ["plain", "team/billing", "a/pause", "ä", "100%", "a?b", ".."])
async def test_a_function_is_known_by_its_id_whatever_it_holds(call: Client, function_id: str) -> None:
    await call("POST", "/v1/functions", changed(id=function_id))
    path = "/v1/functions/" + "".join(f"%{byte:02X}" for byte in function_id.encode())

    assert (await call("GET", path)).json["id"] == function_id
    assert (await call("POST", f"{path}/pause")).json["paused_at"] is not None
    assert (await call("POST", f"{path}/resume")).json["paused_at"] is None
    assert (await call("DELETE", path)).status == 204
    assert (await call("GET", path)).status == 404


async def test_a_slash_in_an_id_need_not_be_encoded(call: Client) -> None:
    await call("POST", "/v1/functions", changed(id="team/billing"))
    assert (await call("GET", "/v1/functions/team/billing")).json["id"] == "team/billing"
    assert (await call("POST", "/v1/functions/team/billing/pause")).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume")],
)
async def test_an_unknown_function_is_not_found(call: Client, other: Client, method: str, path: str) -> None:
    await other("POST", "/v1/functions", WELCOME)
    for name in ("welcome-sequence", "%00", "x" * 300):
        assert (await call(method, f"/v1/functions/{name}{path}")).status == 404
    theirs = await other("GET", "/v1/functions/welcome-sequence")
    assert (theirs.status, theirs.json["paused_at"]) == (200, None)


async def test_functions_are_listed_in_pages(call: Client, other: Client) -> None:
    for name in ("c", "a", "b"):
        await call("POST", "/v1/functions", changed(id=name))
    await other("POST", "/v1/functions", changed(id="theirs"))

    first = (await call("GET", "/v1/functions?limit=2")).json
    second = (await call("GET", f"/v1/functions?limit=2&cursor={first['next_cursor']}")).json

    assert [one["id"] for one in first["items"] + second["items"]] == ["a", "b", "c"]
    assert second["next_cursor"] is None


async def test_an_app_registers_everything_it_serves_at_once(call: Client) -> None:
    manifest = {
        "app": "shop",
        "version": "v7",
        "serve_url": "http://shop/api/rotor",
        "functions": [
            {"id": "a", "triggers": [{"event": "x"}]},
            {"id": "b", "triggers": [{"cron": "@hourly"}], "retries": 0},
        ],
    }
    created = await call("POST", "/v1/apps", manifest)
    again = await call("POST", "/v1/apps", manifest)

    assert created.status == 201
    assert created.json == {"functions": [{"id": "a", "result": "created"}, {"id": "b", "result": "created"}]}
    assert (again.status, {one["result"] for one in again.json["functions"]}) == (200, {"same"})
    function = (await call("GET", "/v1/functions/b")).json
    assert (function["app"], function["version"], function["retries"]) == ("shop", "v7", 0)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "functions"),
        ({"functions": []}, "serve_url"),
        ({"functions": {}, "serve_url": "http://a/"}, "functions"),
        ({"functions": [{"id": "a"}], "serve_url": "http://a/"}, "functions[0].triggers"),
        (
            {"functions": [{"id": "a", "triggers": [{"cron": "x"}]}], "serve_url": "http://a/"},
            "functions[0].triggers[0].cron",
        ),
        ({"functions": [{"id": "a", "triggers": [{"event": "x"}]}], "serve_url": "a"}, "serve_url"),
        ({"functions": [], "serve_url": "http://a/", "version": "\0"}, "version"),
        (
            {
                "functions": [{"id": str(n), "triggers": [{"event": "x"}]} for n in range(1001)],
                "serve_url": "http://a/",
            },
            "functions",
        ),
    ],
)
async def test_what_cannot_be_an_app_is_refused_by_its_field(call: Client, body: object, field: str) -> None:
    refused = await call("POST", "/v1/apps", body)
    assert (refused.status, refused.fields) == (422, [field])
    assert (await call("GET", "/v1/functions")).json["items"] == []


@pytest.mark.parametrize(
    ("host", "what_to_type"),
    [
        *((host, True) for host in ("127.0.0.1", "localhost", "0177.1", "2130706433", "10.1.2.3")),
        ("[::ffff:169.254.169.254]", False),  # metadata of a cloud
    ],
)
async def test_an_address_that_the_server_does_not_call_is_refused_with_what_to_type(
    call: Client, host: str, what_to_type: bool
) -> None:
    serve_url = f"http://{host}:8000/api/rotor"
    one = await call("POST", "/v1/functions", changed(serve_url=serve_url))
    app = {"serve_url": serve_url, "functions": [{"id": "a", "triggers": [{"event": "x"}]}]}
    several = await call("POST", "/v1/apps", app)

    assert [(refused.status, refused.fields) for refused in (one, several)] == [(422, ["serve_url"])] * 2
    assert (f"rotor server --allow-outbound {host}" in one.json["detail"]) is what_to_type
    assert (await call("GET", "/v1/functions")).json["items"] == []
