"""The pulse notices what other servers did, and else asks next to nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from rotor import limits
from rotor.protocol.messages import CancelRun, FunctionSpec, Settled, Trigger
from rotor.services import pulse
from rotor.services.pulse import Pulse
from rotor.store import functions
from rotor.store.cancellation import cancel
from rotor.store.changes import PULSE_SECONDS
from rotor.store.database import Connection
from rotor.store.fresh import HELD_FOR
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, begin, fire_deadlines, hold, send, serve
from tests.store.rows import BEGINNING
from tests.store.tables import change, value
from tests.store.test_schedules import set_clock


class Heard:
    """A pulse, and which loops it has woken."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rescuer, self.scheduler = asyncio.Event(), asyncio.Event()
        self.pulse = Pulse(store, rescuer=self.rescuer, scheduler=self.scheduler)

    async def beat(self) -> set[str]:
        changes = self.store.changes
        loops = {
            "matcher": changes.delivered,
            "dispatcher": changes.queued,
            "timers": changes.deadline,
            "rescuer": self.rescuer,
            "scheduler": self.scheduler,
        }
        for nudge in loops.values():
            nudge.clear()
        await self.pulse.tick()
        return {name for name, nudge in loops.items() if nudge.is_set()}


@pytest.fixture
def heard(second_store: Store) -> Heard:
    """The pulse of a server that did nothing of what the test does."""
    return Heard(second_store)


async def test_an_idle_server_asks_one_statement_a_second(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    fetchrow = Connection.fetchrow

    async def counting(connection: Connection, name: str, *arguments: object) -> object:
        asked.append(name)
        return await fetchrow(connection, name, *arguments)

    monkeypatch.setattr(Connection, "fetchrow", counting)
    assert await heard.pulse.tick() == PULSE_SECONDS

    assert asked == ["read_pulse"]
    assert await heard.beat() == set()


async def test_a_run_that_another_server_left_due_wakes_the_dispatcher(store: Store, heard: Heard) -> None:
    await serve(store, "f")
    await begin(store)
    await change(store.database, "DELETE FROM deliveries")
    assert await heard.beat() == {"dispatcher"}
    await functions.pause(store.database, 1, "f")

    assert await heard.beat() == set()


async def test_events_and_waits_that_were_not_looked_at_wake_the_matcher(store: Store, heard: Heard) -> None:
    await send(store, "opened")
    assert await heard.beat() == set()
    heard.store.database.advance(HELD_FOR)
    assert await heard.beat() == {"matcher"}
    assert heard.store.changes.fresh.elsewhere
    await change(store.database, "DELETE FROM deliveries")
    holder, run_id = await hold(store)
    await change(store.database, "DELETE FROM deliveries")
    await holder.say(messages.awaits_event(run_id, "w", "opened"))

    assert await heard.beat() == {"matcher"}


async def test_a_deadline_that_is_near_wakes_the_timers(store: Store, heard: Heard) -> None:
    holder, run_id = await hold(store)
    await change(store.database, "DELETE FROM deliveries")
    await holder.say(messages.sleeps(run_id, "nap", 60))
    assert await heard.beat() == set()
    heard.store.database.advance(timedelta(seconds=59.5))

    assert await heard.beat() == {"timers"}


async def test_a_due_cron_wakes_the_scheduler(store: Store, heard: Heard) -> None:
    for each in (store, heard.store):
        await set_clock(each.database, BEGINNING)
    await functions.register(store.database, 1, [FunctionSpec(id="f", triggers=[Trigger(cron="0 * * * *")])])
    assert await heard.beat() == set()
    heard.store.database.advance(timedelta(hours=1))

    assert await heard.beat() == {"scheduler"}


async def test_what_comes_due_before_the_next_beat_brings_it_forward(
    store: Store, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, run_id = await hold(store)
    await change(store.database, "DELETE FROM deliveries")
    await holder.say(messages.body_failed(run_id, retry_after_seconds=600))
    assert await heard.pulse.tick() == PULSE_SECONDS
    monkeypatch.setattr(pulse, "PULSE_SECONDS", 3_600)
    pause = await heard.pulse.tick()

    assert pause is not None
    assert 300 < pause <= 600


async def test_a_lease_that_ran_out_wakes_the_rescuer(store: Store, heard: Heard) -> None:
    await Holder.connect(store, lasting=False)
    assert await heard.beat() == set()
    heard.store.database.advance(limits.LEASE)

    assert await heard.beat() == {"rescuer"}


@pytest.mark.parametrize("left", ["a signal", "a cancellation"])
async def test_what_a_server_left_half_done_wakes_the_rescuer(store: Store, heard: Heard, left: str) -> None:
    holder, run_id = await hold(store)
    await change(store.database, "DELETE FROM deliveries")
    await holder.say(messages.awaits_signal(run_id, "gate", "s"), messages.parked(run_id))
    assert await heard.beat() == set()
    if left == "a signal":
        await store.database.of(1).fetchrow("complete_signal", "s", b"1", limits.SIGNAL_KEPT)
    else:
        await change(store.database, "UPDATE runs SET cancel_requested_at = rotor_now()")
    heard.store.database.advance(timedelta(seconds=1))

    assert await heard.beat() == {"rescuer"}


# --- what holders are told


async def test_a_holder_is_told_what_another_server_settled(store: Store, second_store: Store) -> None:
    holder, run_id = await hold(store)
    await holder.say(messages.sleeps(run_id, "nap", 60))
    await fire_deadlines(second_store, timedelta(seconds=60))
    pulse = Heard(store).pulse
    holder.told.clear()
    await pulse.tick()
    assert [type(message) for message in holder.told] == [Settled]
    assert holder.settled(run_id) == ["nap"]
    await pulse.tick()

    assert holder.settled(run_id) == ["nap"], "once"


async def test_a_holder_is_told_that_another_server_cancels_its_run(store: Store, second_store: Store) -> None:
    holder, run_id = await hold(store)
    await cancel(second_store, 1, UUID(run_id))
    assert CancelRun(run_id=run_id) not in holder.told
    await Heard(store).pulse.tick()

    assert holder.told[-1] == CancelRun(run_id=run_id)


async def test_a_holder_of_very_many_runs_is_told_of_all_of_them_in_turn(
    store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(store, "f")
    runs = [await begin(store) for _ in range(7)]
    holder = await Holder.connect(store)
    await holder.claim()
    for run in runs:
        await holder.say(messages.sleeps(run, "nap", 60))
    await fire_deadlines(second_store, timedelta(seconds=60))
    monkeypatch.setattr(limits, "BATCH", 3)
    pulse = Heard(store).pulse
    for _ in range(3):
        await pulse.tick()

    assert all(holder.settled(run) == ["nap"] for run in runs)
    assert await value(store.database, "SELECT count(*) FROM runs WHERE settled = 1") == 7
