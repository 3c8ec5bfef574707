"""A database that all is well with has no finding, and each invariant that is broken by hand is one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from rotor.store.database import Database
from rotor.store.doctor import check
from rotor.store.signals import complete
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, begin, fire_deadlines, match, send, serve
from tests.store.tables import change, value


@pytest.fixture
async def busy(database: Database) -> AsyncIterator[Database]:
    """A database with runs and steps in every state that there is."""
    store = Store.on(database)
    store.start()
    await serve(store, "f", "child")
    holder = await Holder.connect(store)
    for end in (messages.completed, messages.parked, None, messages.released):
        run = str(await begin(store))
        await holder.take()
        await holder.say(
            messages.done(run, "done"),
            messages.started(run, "begun"),
            messages.failed(run, "flaky", retry_after_seconds=3600),
            messages.sleeps(run, "nap", 3600),
            messages.awaits_event(run, "event", "opened", equals={"data.run": run}),
            messages.awaits_signal(run, "gate", f"s-{run}"),
            messages.invokes(run, "sub", "child"),
        )
        if end is not None:
            await holder.say(end(run))
    await begin(store)
    now = await value(database, "SELECT rotor_now()")
    await send(store, "deferred", ts=now + timedelta(hours=2))
    await complete(store, 1, "early", b"1")
    await match(store)
    yield database
    await store.stop()


async def kinds(database: Database) -> set[str]:
    return {finding.kind for finding in await check(database)}


async def test_a_database_at_work_has_no_finding(busy: Database) -> None:
    assert await check(busy) == []


async def test_a_fresh_database_has_no_finding(database: Database) -> None:
    assert await check(database) == []


WAITING = "(SELECT id FROM runs WHERE status = 'waiting')"
BREAKS = {
    "run waits for nothing": f"DELETE FROM waits WHERE run_id IN {WAITING}",
    "lease is gone": "DELETE FROM leases",
    "wait without run": f"""
        UPDATE runs SET status = 'completed', ended_at = rotor_now(), due_at = NULL WHERE id IN {WAITING}""",
    "wait without step": f"DELETE FROM steps WHERE id = 'nap' AND run_id IN {WAITING}",
    "step without wait": f"DELETE FROM waits WHERE step_id = 'nap' AND run_id IN {WAITING}",
    "open step of an ended run": """
        UPDATE steps SET status = 'running', ended_at = NULL
        WHERE id = 'done' AND run_id IN (SELECT id FROM runs WHERE status = 'completed')""",
    "deadline passed over": "UPDATE waits SET deadline = rotor_now() - interval '2 minutes' WHERE step_id = 'nap'",
    "delivery passed over": """
        INSERT INTO deliveries (due_at, deferred, since, workspace_ids, event_ids)
        VALUES (rotor_now() + interval '15 seconds', false, rotor_now() - interval '2 minutes', '{1}', '{e}')""",
    "look back passed over": """
        WITH old AS (UPDATE steps SET started_at = rotor_now() - interval '2 minutes' WHERE id = 'event')
        UPDATE waits SET unlooked = true WHERE step_id = 'event'""",
    "deferred event forgotten": """
        WITH gone AS (DELETE FROM deliveries)
        UPDATE events SET ts = rotor_now() - interval '2 minutes' WHERE name = 'deferred'""",
    "cancellation passed over": """
        UPDATE runs SET cancel_requested_at = rotor_now() - interval '2 minutes' WHERE status = 'waiting'""",
    "run without function": "DELETE FROM functions WHERE id = 'f'",
    "child of a cancelled run": f"""
        UPDATE runs SET status = 'cancelled', ended_at = rotor_now() - interval '2 minutes' WHERE id IN {WAITING}""",
    "child ended unheard": f"""
        UPDATE runs SET status = 'completed', ended_at = rotor_now(), due_at = NULL WHERE parent_run_id IN {WAITING}""",
    "child missing": f"DELETE FROM runs WHERE parent_run_id IN {WAITING}",
    "signal without wait": f"DELETE FROM waits WHERE step_id = 'gate' AND run_id IN {WAITING}",
    "wait without signal": "DELETE FROM signals WHERE run_id IS NOT NULL",
    "signal passed over": """
        UPDATE signals SET data = '1', completed_at = rotor_now() - interval '2 minutes' WHERE run_id IS NOT NULL""",
    "run without event": "DELETE FROM events WHERE name = 'start f'",
}


@pytest.mark.parametrize("kind", BREAKS)
async def test_an_invariant_that_is_broken_is_found(busy: Database, kind: str) -> None:
    await change(busy, BREAKS[kind])

    assert kind in await kinds(busy)


async def test_every_finding_names_its_subject_and_what_it_means(busy: Database) -> None:
    for statement in BREAKS.values():
        await change(busy, statement)

    for finding in await check(busy):
        assert finding.subject
        assert len(finding.message) > 10


async def test_what_is_late_is_found_after_a_minute_and_no_earlier(busy: Database) -> None:
    busy.advance(timedelta(seconds=3600 + 50))
    assert "deadline passed over" not in await kinds(busy)
    busy.advance(timedelta(seconds=20))
    assert "deadline passed over" in await kinds(busy)
    store = Store.on(busy)
    store.start()
    while "deadline passed over" in await kinds(busy):
        await fire_deadlines(store)
    await store.stop()
