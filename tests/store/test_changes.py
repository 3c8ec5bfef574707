"""A commit tells those of its own server who wait for it, and nobody is woken for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest

from rotor.protocol.messages import RunMessage
from rotor.store.changes import Changes
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, begin, fire_deadlines, hold, send, serve


@pytest.fixture
def quiet(store: Store) -> Store:
    """A store whose nudges are forgotten."""
    forget(store)
    return store


def forget(store: Store) -> None:
    for nudge in (store.changes.queued, store.changes.delivered, store.changes.deadline):
        nudge.clear()


async def test_a_run_that_becomes_due_wakes_the_dispatcher(quiet: Store) -> None:
    await serve(quiet, "f")
    await send(quiet, "start f")
    assert quiet.changes.queued.is_set()
    holder = await Holder.connect(quiet)
    run_id = (await holder.take()).run_id
    forget(quiet)
    await holder.say(messages.done(run_id, "a"))
    assert not quiet.changes.queued.is_set()
    await holder.say(messages.released(run_id))

    assert quiet.changes.queued.is_set()


async def test_events_and_waits_wake_the_matcher(quiet: Store) -> None:
    await send(quiet, "opened")
    assert quiet.changes.delivered.is_set()
    holder, run_id = await hold(quiet)
    forget(quiet)
    await holder.say(messages.sleeps(run_id, "nap"))
    assert not quiet.changes.delivered.is_set()
    await holder.say(messages.awaits_event(run_id, "w", "opened"))

    assert quiet.changes.delivered.is_set()


async def test_timers_are_woken_for_a_deadline_that_is_nearer_than_their_next_look(quiet: Store) -> None:
    holder, run_id = await hold(quiet)
    await holder.say(messages.sleeps(run_id, "nap", 60))
    assert quiet.changes.deadline.is_set()
    await fire_deadlines(quiet)
    forget(quiet)
    await holder.say(messages.sleeps(run_id, "long nap", 3600))
    assert not quiet.changes.deadline.is_set()
    await holder.say(messages.sleeps(run_id, "short nap", 5))

    assert quiet.changes.deadline.is_set()


async def test_timers_that_have_nothing_to_wait_for_are_woken_by_any_deadline(quiet: Store) -> None:
    holder, run_id = await hold(quiet)
    await holder.say(messages.sleeps(run_id, "nap", 1))
    await fire_deadlines(quiet, timedelta(seconds=1))
    forget(quiet)
    await holder.say(messages.sleeps(run_id, "long nap", 10**6))

    assert quiet.changes.deadline.is_set()


async def test_whoever_follows_a_run_hears_of_its_changes_alone(store: Store) -> None:
    holder, run_id = await hold(store)
    other = await begin(store)
    mine, theirs = store.changes.listen(UUID(run_id)), store.changes.listen(other)
    await holder.say(messages.done(run_id, "a"))

    assert (mine.is_set(), theirs.is_set()) == (True, False)


async def test_who_has_stopped_listening_is_forgotten() -> None:
    changes, run_id = Changes(), uuid4()
    first, second = changes.listen(run_id), changes.listen(run_id)
    changes.unlisten(run_id, first)
    changes.runs_changed([run_id])
    changes.unlisten(run_id, second)
    changes.runs_changed([run_id])

    assert (first.is_set(), second.is_set()) == (False, True)
    assert not changes._runs


async def test_a_holder_that_leaves_room_wakes_the_dispatcher(store: Store) -> None:
    holder, run_id = await hold(store)
    store.holders.hungry.add(holder.lease_id)
    store.changes.queued.clear()
    await holder.say(messages.completed(run_id))

    assert store.changes.queued.is_set()
    assert store.holders.held_by(holder.lease_id) == 0


async def test_what_follows_from_commits_is_over_before_the_store_stops(store: Store) -> None:
    await serve(store, "child")
    holder, run_id = await hold(store)
    await holder.say(messages.invokes(run_id, "sub", "child"), messages.withdrawn(run_id, "sub"))
    await store.stop()

    assert asyncio.all_tasks() == {asyncio.current_task()}
    store.start()


@pytest.mark.parametrize("end", [messages.completed, partial(messages.body_failed, retries=0)])
async def test_who_waits_for_the_end_is_not_woken_before(store: Store, end: Callable[[str], RunMessage]) -> None:
    holder, run_id = await hold(store)
    everything, the_end = store.changes.listen(UUID(run_id)), store.changes.listen(UUID(run_id), end_only=True)
    await holder.say(messages.done(run_id, "a"))
    await holder.say(messages.sleeps(run_id, "nap", seconds=60))
    assert (everything.is_set(), the_end.is_set()) == (True, False)
    await holder.say(end(run_id))
    assert the_end.is_set()
