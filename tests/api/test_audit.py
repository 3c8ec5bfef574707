"""What somebody changes by hand is noted: who, what, to what, from where; with the change, or not at all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from rotor.store import audit, functions, signing_keys
from rotor.store.audit import ACTIONS, Actor, acting
from rotor.store.database import Database
from rotor.store.keys import Keys
from rotor.store.retention import Retention, prune
from rotor.store.store import Store
from rotor.store.workspaces import create, identify
from tests.api.conftest import Client
from tests.store.actors import begin, hold
from tests.store.tables import select, value

FUNCTION = {"id": "f", "serve_url": "http://app/", "trigger_type": "event", "trigger_event": "start f"}


async def entries(call: Client, query: str = "") -> list[dict[str, Any]]:
    answer = await call("GET", f"/v1/audit{query}")
    assert answer.status == 200
    items: list[dict[str, Any]] = answer.json["items"]
    return items


async def test_each_change_over_the_api_is_noted_with_its_key_and_address(
    call: Client, store: Store, database: Database
) -> None:
    await call("POST", "/v1/functions", FUNCTION)
    await call("POST", "/v1/functions", FUNCTION)  # the same again changes nothing
    await call("POST", "/v1/functions/f/pause")
    await call("POST", "/v1/functions/f/resume")
    first, second = [await begin(store) for _ in range(2)]
    await call("POST", f"/v1/runs/{first}/cancel")
    await call("POST", f"/v1/runs/{second}/replay")
    await call("POST", "/v1/signals/go/complete", {"ok": True})
    await call("DELETE", "/v1/functions/f")

    found = await entries(call)
    assert [(one["action"], one["target"]) for one in reversed(found)] == [
        ("function.registered", "f"),
        ("function.paused", "f"),
        ("function.resumed", "f"),
        ("run.cancelled", str(first)),
        ("run.replayed", str(second)),
        ("signal.completed", "go"),
        ("function.deleted", "f"),
    ]
    (key,) = await Keys(database).list(workspace="default")
    assert {(one["actor"], one["key_id"], one["address"]) for one in found} == {("tests", str(key.id), "127.0.0.1")}
    assert [one["target"] for one in await entries(call, "?action=function.paused")] == ["f"]


async def test_what_is_refused_or_changes_nothing_is_not_noted(call: Client) -> None:
    await call("POST", "/v1/functions", {**FUNCTION, "serve_url": "http://127.0.0.1/"})
    for method, path in [
        ("POST", "/v1/functions/f/pause"),
        ("DELETE", "/v1/functions/f"),
        ("POST", f"/v1/runs/{UUID(int=1)}/cancel"),
        ("POST", f"/v1/runs/{UUID(int=1)}/replay"),
    ]:
        assert (await call(method, path)).status == 404
    await call("POST", "/v1/signals/go/complete", 1)
    assert (await call("POST", "/v1/signals/go/complete", 2)).status == 409
    assert [one["action"] for one in await entries(call)] == ["signal.completed"]


async def test_an_entry_and_its_change_are_one(
    call: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise OSError("the connection is gone")

    monkeypatch.setattr(audit, "record", fail)
    assert (await call("POST", "/v1/functions", FUNCTION)).status == 503
    assert (await call("POST", "/v1/signals/go/complete", 1)).status == 503
    assert await value(database, "SELECT (SELECT count(*) FROM functions) + (SELECT count(*) FROM signals)") == 0


async def test_a_workspace_reads_its_own_log_alone_and_by_an_admin(
    call: Client, other: Client, database: Database
) -> None:
    await call("POST", "/v1/functions", FUNCTION)
    assert len(await entries(call)) == 1
    assert await entries(other) == []
    weaker = await Keys(database).create(scopes=["send", "read", "operate"])
    assert (await Client(call.session, call.url, weaker.key)("GET", "/v1/audit")).status == 403


async def test_pages_go_back_in_time(call: Client) -> None:
    for number in range(5):
        await call("POST", f"/v1/signals/{number}/complete", 1)
    seen, cursor = [], ""
    while True:
        answer = (await call("GET", f"/v1/audit?limit=2{cursor}")).json
        seen.append([one["target"] for one in answer["items"]])
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"
    assert seen == [["4", "3"], ["2", "1"], ["0"]]
    assert (await call("GET", "/v1/audit?cursor=x")).fields == ["cursor"]
    assert (await call("GET", "/v1/audit?since=soon")).fields == ["since"]
    assert await entries(call, "?since=2100-01-01T00:00:00Z") == []


async def test_what_is_done_to_keys_and_workspaces_is_noted(database: Database) -> None:
    token = acting.set(Actor("ada on the command line"))
    try:
        await create(database, "acme")
        await create(database, "acme")
        key = await Keys(database).create(workspace="acme", name="a")
        await Keys(database).revoke(key.id)
        await signing_keys.SigningKeys(database).rotate(workspace="acme")
    finally:
        acting.reset(token)
    page = await audit.page(database, await identify(database, "acme"), items_max=10)
    assert [(one.action, one.target) for one in reversed(page.items)] == [
        ("workspace.created", "acme"),
        ("key.created", str(key.id)),
        ("key.revoked", str(key.id)),
        ("signing_key.rotated", "acme"),
    ]
    assert {(one.actor, one.key_id, one.address) for one in page.items} == {("ada on the command line", None, None)}
    assert key.key not in str(page.items)


async def test_what_nobody_does_by_hand_is_not_noted(store: Store) -> None:
    await hold(store)
    await functions.pause(store.database, 1, "f")
    assert await select(store.database, "SELECT * FROM audit_log") == []


async def test_entries_go_when_they_are_old(call: Client, database: Database) -> None:
    await call("POST", "/v1/signals/go/complete", 1)
    database.advance(timedelta(days=364))
    await prune(database, Retention())
    assert len(await entries(call)) == 1
    database.advance(timedelta(days=2))
    await prune(database, Retention())
    assert await entries(call) == []


def test_every_action_is_explained() -> None:
    from tests.test_reference import first_cells, page

    assert set(first_cells(page("operate/audit.md"))) == set(ACTIONS)
