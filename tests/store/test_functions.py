"""Functions are registered all or none, and a registration knows what it changed."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from rotor import limits
from rotor.protocol.messages import FunctionSpec, Trigger
from rotor.store import functions
from rotor.store.database import Database
from rotor.store.pages import encode_cursor
from rotor.store.problems import Invalid, NotFound
from rotor.store.store import Store
from tests.store.rows import put_run


def function(function_id: str = "welcome", *triggers: Trigger, retries: int = 3) -> FunctionSpec:
    given = list(triggers) or [Trigger(event="user.created")]
    return FunctionSpec(id=function_id, triggers=given, retries=retries)


async def outcomes(database: Database, *specs: FunctionSpec, serve_url: str | None = None) -> list[str]:
    return [one.result for one in await functions.register(database, 1, specs, serve_url=serve_url)]


async def test_a_registration_says_what_it_created_changed_and_left(database: Database) -> None:
    assert await outcomes(database, function("a"), function("b")) == ["created", "created"]
    assert await outcomes(database, function("a"), function("b", retries=9)) == ["same", "changed"]
    assert await outcomes(database, function("a"), serve_url="http://app/api/rotor") == ["changed"]
    assert await outcomes(database, function("a", Trigger(event="user.deleted"))) == ["changed"]


async def test_what_stays_the_same_is_not_written(database: Database) -> None:
    await outcomes(database, function())
    before = await functions.get(database, 1, "welcome")
    database.advance(timedelta(hours=1))

    await outcomes(database, function())
    assert await functions.get(database, 1, "welcome") == before
    await outcomes(database, function(retries=1))
    changed = await functions.get(database, 1, "welcome")
    assert changed.created_at == before.created_at
    assert changed.updated_at > before.updated_at


async def test_triggers_are_replaced_as_a_whole_and_keep_their_order(database: Database) -> None:
    first, second = Trigger(event="a", match='data.x == "1"'), Trigger(cron="0 9 * * 1", timezone="Europe/Paris")
    await outcomes(database, function("f", first, second))
    await outcomes(database, function("f", second, Trigger(event="b")))

    found = await functions.get(database, 1, "f")

    assert [(trigger.event, trigger.match, trigger.cron) for trigger in found.triggers] == [
        (None, None, "0 9 * * 1"),
        ("b", None, None),
    ]


async def test_a_cron_is_due_by_the_databases_clock_in_its_time_zone(database: Database) -> None:
    async with database.connection() as connection:
        now: datetime = await connection.raw.fetchval("SELECT rotor_now()")
    database.advance(datetime(2027, 1, 15, 12, tzinfo=UTC) - now)

    await outcomes(database, function("f", Trigger(cron="0 9 * * *", timezone="Europe/Paris")))

    (trigger,) = (await functions.get(database, 1, "f")).triggers
    assert trigger.next_at == datetime(2027, 1, 16, 8, tzinfo=UTC)


async def test_registering_again_skips_no_fire_of_a_cron(database: Database) -> None:
    hourly = Trigger(cron="0 * * * *")
    await outcomes(database, function("f", hourly))
    (before,) = (await functions.get(database, 1, "f")).triggers
    database.advance(timedelta(hours=3))

    await outcomes(database, function("f", Trigger(event="also"), hourly, retries=7))

    _, after = (await functions.get(database, 1, "f")).triggers
    assert after.next_at == before.next_at


async def test_one_bad_function_keeps_all_from_being_registered(database: Database) -> None:
    with pytest.raises(Invalid) as refused:
        await outcomes(database, function("good"), function("bad", Trigger(cron="whenever")))
    assert [field for field, _ in refused.value.errors] == ["functions[1].triggers[0].cron"]
    assert (await functions.page(database, 1)).items == []


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (function(""), "id"),
        (function("a\0b"), "id"),
        (function("x" * 257), "id"),
        (function(retries=-1), "retries"),
        (function(retries=limits.RETRIES + 1), "retries"),
        (FunctionSpec(id="f", triggers=[]), "triggers"),
        (function("f", *[Trigger(event="e")] * 17), "triggers"),
        (function("f", Trigger()), "triggers[0].event"),
        (function("f", Trigger(event="")), "triggers[0].event"),
        (function("f", Trigger(event="e\0")), "triggers[0].event"),
        (function("f", Trigger(event="e", cron="* * * * *")), "triggers[0].cron"),
        (function("f", Trigger(event="e", timezone="UTC")), "triggers[0].timezone"),
        (function("f", Trigger(event="e", match="data.x ==")), "triggers[0].match"),
        (function("f", Trigger(event="e", match="x" * 1_025)), "triggers[0].match"),
        (function("f", Trigger(event="e", match='data.x == "\0"')), "triggers[0].match"),
        (function("f", Trigger(event="e"), Trigger(cron="61 * * * *")), "triggers[1].cron"),
        (function("f", Trigger(cron="0 0 30 2 *")), "triggers[0].cron"),
        (function("f", Trigger(cron="* * * * * *")), "triggers[0].cron"),
        (function("f", Trigger(cron="1," * 100 + "1 * * * *")), "triggers[0].cron"),
        (function("f", Trigger(cron="* * * * *", timezone="Mars/Olympus")), "triggers[0].timezone"),
        (function("f", Trigger(cron="* * * * *", timezone="../../etc/passwd")), "triggers[0].timezone"),
        (function("f", Trigger(cron="* * * * *", timezone="a\0")), "triggers[0].timezone"),
        (function("f", Trigger(cron="* * * * *", match="true")), "triggers[0].match"),
    ],
)
async def test_what_cannot_be_a_function_is_refused_by_its_field(
    database: Database, spec: FunctionSpec, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await functions.register(database, 1, [spec])
    assert [at for at, _ in refused.value.errors] == [f"functions[0].{field}"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "app",
        "/api/rotor",
        "ftp://app/",
        "http://",
        "http://:80/",
        "http://app:0/",
        "http://app:99999/",
        "http://app:x/",
        "http://me:secret@app/",
        "http://app/#part",
        "http://app/ path",
        "http://app/\0",
        "http://app/\n",
        "http://[::1",
        "javascript:alert(1)",
        "http://app/" + "x" * limits.URL_CHARACTERS,
    ],
)
async def test_what_is_no_url_of_an_app_is_refused(database: Database, url: str) -> None:
    with pytest.raises(Invalid) as refused:
        await functions.register(database, 1, [function()], serve_url=url)
    assert [field for field, _ in refused.value.errors] == ["serve_url"]
    assert "secret" not in str(refused.value)


async def test_one_id_given_twice_is_refused(database: Database) -> None:
    with pytest.raises(Invalid, match="two functions"):
        await functions.register(database, 1, [function("f"), function("f")])


async def test_of_many_who_register_at_once_one_creates(database: Database) -> None:
    results = await asyncio.gather(*(outcomes(database, function("a"), function("b")) for _ in range(8)))
    assert Counter(result for one in results for result in one) == {"created": 2, "same": 14}


async def test_pages_hold_every_function_once(database: Database) -> None:
    await outcomes(database, *(function(f"f{number}") for number in range(5)))
    first = await functions.page(database, 1, items_max=3)
    second = await functions.page(database, 1, items_max=3, cursor=first.next_cursor)
    assert [one.id for one in first.items + second.items] == ["f0", "f1", "f2", "f3", "f4"]
    assert second.next_cursor is None
    for forged in ("?", encode_cursor(("a\0",)), encode_cursor((1,)), encode_cursor(("",))):
        with pytest.raises(Invalid, match="cursor"):
            await functions.page(database, 1, cursor=forged)


async def test_a_function_is_paused_until_it_is_resumed_and_registering_leaves_it_so(database: Database) -> None:
    await outcomes(database, function())
    paused = await functions.pause(database, 1, "welcome")
    database.advance(timedelta(hours=1))

    assert paused.paused_at is not None
    assert (await functions.pause(database, 1, "welcome")).paused_at == paused.paused_at
    await outcomes(database, function(retries=1))
    assert (await functions.get(database, 1, "welcome")).paused_at == paused.paused_at
    assert (await functions.resume(database, 1, "welcome")).paused_at is None


async def test_workspaces_share_no_function(database: Database) -> None:
    async with database.connection() as connection:
        other = await connection.raw.fetchval("INSERT INTO workspaces (name) VALUES ('other') RETURNING id")
    await outcomes(database, function())

    (registered,) = await functions.register(database, other, [function(retries=1)])

    assert registered.result == "created"
    assert (await functions.get(database, 1, "welcome")).retries == 3


async def test_deleting_a_function_cancels_its_open_runs_and_no_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BATCH", 2)
    await outcomes(database, function("doomed"), function("spared"))
    queued = [await put_run(database, function_id="doomed") for _ in range(5)]
    running = await put_run(database, function_id="doomed", status="running")
    completed = await put_run(database, function_id="doomed", status="completed")
    spared = await put_run(database, function_id="spared")
    store = Store.on(database)
    store.start()

    await functions.delete(database, store.committer, 1, "doomed")

    assert {await status(database, run_id) for run_id in queued} == {("cancelled", True)}
    assert await status(database, running) == ("running", True)
    assert await status(database, completed) == ("completed", False)
    assert await status(database, spared) == ("queued", False)
    assert [one.id for one in (await functions.page(database, 1)).items] == ["spared"]
    with pytest.raises(NotFound):
        await functions.delete(database, store.committer, 1, "doomed")
    await store.stop()


async def status(database: Database, run_id: UUID) -> tuple[str, bool]:
    """The run's status, and whether its cancellation was asked for."""
    async with database.connection() as connection:
        row = await connection.raw.fetchrow("SELECT status, cancel_requested_at FROM runs WHERE id = $1", run_id)
    assert row is not None
    return row["status"], row["cancel_requested_at"] is not None
