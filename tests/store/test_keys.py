"""API keys are shown once, found by their hash, and refused once revoked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from rotor.store.database import Database
from rotor.store.keys import Keys
from rotor.store.problems import Invalid, NotFound
from rotor.store.scopes import EVERYTHING, SCOPES, Caller, Scope
from rotor.store.workspaces import identify


async def test_a_key_speaks_for_its_workspace(database: Database) -> None:
    keys = Keys(database)
    ours = await keys.create(name="laptop")
    theirs = await keys.create(workspace="acme")

    assert ours.key.startswith("rk_")
    assert await keys.authenticate(ours.key) == Caller(
        await identify(database), "default", EVERYTHING, ours.id, "laptop"
    )
    assert await keys.authenticate(theirs.key) == Caller(
        await identify(database, "acme"), "acme", EVERYTHING, theirs.id
    )


async def test_only_the_hash_of_a_key_is_kept(database: Database) -> None:
    created = await Keys(database).create()

    async with database.connection() as connection:
        row = await connection.raw.fetchrow("SELECT * FROM api_keys")
    assert row is not None
    assert created.key not in str(dict(row))
    assert created.key.split("_", 2)[2] not in str(dict(row))


@pytest.mark.parametrize(
    "key", ["", "rk_", "rk_12345678_nothing", "rk_\0", "rk_\ud800", "Bearer", "rk_" + "x" * 100_000]
)
async def test_an_unknown_key_speaks_for_nobody(database: Database, key: str) -> None:
    assert await Keys(database).authenticate(key) is None


async def test_a_revoked_key_is_refused_at_once_by_the_process_that_revoked_it(database: Database) -> None:
    keys = Keys(database)
    created = await keys.create()
    assert await keys.authenticate(created.key) is not None

    await keys.revoke(created.id)

    assert await keys.authenticate(created.key) is None
    (listed,) = await keys.list()
    assert listed.revoked_at is not None


async def test_revoking_twice_keeps_the_first_time(database: Database) -> None:
    keys = Keys(database)
    created = await keys.create()
    await keys.revoke(created.id)
    (first,) = await keys.list()
    database.advance(timedelta(hours=1))

    await keys.revoke(created.id)

    assert await keys.list() == [first]


async def test_revoking_an_unknown_key_says_so(database: Database) -> None:
    with pytest.raises(NotFound, match="no API key"):
        await Keys(database).revoke(uuid4())


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_key_may_what_its_scopes_say_and_admin_may_everything(database: Database, scope: Scope) -> None:
    caller = await Keys(database).authenticate((await Keys(database).create(scopes=[scope])).key)

    assert caller is not None
    assert {one for one in SCOPES if caller.may(one)} == (set(SCOPES) if scope == "admin" else {scope})


async def test_a_key_holds_until_it_expires(database: Database) -> None:
    created = await Keys(database).create(expires_in=timedelta(days=1))
    (listed,) = await Keys(database).list()
    assert await Keys(database).authenticate(created.key) is not None
    assert not listed.expired

    database.advance(timedelta(days=1))

    assert await Keys(database).authenticate(created.key) is None
    (listed,) = await Keys(database).list()
    assert listed.expired
    assert listed.revoked_at is None


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"expires_in": timedelta()}, "expires_in"),
        ({"expires_in": timedelta(days=10_000)}, "expires_in"),
    ],
)
async def test_a_key_that_would_allow_nothing_or_end_never_is_not_made(
    database: Database, wrong: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await Keys(database).create(**wrong)
    assert [at for at, _ in refused.value.errors] == [field]
    assert await Keys(database).list() == []


async def test_the_last_use_is_noted_at_most_once_a_minute(database: Database) -> None:
    created = await Keys(database).create()

    async def last_use_after_a_call() -> object:
        # Each process remembers for a second: a new one asks the database.
        await Keys(database).authenticate(created.key)
        (listed,) = await Keys(database).list()
        return listed.last_used_at

    first = await last_use_after_a_call()
    assert first is not None
    database.advance(timedelta(seconds=30))
    assert await last_use_after_a_call() == first
    database.advance(timedelta(seconds=31))
    assert await last_use_after_a_call() != first


async def test_keys_are_listed_by_workspace_newest_first(database: Database) -> None:
    keys = Keys(database)
    names = [(await keys.create(name=name, workspace="acme")).id for name in ("a", "b")]
    await keys.create()

    assert [key.id for key in await keys.list(workspace="acme")] == names[::-1]
    assert len(await keys.list()) == 3


async def test_every_key_of_a_workspace_comes_with_the_same_signing_key(database: Database) -> None:
    keys = Keys(database)
    first, second, other = [await keys.create(workspace=name) for name in ("a", "a", "b")]

    assert first.signing_key.startswith("whsec_")
    assert first.signing_key == second.signing_key
    assert other.signing_key != first.signing_key


@pytest.mark.parametrize(
    ("name", "workspace", "field"),
    [("\0", "default", "name"), ("x" * 257, "default", "name"), ("", "", "workspace"), ("", "a\0", "workspace")],
)
async def test_a_name_that_cannot_be_kept_is_refused(database: Database, name: str, workspace: str, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        await Keys(database).create(name=name, workspace=workspace)
    assert [at for at, _ in refused.value.errors] == [field]
    assert await Keys(database).list() == []
