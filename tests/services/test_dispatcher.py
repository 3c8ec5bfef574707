"""Due runs go to workers that have room for them, a fair share to each."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from rotor import limits
from rotor.protocol.messages import Goodbye
from rotor.services import dispatcher
from rotor.services.dispatcher import Dispatcher
from rotor.services.slots import Openings
from rotor.services.workers import Workers
from rotor.store import leases
from rotor.store.claims import ClaimedInvocation
from rotor.store.store import Store
from tests import messages
from tests.services.fake_worker import FakeWorker, hello
from tests.store.actors import begin, serve
from tests.store.tables import lose_answer, run_row, status_of, value


class FakeInvoker:
    """Takes what is to be invoked, up to its slots."""

    def __init__(self, slots: int = 0) -> None:
        self.slots = slots
        self.started: list[ClaimedInvocation] = []

    def openings(self) -> Openings:
        return Openings(self.slots - len(self.started))

    def start(self, claimed: ClaimedInvocation) -> None:
        self.started.append(claimed)


async def dispatch(store: Store, workers: Workers, invoker: FakeInvoker | None = None) -> None:
    """Hand out until nothing more can be handed out."""
    store.changes.queued.clear()
    loop = Dispatcher(store, workers, invoker or FakeInvoker())  # type: ignore[arg-type]
    while await loop.tick() == 0:
        pass


def given(worker: FakeWorker) -> list[str]:
    """The runs that the worker was given, in order."""
    return [start.run_id for start in worker.all_of("start_run")]


async def test_a_due_run_goes_to_a_worker_that_serves_its_function(store: Store, workers: Workers) -> None:
    worker, other = await FakeWorker(workers).connect(hello("f")), await FakeWorker(workers).connect(hello("g"))
    run_id = await begin(store, "f")
    await dispatch(store, workers)
    await worker.hears("start_run")

    assert (given(worker), given(other)) == ([str(run_id)], [])
    await worker.leave()
    await other.leave()


async def test_a_loop_that_is_told_of_a_due_run_hands_it_out(store: Store, workers: Workers) -> None:
    loop = Dispatcher(store, workers, FakeInvoker())  # type: ignore[arg-type]
    loop.start()
    worker = await FakeWorker(workers).connect(hello("f"))
    await begin(store, "f")
    await worker.hears("start_run")
    await loop.stop()
    await worker.leave()


async def test_a_worker_gets_no_more_runs_than_it_has_slots_and_the_next_as_one_ends(
    store: Store, workers: Workers
) -> None:
    worker = await FakeWorker(workers).connect(hello("f", slots=2))
    runs = [str(await begin(store, "f")) for _ in range(3)]
    await dispatch(store, workers)
    await worker.hears("start_run", 2)
    assert given(worker) == runs[:2]
    store.changes.queued.clear()
    worker.say(messages.completed(runs[0]))
    await store.changes.queued.wait()
    await dispatch(store, workers)
    await worker.hears("start_run", 3)

    assert given(worker) == runs
    await worker.leave()


async def test_a_new_run_needs_no_look_for_what_is_due(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    await dispatch(store, workers)
    run_id = await begin(store, "f")
    await worker.hears("start_run")

    assert given(worker) == [str(run_id)]
    assert not store.changes.queued.is_set()
    await worker.leave()


async def test_a_new_run_goes_past_none_that_waits_for_its_turn(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("light", "heavy", slots=1))
    await dispatch(store, workers)
    first, waiting = await begin(store, "heavy"), await begin(store, "light")
    await dispatch(store, workers)
    worker.say(messages.completed(first))
    await worker.hears("committed")
    later = await begin(store, "heavy")
    assert await status_of(store.database, later) == "queued"
    await dispatch(store, workers)
    await worker.hears("start_run", 2)

    assert given(worker) == [str(first), str(waiting)]
    await worker.leave()


async def test_a_parked_run_takes_no_slot(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f", slots=1))
    first = str(await begin(store, "f"))
    await dispatch(store, workers)
    worker.say(messages.sleeps(first, "nap"), messages.parked(first, kept=True))
    await worker.hears("committed")

    assert worker.connection.free_slots == 1
    await worker.leave()


async def test_a_burst_is_shared_by_the_workers(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "CHUNK", 5)
    both = [await FakeWorker(workers).connect(hello("f", slots=100)) for _ in range(2)]
    runs = [str(await begin(store, "f")) for _ in range(20)]
    await dispatch(store, workers)
    for worker in both:
        await worker.hears("start_run", 10)

    assert sorted(given(both[0]) + given(both[1])) == sorted(runs)
    for worker in both:
        await worker.leave()


def claims_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each claim from now on gets."""
    claim, counts = dispatcher.claim_runs, []

    async def counted(*arguments: Any, **named: Any) -> Any:
        claimed = await claim(*arguments, **named)
        counts.append(len(claimed))
        return claimed

    monkeypatch.setattr(dispatcher, "claim_runs", counted)
    return counts


async def test_who_has_been_given_many_runs_in_a_row_is_given_more_at_a_time(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "CHUNK", 2)
    monkeypatch.setattr(dispatcher, "CHUNK_MAX", 4)
    counts = claims_of(monkeypatch)
    worker = await FakeWorker(workers).connect(hello("f", slots=100))
    for _ in range(2):
        store.changes.queued.set()  # so that none starts with the worker at once
        for _ in range(30):
            await begin(store, "f")
        await dispatch(store, workers)

    assert counts == [2, 2, 2, 2, 2, 2, 3, 3, 4, 4, 4, 0, *([2] * 6), 3, 3, 4, 4, 4, 0]
    await worker.leave()


