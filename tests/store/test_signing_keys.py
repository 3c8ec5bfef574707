"""A workspace always has a signing key; a rotation lets the old one live until the next."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from rotor.store.database import Database
from rotor.store.problems import NotFound
from rotor.store.signing_keys import SigningKeys
from rotor.store.tokens import Tokens
from rotor.store.workspaces import identify


async def test_a_workspace_without_a_key_gets_one_and_only_one(database: Database) -> None:
    workspace_id = await identify(database)
    assert await SigningKeys(database).of(workspace_id) == []

    made = await asyncio.gather(*(SigningKeys(database).ensure(workspace_id) for _ in range(5)))

    assert len({tuple(keys) for keys in made}) == 1
    assert await SigningKeys(database).of(workspace_id) == made[0]


async def test_a_rotation_keeps_the_key_before_it_and_ends_older_ones(database: Database) -> None:
    workspace_id = await identify(database)
    keys = SigningKeys(database)
    (first,) = await keys.ensure(workspace_id)

    second = await keys.rotate()
    assert await keys.of(workspace_id) == [second, first]
    third = await keys.rotate()
    assert await keys.of(workspace_id) == [third, second]


async def test_rotating_the_key_of_an_unknown_workspace_says_so(database: Database) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        await SigningKeys(database).rotate(workspace="nowhere")


async def test_a_token_speaks_for_its_run_and_lease_alone(database: Database) -> None:
    workspace_id = await identify(database)
    tokens = Tokens(SigningKeys(database))
    run_id, lease_id = uuid4(), uuid4()

    token = await tokens.issue(workspace_id, run_id, lease_id)

    assert await tokens.verify(token) == (workspace_id, str(run_id), lease_id)
    assert await tokens.verify(token.replace(str(run_id), str(uuid4()))) is None
    assert await tokens.verify(token.replace(lease_id.hex, uuid4().hex)) is None
    assert await tokens.verify(token.replace(f"rt_{workspace_id}_", f"rt_{workspace_id + 1}_")) is None


async def test_a_token_outlives_one_rotation(database: Database) -> None:
    workspace_id = await identify(database)
    keys = SigningKeys(database)
    tokens = Tokens(keys)
    run_id, lease_id = uuid4(), uuid4()
    token = await tokens.issue(workspace_id, run_id, lease_id)

    await keys.rotate()
    assert await tokens.verify(token) == (workspace_id, str(run_id), lease_id)
    await keys.rotate()
    assert await tokens.verify(token) is None


RUN, LEASE = str(UUID(int=0)), UUID(int=0).hex


@pytest.mark.parametrize(
    "token",
    [
        "",
        "rt",
        "rt_1_2_3_4",
        f"rt_x_{RUN}_{LEASE}_a",
        f"rt_1_{RUN}_{'z' * 32}_a",
        f"rt_1_{RUN}0_{LEASE}_a",
        f"rt_٣_{RUN}_{LEASE}_a",
        f"rt_1_{RUN}_{LEASE}_ä",
        f"rt_1_{RUN}_{LEASE}_a",
        f"rk_1_{RUN}_{LEASE}_a",
    ],
)
async def test_what_is_no_token_is_refused(database: Database, token: str) -> None:
    assert await Tokens(SigningKeys(database)).verify(token) is None


async def test_a_forged_workspace_makes_no_key(database: Database) -> None:
    forged = f"rt_987654_{uuid4()}_{uuid4().hex}_{'0' * 64}"
    assert await Tokens(SigningKeys(database)).verify(forged) is None
    async with database.connection() as connection:
        assert await connection.raw.fetchval("SELECT count(*) FROM signing_keys") == 0
