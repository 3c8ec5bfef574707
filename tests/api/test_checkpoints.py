"""Only the holder of a run's lease commits to it over HTTP, and only what it signed."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from rotor import limits
from rotor.api.app import create_app
from rotor.api.settings import ApiSettings
from rotor.protocol.signing import generate_key, sign
from rotor.store import leases, workspaces
from rotor.store.database import Database
from rotor.store.keys import Keys
from rotor.store.signing_keys import SigningKeys
from rotor.store.store import Store
from rotor.store.tokens import Tokens
from tests.api.conftest import Answered, Client, echo, serving
from tests.store.rows import BEGINNING, put, put_event, put_run


class Holder:
    """One invocation of a run over HTTP."""

    def __init__(self, anyone: Client, run_id: UUID, token: str, signing_key: str) -> None:
        self.anyone = anyone
        self.run_id = run_id
        self.token = token
        self.signing_key = signing_key

    async def commit(self, *messages: Any, **changes: str | None) -> Answered:
        """Send a checkpoint; `changes` replace headers, or leave them out, and `key` the signing key."""
        return await self.send(json.dumps([self.checkpoint(*messages)]).encode(), changes)

    def checkpoint(self, *messages: Any) -> dict[str, Any]:
        return {"token": self.token, "messages": messages}

    async def send(self, body: bytes, changes: dict[str, str | None] | None = None) -> Answered:
        changes = dict(changes or {})
        signed = sign(
            body, message_id="m1", timestamp=int(time.time()), keys=[changes.pop("key", None) or self.signing_key]
        )
        headers = {"Authorization": f"Bearer {self.token}", **signed}
        for name, value in changes.items():
            headers.pop(name.replace("_", "-"), None)
            if value is not None:
                headers[name.replace("_", "-")] = value
        return await self.anyone("POST", "/v1/checkpoints", raw=body, headers=headers)

    def done(self, n: int, step_id: str, output: Any = None) -> dict[str, Any]:
        return {
            "type": "step_done",
            "run_id": str(self.run_id),
            "n": n,
            "id": step_id,
            "index": 0,
            "op": "run",
            "output": output,
        }


async def hold(anyone: Client, database: Database) -> Holder:
    """Claim a run by an invocation's lease."""
    workspace_id, lease_id = 1, uuid4()
    await put_event(database, "e1")
    await put(
        database,
        "leases",
        id=lease_id,
        workspace_id=workspace_id,
        kind="invocation",
        holder="http://app/",
        slots=1,
        expires_at=BEGINNING.replace(year=2999),
    )
    run_id = await put_run(database, status="running", lease_id=lease_id)
    keys = SigningKeys(database)
    (signing_key,) = await keys.ensure(workspace_id)
    return Holder(anyone, run_id, await Tokens(keys).issue(workspace_id, run_id, lease_id), signing_key)


@pytest.fixture
async def holder(anyone: Client, database: Database) -> Holder:
    return await hold(anyone, database)


async def steps(call: Client, holder: Holder) -> list[Any]:
    shown: list[Any] = (await call("GET", f"/v1/runs/{holder.run_id}")).json["steps"]
    return shown


async def test_a_step_is_committed_and_acknowledged(call: Client, holder: Holder) -> None:
    committed = await holder.commit(holder.done(1, "fetch", {"x": 1}))

    assert committed.status == 200
    ((answer,),) = committed.json
    assert (answer["type"], answer["runs"]) == ("committed", {str(holder.run_id): [1]})
    (step,) = await steps(call, holder)
    assert (step["id"], step["status"], step["output"]) == ("fetch", "completed", {"x": 1})


async def test_one_request_holds_checkpoints_of_many_runs_and_answers_each(
    call: Client, holder: Holder, database: Database
) -> None:
    lease_id = await database.pool.fetchval("SELECT id FROM leases")
    over = await put_run(database, status="running")
    token = await Tokens(SigningKeys(database)).issue(1, over, lease_id)
    stale = {"token": token, "messages": [{**holder.done(1, "fetch"), "run_id": str(over)}]}
    answered = await holder.send(json.dumps([stale, holder.checkpoint(holder.done(1, "fetch"))]).encode())

    ((dropped,), (committed,)) = answered.json
    assert (dropped["type"], dropped["run_id"]) == ("drop_run", str(over))
    assert (committed["type"], committed["runs"]) == ("committed", {str(holder.run_id): [1]})
    assert len(await steps(call, holder)) == 1


