"""A lease lasts while its holder is heard, and what it held goes on elsewhere once it is not."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

from rotor import limits
from rotor.engine.arrivals import HolderLost
from rotor.protocol.messages import DropRun
from rotor.store import leases
from rotor.store.claims import claim_invocations
from rotor.store.store import Store
from tests import messages
from tests.store.actors import Holder, begin, rescue, serve
from tests.store.tables import run_row, select, status_of, value

A_WHILE = timedelta(seconds=3)


async def connect(store: Store) -> Holder:
    return await Holder.connect(store, lasting=False)


async def seconds_left(store: Store, holder: Holder) -> float:
    left: timedelta = await value(
        store.database, "SELECT expires_at - rotor_now() FROM leases WHERE id = $1", holder.lease_id
    )
    return left.total_seconds()


async def test_a_lease_that_is_kept_lasts(store: Store) -> None:
    holder = await connect(store)
    for _ in range(4):
        store.database.advance(limits.LEASE / 2)
        assert await leases.extend(store.database, {holder.lease_id: 1}) == {holder.lease_id}

    assert await seconds_left(store, holder) > 25


async def take_expired(store: Store) -> None:
    await leases.take_expired(store.database, await value(store.database, "SELECT rotor_now()"))


async def test_a_lease_that_ran_out_can_be_kept_until_it_is_taken(store: Store) -> None:
    """The database may have been away for longer than a lease lasts, and its holder could do nothing."""
    holder = await connect(store)
    store.database.advance(limits.LEASE * 2)
    assert await leases.extend(store.database, {holder.lease_id: 1}) == {holder.lease_id}
    await take_expired(store)
    assert await leases.extend(store.database, {holder.lease_id: 1}) == {holder.lease_id}
    store.database.advance(limits.LEASE * 2)

    assert await leases.resume(store.database, 1, holder.lease_id) == 2


async def test_a_lease_that_was_taken_is_not_revived(store: Store) -> None:
    holder = await connect(store)
    store.database.advance(limits.LEASE)
    await take_expired(store)

    assert await leases.extend(store.database, {holder.lease_id: 1}) == set()
    assert await leases.resume(store.database, 1, holder.lease_id) is None


async def test_an_unknown_lease_is_none(store: Store) -> None:
    assert await leases.extend(store.database, {uuid4(): 1}) == set()
    assert await leases.resume(store.database, 1, uuid4()) is None


async def test_a_lease_is_resumed_in_its_own_workspace_alone(store: Store) -> None:
    holder = await connect(store)

    assert await leases.resume(store.database, 2, holder.lease_id) is None


async def test_a_holder_whose_connection_is_gone_has_a_moment_to_come_back(store: Store) -> None:
    holder = await connect(store)
    await leases.shorten(store.database, holder.lease_id, A_WHILE, connection=1)
    assert await seconds_left(store, holder) <= 3
    assert await leases.resume(store.database, 1, holder.lease_id) == 2

    assert await seconds_left(store, holder) > 25


async def test_the_end_of_an_earlier_connection_is_no_news(store: Store) -> None:
    """Two servers: the worker has come back to one before the other noticed that it was gone."""
    holder = await connect(store)
    assert await leases.resume(store.database, 1, holder.lease_id) == 2
    await leases.shorten(store.database, holder.lease_id, A_WHILE, connection=1)

    assert await seconds_left(store, holder) > 25


async def test_shortening_never_lengthens(store: Store) -> None:
    holder = await connect(store)
    await leases.shorten(store.database, holder.lease_id, timedelta(hours=1), connection=1)

    assert await seconds_left(store, holder) <= limits.LEASE.total_seconds()


async def test_an_earlier_connection_keeps_no_lease_alive(store: Store) -> None:
    """Two servers: what the one took for alive a moment ago has left the other for good since."""
    holder = await connect(store)
    assert await leases.resume(store.database, 1, holder.lease_id) == 2
    await leases.shorten(store.database, holder.lease_id, A_WHILE, connection=2)
    assert await leases.extend(store.database, {holder.lease_id: 1}) == set()
    assert await seconds_left(store, holder) <= 3

    assert await leases.extend(store.database, {holder.lease_id: 2}) == {holder.lease_id}


async def test_a_lease_that_holds_something_is_not_given_back(store: Store) -> None:
    await serve(store, "f")
    await begin(store)
    holder, idle = await connect(store), await connect(store)
    await holder.take()
    for each in (holder, idle):
        await leases.give_back(store.database, each.lease_id, connection=1)

    assert [row["id"] for row in await select(store.database, "SELECT id FROM leases")] == [holder.lease_id]


async def test_an_earlier_connection_gives_nothing_back(store: Store) -> None:
    holder = await connect(store)
    assert await leases.resume(store.database, 1, holder.lease_id) == 2
    await leases.give_back(store.database, holder.lease_id, connection=1)

    assert await leases.resume(store.database, 1, holder.lease_id) == 3


async def test_runs_whose_holder_is_lost_go_on_with_another(store: Store) -> None:
    await serve(store, "f")
    run_id = await begin(store)
    holder = await connect(store)
    await holder.take()
    store.database.advance(limits.LEASE)
    assert await leases.lost_runs(store.database) == []
    await take_expired(store)
    assert await leases.lost_runs(store.database) == [HolderLost(run_id, holder.lease_id)]
    await rescue(store)
    second = await connect(store)
    start = await second.take()

    assert (start.run_id, (await run_row(store.database, run_id))["losses"]) == (str(run_id), 1)
    assert [type(answer) for answer in await holder.say(messages.done(run_id, "late"))] == [DropRun]
    assert [row["id"] for row in await select(store.database, "SELECT id FROM leases")] == [second.lease_id]


async def test_the_death_of_a_server_is_no_loss_of_the_runs_that_it_invoked(store: Store) -> None:
    await serve(store, "f", serve_url="http://app/")
    run_id = await begin(store)
    for _ in range(limits.LOSSES + 1):
        (claimed,) = await claim_invocations(store.database, count=1)
        store.database.advance(limits.LEASE)
        await take_expired(store)
        assert [lost.lease_id for lost in await leases.lost_runs(store.database)] == [claimed.lease_id]
        await rescue(store)

    run = await run_row(store.database, run_id)
    assert (run["status"], run["losses"]) == ("queued", 0)


async def test_runs_that_were_lost_together_are_known_to_be(store: Store) -> None:
    await serve(store, "f")
    for _ in range(3):
        await begin(store)
    holder = await connect(store)
    await holder.claim()
    store.database.advance(limits.LEASE)
    await take_expired(store)

    assert [lost.company for lost in await leases.lost_runs(store.database)] == [2, 2, 2]


async def test_a_run_whose_lease_is_gone_altogether_is_found(store: Store) -> None:
    await serve(store, "f")
    run_id = await begin(store)
    holder = await connect(store)
    await holder.take()
    await select(store.database, "DELETE FROM leases")
    await rescue(store)

    assert await status_of(store.database, run_id) == "queued"


async def test_a_function_that_kills_its_workers_fails(store: Store) -> None:
    await serve(store, "f")
    run_id = await begin(store)
    for _ in range(limits.LOSSES):
        store.database.advance(timedelta(minutes=1))
        holder = await connect(store)
        await holder.take()
        await store.committer.submit(HolderLost(run_id, holder.lease_id))

    run = await run_row(store.database, run_id)
    assert run["status"] == "failed"
    assert b"WorkerLostError" in run["error"]


async def test_a_worker_that_makes_progress_before_it_dies_is_no_poison(store: Store) -> None:
    await serve(store, "f")
    run_id = await begin(store)
    for number in range(limits.LOSSES + 1):
        store.database.advance(timedelta(minutes=1))
        holder = await connect(store)
        await holder.take()
        await holder.say(messages.done(run_id, "a", index=number))
        await store.committer.submit(HolderLost(run_id, holder.lease_id))

    assert await status_of(store.database, run_id) == "queued"


async def test_held_runs_come_with_their_count_of_settled_waits(store: Store) -> None:
    await serve(store, "f")
    run_id = await begin(store)
    holder = await connect(store)
    await holder.take()
    await holder.say(messages.invokes(run_id, "sub", "unknown"))

    assert await leases.held_runs(store.database, holder.lease_id) == {UUID(str(run_id)): 1}