async def test_heavy_runs_are_given_few_at_a_time(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "CHUNK", 2)
    monkeypatch.setattr(limits, "BATCH_BYTES", 10)
    counts = claims_of(monkeypatch)
    worker = await FakeWorker(workers).connect(hello("f", slots=100))
    for _ in range(20):
        await begin(store, "f")
    await dispatch(store, workers)

    assert counts == [*([2] * 10), 0]
    await worker.leave()


async def test_each_function_of_a_worker_has_its_turn(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "CHUNK", 2)
    worker = await FakeWorker(workers).connect(hello("busy", "quiet", slots=6))
    for _ in range(20):
        await begin(store, "busy")
    for _ in range(2):
        await begin(store, "quiet")
    await dispatch(store, workers)
    await worker.hears("start_run", 6)

    assert Counter(start.function_id for start in worker.all_of("start_run")) == {"busy": 4, "quiet": 2}
    await worker.leave()


async def test_among_many_functions_a_quiet_one_waits_for_no_busy_one(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "CHUNK", 2)
    worker = await FakeWorker(workers).connect(hello("busy", *(f"idle-{n}" for n in range(20)), "quiet", slots=4))
    for _ in range(20):
        await begin(store, "busy")
    await begin(store, "quiet")
    await dispatch(store, workers)
    await worker.hears("start_run", 4)

    assert Counter(start.function_id for start in worker.all_of("start_run")) == {"busy": 3, "quiet": 1}
    await worker.leave()


async def test_a_worker_that_drains_gets_nothing(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    worker.say(Goodbye(), messages.done(uuid4(), "answered, so that what came with it has been taken"))
    await worker.hears("drop_run")
    run_id = await begin(store, "f")
    await dispatch(store, workers)

    assert await status_of(store.database, run_id) == "queued"
    await worker.leave()


async def test_what_was_claimed_for_a_connection_that_is_gone_goes_to_another_worker(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await begin(store, "f")
    claim = dispatcher.claim_runs

    async def claim_and_lose_the_connection(*arguments: Any, **named: Any) -> Any:
        starts = await claim(*arguments, **named)
        await worker.leave()
        return starts

    monkeypatch.setattr(dispatcher, "claim_runs", claim_and_lose_the_connection)
    await dispatch(store, workers)
    monkeypatch.undo()
    lease_id = (await worker.hears("welcome")).lease_id
    again = await FakeWorker(workers).connect(hello("f", lease_id=lease_id))
    await dispatch(store, workers)
    await again.hears("start_run")

    assert given(again) == [str(run_id)]
    assert (await run_row(store.database, run_id))["losses"] == 0
    await again.leave()


@pytest.mark.parametrize("comes_back", [False, True])
async def test_a_worker_that_is_still_being_welcomed_is_given_nothing_that_the_welcome_takes_back(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    lease_id = (await worker.hears("welcome")).lease_id if comes_back else None
    await worker.leave()
    run_id = await begin(store, "f")
    held_runs = leases.held_runs

    async def dispatch_first(*arguments: Any) -> Any:
        await dispatch(store, workers)
        return await held_runs(*arguments)

    monkeypatch.setattr(leases, "held_runs", dispatch_first)
    again = await FakeWorker(workers).connect(hello("f", lease_id=lease_id))
    await dispatch(store, workers)
    again.say(messages.done(str(run_id), "a"))
    await again.hears("committed")

    assert given(again) == [str(run_id)]
    await again.leave()


async def test_a_claim_whose_answer_was_lost_is_given_back_as_the_worker_connects_again(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await begin(store, "f")
    lose_answer(store.database, monkeypatch)
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await dispatch(store, workers)
    assert await status_of(store.database, run_id) == "running"
    await worker.hears("goodbye")
    lease_id = (await worker.hears("welcome")).lease_id
    again = await FakeWorker(workers).connect(hello("f", lease_id=lease_id))
    await worker.gone()
    await dispatch(store, workers)
    await again.hears("start_run")

    assert (given(worker), given(again)) == ([], [str(run_id)])
    await again.leave()


async def test_a_worker_that_leaves_before_its_turn_is_not_remembered(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await FakeWorker(workers).connect(hello("f", slots=2))
    other = await FakeWorker(workers).connect(hello("f", slots=1))

    async def others_leave(*_: Any, **__: Any) -> list[Any]:
        await other.leave()
        return []

    monkeypatch.setattr(dispatcher, "claim_runs", others_leave)
    await dispatch(store, workers)

    assert store.holders.hungry == set()
    await first.leave()


async def test_a_run_whose_memo_is_over_its_limit_fails_and_says_so(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = str(await begin(store, "f"))
    await dispatch(store, workers)
    worker.say(messages.done(run_id, "a", "x" * 1_000), messages.released(run_id))
    await worker.hears("committed")
    monkeypatch.setattr(limits, "MEMO_BYTES", 500)
    await dispatch(store, workers)

    row = await run_row(store.database, run_id)
    assert row["status"] == "failed"
    assert b"MEMO_BYTES" in row["error"]
    assert len(given(worker)) == 1
    await worker.leave()


async def test_what_is_served_over_http_is_invoked_up_to_the_invokers_slots(store: Store, workers: Workers) -> None:
    await serve(store, "f", serve_url="https://app.example.com/api/rotor")
    for _ in range(5):
        await begin(store, "f")
    invoker = FakeInvoker(slots=3)
    await dispatch(store, workers, invoker)
    assert len(invoker.started) == 3
    invoker.slots = 10
    await dispatch(store, workers, invoker)

    assert len({claimed.lease_id for claimed in invoker.started}) == 5
    assert await value(store.database, "SELECT count(*) FROM runs WHERE status = 'running'") == 5