async def test_a_request_holds_so_many_checkpoints_and_messages(
    call: Client, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MESSAGES_PER_FRAME", 2)
    three = [holder.done(n, f"step {n}") for n in (1, 2, 3)]
    for checkpoints in ([holder.checkpoint()] * 3, [holder.checkpoint(*three[:2]), holder.checkpoint(three[2])]):
        refused = await holder.send(json.dumps(checkpoints).encode())
        assert (refused.status, refused.fields) == (422, ["body"])
        assert "MESSAGES_PER_FRAME" in refused.json["errors"][0]["message"]
    assert await steps(call, holder) == []


async def test_an_empty_checkpoint_announces_the_invocation(holder: Holder, database: Database) -> None:
    lease_id = await database.pool.fetchval("SELECT id FROM leases")
    await database.pool.execute("UPDATE leases SET connection = 0")
    assert not await leases.has_begun(database, lease_id)

    assert (await holder.commit()).json == [[]]
    assert await leases.has_begun(database, lease_id)


async def test_the_same_frame_again_changes_nothing(call: Client, holder: Holder) -> None:
    await holder.commit(holder.done(1, "fetch", 1))
    again = await holder.commit(holder.done(1, "fetch", 2))
    assert again.status == 200
    assert [step["output"] for step in await steps(call, holder)] == [1]


async def test_without_its_token_nothing_is_committed(
    call: Client, holder: Holder, key: str, database: Database
) -> None:
    for change in (None, "Bearer ", f"Bearer {key}", "Bearer rt_1_2_3", f"Bearer {holder.token}x"):
        refused = await holder.commit(holder.done(1, "fetch"), Authorization=change)
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    genuine = holder.checkpoint(holder.done(1, "fetch"))
    for token in ("", "rt_1_2_3_4", f"{holder.token}x", await token_elsewhere(database)):
        refused = await holder.send(json.dumps([genuine, {**genuine, "token": token}]).encode())
        assert (refused.status, refused.json["detail"][:9]) == (401, "[1].token")
    assert await steps(call, holder) == []


async def token_elsewhere(database: Database) -> str:
    """A genuine token of a run of another workspace."""
    await Keys(database).create(workspace="another")
    workspace_id = await workspaces.identify(database, "another")
    return await Tokens(SigningKeys(database)).issue(workspace_id, uuid4(), uuid4())


async def test_a_token_writes_to_its_run_alone(call: Client, holder: Holder, database: Database) -> None:
    other = await put_run(database, status="running")
    foreign = {**holder.done(2, "fetch"), "run_id": str(other)}
    refused = await holder.commit(holder.done(1, "fetch"), foreign)
    assert (refused.status, refused.fields) == (422, ["[0].messages[1].run_id"])
    assert await steps(call, holder) == []


@pytest.mark.parametrize(
    "change",
    [
        {"webhook_signature": None},
        {"webhook_id": None},
        {"webhook_timestamp": None},
        {"webhook_id": "m2"},
        {"webhook_timestamp": "1"},
        {"webhook_signature": "v1,AAAA"},
        {"key": generate_key()},
    ],
)
async def test_without_its_signature_nothing_is_committed(
    call: Client, holder: Holder, change: dict[str, str | None]
) -> None:
    assert (await holder.commit(holder.done(1, "fetch"), **change)).status == 401
    assert await steps(call, holder) == []


async def test_either_key_of_a_rotation_signs(
    holder: Holder, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotated = await SigningKeys(database).rotate()
    monkeypatch.setattr("rotor.store.recent.monotonic", lambda: float("inf"))
    assert (await holder.commit(holder.done(1, "a"))).status == 200
    assert (await holder.commit(holder.done(2, "b"), key=rotated)).status == 200


async def test_a_lost_lease_commits_nothing(call: Client, holder: Holder, database: Database) -> None:
    async with database.connection() as connection:
        await connection.raw.execute("UPDATE runs SET lease_id = $2 WHERE id = $1", holder.run_id, uuid4())
    answered = await holder.commit(holder.done(1, "fetch"))
    assert [message["type"] for message in answered.json[0]] == ["drop_run"]
    assert await steps(call, holder) == []


@pytest.mark.parametrize(
    ("raw", "status", "field"),
    [
        (b"", 400, "body"),
        (b"{}", 422, "body"),
        (b"[1]", 422, "[0]"),
        (b"[{}]", 422, "[0].token"),
        (b'[{"token":"t","messages":[{}]}]', 422, "[0].messages[0].type"),
        (b'[{"token":"t","messages":[{"type":"no_such"}]}]', 422, "[0].messages[0].type"),
        (b'[{"token":"t","messages":[{"type":"step_done"}]}]', 422, "[0].messages[0].run_id"),
        (b'[{"token":"t","messages":[{"type":"run_completed","output":NaN}]}]', 400, "[0].messages[0].output"),
    ],
)
async def test_what_is_no_checkpoint_is_refused_by_its_field(
    holder: Holder, raw: bytes, status: int, field: str
) -> None:
    refused = await holder.send(raw)
    assert (refused.status, refused.fields) == (status, [field])


async def test_a_developers_app_needs_the_token_alone_but_what_it_signs_must_hold(
    store: Store, session: aiohttp.ClientSession, database: Database
) -> None:
    async with serving(create_app(store, settings=ApiSettings(keys_required=False), connect=echo), store) as url:
        holder = await hold(Client(session, url, None), database)
        unsigned: dict[str, str | None] = {"webhook_id": None, "webhook_timestamp": None, "webhook_signature": None}
        assert (await holder.commit(holder.done(1, "a"), **unsigned)).status == 200
        assert (await holder.commit(holder.done(2, "b"), key=generate_key())).status == 401
        assert (await holder.commit(holder.done(2, "b"), Authorization=None)).status == 401


async def test_a_workspaces_key_comes_with_the_signing_key_that_holds(holder: Holder, database: Database) -> None:
    assert (await Keys(database).create()).signing_key == holder.signing_key


async def test_a_message_that_cannot_be_kept_is_refused_and_the_others_are_not(call: Client, holder: Holder) -> None:
    answered = await holder.commit(holder.done(1, "a"), holder.done(2, "b\0"), holder.done(3, "c"))
    ((committed, refused),) = answered.json
    assert committed["runs"] == {str(holder.run_id): [1, 3]}
    assert (refused["type"], refused["n"]) == ("refused", 2)
    assert [step["id"] for step in await steps(call, holder)] == ["a", "c"]


@pytest.mark.parametrize("settled", [-1, "1", 10**10])
async def test_a_count_of_settled_waits_that_is_none_is_refused(holder: Holder, settled: Any) -> None:
    checkpoint = {**holder.checkpoint(holder.done(1, "a")), "settled": settled}
    answered = await holder.send(json.dumps([checkpoint]).encode())
    assert (answered.status, answered.fields) == (422, ["[0].settled"])
