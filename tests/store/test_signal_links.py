"""A link completes one signal of one workspace, once, until its time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotor.store.database import Database
from rotor.store.keys import Keys
from rotor.store.problems import Conflict, Invalid
from rotor.store.retention import Retention, prune
from rotor.store.signal_links import SignalLinks, _parse
from rotor.store.signals import Completion, complete
from rotor.store.signing_keys import SigningKeys
from rotor.store.store import Store

HOUR = timedelta(hours=1)


@pytest.fixture
def links(store: Store) -> SignalLinks:
    return SignalLinks(store.database)


async def made(links: SignalLinks, signal_id: str = "gate", workspace_id: int = 1) -> str:
    return (await links.make(workspace_id, signal_id, HOUR))[0]


@pytest.mark.parametrize("signal_id", ["gate", "a_b_c", "é/ü ?#", "x" * 256])
async def test_a_link_stands_for_its_signal(links: SignalLinks, signal_id: str) -> None:
    link = await links.find(await made(links, signal_id))

    assert link is not None
    assert (link.workspace_id, link.signal_id) == (1, signal_id)
    assert not await links.is_used(link)


async def test_a_guessed_link_does_not_ask_the_database_for_the_time(
    links: SignalLinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetchval(statement: str) -> None:
        raise AssertionError(f"{statement} is asked for")

    token = await made(links)
    guessed = token[:-1] + ("1" if token.endswith("0") else "0")
    monkeypatch.setattr(links._database, "fetchval", fetchval)

    assert await links.find(guessed) is None


async def test_a_link_completes_its_signal_once(store: Store, links: SignalLinks) -> None:
    link = await links.find(await made(links))
    assert link is not None

    outcomes = await asyncio.gather(
        *(links.complete(store, link, b"%d" % number) for number in range(5)), return_exceptions=True
    )

    assert outcomes.count(Completion(None, delivered=False)) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 4
    assert await links.is_used(link)


async def test_a_link_stays_used_up_after_its_signal_is_forgotten(store: Store, links: SignalLinks) -> None:
    token, _ = await links.make(1, "gate", timedelta(days=30))
    link = await links.find(token)
    assert link is not None
    await links.complete(store, link, b"1")
    store.database.advance(timedelta(days=10))
    assert (await prune(store.database, Retention())).gone == 1

    with pytest.raises(Conflict, match="used before"):
        await links.complete(store, link, b"2")

    store.database.advance(timedelta(days=30))
    assert (await prune(store.database, Retention())).gone == 1
    assert await links.find(token) is None


async def test_a_link_is_of_no_use_once_the_signal_is_completed_otherwise(store: Store, links: SignalLinks) -> None:
    link = await links.find(await made(links))
    assert link is not None
    await complete(store, 1, "gate", b"1")

    assert await links.is_used(link)
    with pytest.raises(Conflict):
        await links.complete(store, link, b"2")


async def test_a_link_ends_with_its_time(store: Store, links: SignalLinks) -> None:
    token = await made(links)
    store.database.advance(HOUR - timedelta(seconds=10))
    assert await links.find(token) is not None
    store.database.advance(timedelta(seconds=20))
    assert await links.find(token) is None


async def test_a_link_outlives_one_rotation_of_the_signing_key(database: Database) -> None:
    token = await made(SignalLinks(database))
    keys = SigningKeys(database)
    await keys.rotate()
    assert await SignalLinks(database).find(token) is not None
    await keys.rotate()
    assert await SignalLinks(database).find(token) is None


async def test_a_link_that_was_altered_is_none(database: Database, links: SignalLinks) -> None:
    await Keys(database).create(workspace="two")
    token, other = await made(links), await made(links, "other")
    _, workspace, expiry, named, mac = token.split("_")
    altered = [
        f"rl_2_{expiry}_{named}_{mac}",
        f"rl_01_{expiry}_{named}_{mac}",
        f"rl_{workspace}_{int(expiry) + 1}_{named}_{mac}",
        f"rl_{workspace}_{expiry}_{other.split('_')[3]}_{mac}",
        f"rl_{workspace}_{expiry}_{named}_{'0' * 64}",
        f"rl_{workspace}_{expiry}_{named}_",
        token[:-1],
        token + "0",
        token.upper(),
        "",
        "rl_",
    ]
    assert [one for one in altered if await links.find(one) is not None] == []
    assert await links.find(token) is not None


@given(st.one_of(st.text(), st.from_regex(r"rl_[0-9]{0,20}_[0-9]{0,20}_[\w\-]*_[0-9a-f]*")))
def test_whatever_is_given_for_a_token_is_a_link_or_none(token: str) -> None:
    link = _parse(token)
    assert link is None or (link.workspace_id >= 0 and 0 < len(link.signal_id) <= 256)


@pytest.mark.parametrize(
    ("signal_id", "expires_in", "field"),
    [
        ("", HOUR, "signal_id"),
        ("x" * 257, HOUR, "signal_id"),
        ("gate", timedelta(), "expires_in"),
        ("gate", timedelta(days=10_000), "expires_in"),
    ],
)
async def test_a_link_that_cannot_be_is_not_made(
    links: SignalLinks, signal_id: str, expires_in: timedelta, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await links.make(1, signal_id, expires_in)
    assert [at for at, _ in refused.value.errors] == [field]
