"""A worker is greeted, has its messages committed, and keeps what it holds over lost connections."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from rotor import limits
from rotor.engine.arrivals import Cancelled
from rotor.protocol.messages import DropRun, Goodbye, Heartbeat, RunMessage
from rotor.services import workers as services_workers
from rotor.services.dispatcher import Dispatcher
from rotor.services.invoker import Invoker
from rotor.services.keeper import Keeper
from rotor.services.pulse import Pulse
from rotor.services.workers import Workers
from rotor.store import functions, leases
from rotor.store.claims import claim_runs
from rotor.store.signals import complete
from rotor.store.signing_keys import SigningKeys
from rotor.store.store import Store
from tests import messages
from tests.services.fake_worker import FakeWorker, hello
from tests.store.actors import begin, rescue
from tests.store.tables import change, locked, run_row, select, status_of, step_status, until_blocked, value


async def give_run(store: Store, worker: FakeWorker, function_id: str = "f") -> str:
    """Start a run and hand it to the worker; its id."""
    await begin(store, function_id)
    return await take_run(store, worker, function_id)


async def take_run(store: Store, worker: FakeWorker, function_id: str = "f") -> str:
    """Hand a run that is due to the worker, as the dispatcher does; its id."""
    connection = worker.connection
    (run,) = await claim_runs(
        store.database,
        store.holders,
        workspace_id=1,
        lease_id=connection.lease_id,
        connection=connection.number,
        function_ids=[function_id],
        count=1,
    )
    store.holders.start(connection.lease_id, run.run_id, run.start, quiet=run.quiet, now=False)
    await worker.hears("start_run", len(worker.all_of("start_run")) + 1)
    return run.start.run_id


class NoInvoker:
    """Nothing is served over HTTP."""

    def take_ended(self) -> list[Any]:
        return []

    def alive(self) -> list[Any]:
        return []

    def take_calls(self) -> dict[Any, bool]:
        return {}


async def keep(store: Store, workers: Workers) -> None:
    await Keeper(store, workers, NoInvoker()).tick()  # type: ignore[arg-type]


# --- the greeting


async def test_a_worker_is_welcomed_and_its_functions_are_registered(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f", "g", slots=7))

    welcome = await worker.hears("welcome")
    assert welcome.heartbeat_seconds == limits.HEARTBEAT.total_seconds()
    assert [one.id for one in (await functions.page(store.database, 1)).items] == ["f", "g"]
    assert await value(store.database, "SELECT slots FROM leases") == 7
    await worker.leave()
    assert workers.connections == {}


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ('[{"type":"heartbeat"}]', "hello"),
        ("[]", "hello"),
        ("not json", "malformed"),
        ('[{"type":"hello"}]', "missing"),
        ('[{"type":"hello","more":' + "[" * 5_000 + "]" * 5_000 + "}]", "recursion|missing"),
    ],
)
async def test_who_does_not_begin_with_a_hello_is_refused(workers: Workers, frame: str, reason: str) -> None:
    worker = await FakeWorker(workers).connect()
    worker.say_bytes(frame.encode())
    await worker.gone()

    assert worker.closed is not None
    assert worker.closed[0] == services_workers.REFUSED
    assert re.search(reason, worker.closed[1])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": 99}, "protocol 99"),
        ({"slots": 0}, "WORKER_SLOTS"),
        ({"slots": limits.WORKER_SLOTS + 1}, "WORKER_SLOTS"),
        ({"lease_id": "nonsense"}, "UUID"),
        ({"worker": ""}, "the worker's name is empty"),
        ({"worker": "w\0"}, "the worker's name holds a NUL"),
        ({"worker": "w" * (limits.ID_CHARACTERS + 1)}, "ID_CHARACTERS"),
    ],
)
async def test_a_greeting_that_cannot_be_taken_is_refused_for_good(
    store: Store, workers: Workers, changes: dict[str, Any], reason: str
) -> None:
    worker = await FakeWorker(workers).connect()
    worker.say(hello("f", **changes))
    await worker.gone()

    assert worker.closed is not None
    assert worker.closed[0] == services_workers.REFUSED
    assert reason in worker.closed[1]
    assert await select(store.database, "SELECT 1 FROM leases") == []


async def test_a_worker_whose_functions_cannot_be_registered_is_told_why(workers: Workers) -> None:
    greeting = hello("f")
    greeting.manifest.functions.append(greeting.manifest.functions[0])
    worker = await FakeWorker(workers).connect()
    worker.say(greeting)
    await worker.gone()

    assert worker.closed is not None
    assert "cannot be registered" in worker.closed[1]


async def test_a_worker_that_says_nothing_may_try_again(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services_workers, "HELLO_WITHIN", 0.01)
    worker = await FakeWorker(workers).connect()
    await worker.gone()

    assert worker.closed is not None
    assert worker.closed[0] == services_workers.TRY_AGAIN


async def test_a_worker_that_postgres_broke_off_is_told_to_come_back_and_leaves_no_ghost_behind(
    store: Store, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    for table in ("functions", "leases", "runs"):
        caplog.clear()
        worker = await FakeWorker(workers).connect()
        async with locked(store.database, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE") as other:
            worker.say(hello("f"))
            (welcoming,) = await until_blocked(other)
            await other.execute("SELECT pg_terminate_backend($1)", welcoming)
        await worker.gone()

        assert worker.closed == (services_workers.TRY_AGAIN, "the database does not answer")
        (line,) = [record.getMessage() for record in caplog.records if record.name == "rotor.services"]
        assert "worker w is not let in, and tries again: the database does not answer" in line
        assert workers.connections == {}
        assert store.holders.held() == []


async def test_a_worker_that_leaves_while_postgres_breaks_off_is_awaited_until_its_lease_runs_out(
    store: Store, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    for last_words in ([], [Goodbye()]):
        caplog.clear()
        worker = await FakeWorker(workers).connect(hello("f"))
        worker.say(*last_words)
        async with locked(store.database, "SELECT FROM leases FOR UPDATE") as other:
            leaving = asyncio.create_task(worker.leave())
            (last,) = await until_blocked(other)
            await other.execute("SELECT pg_terminate_backend($1)", last)
            await leaving

        (line,) = [record.getMessage() for record in caplog.records if record.name == "rotor.services"]
        assert "worker w has left, and what it held waits for up to 30 s" in line
        assert workers.connections == {}


# --- messages


async def test_what_a_worker_says_is_committed_and_acknowledged(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    first, second = messages.done(run_id, "a"), messages.completed(run_id, "out")
    worker.say(first, second)
    committed = await worker.hears("committed")

    assert committed.runs == {run_id: [first.n, second.n]}
    assert await status_of(store.database, run_id) == "completed"
    await worker.leave()


async def test_a_message_that_cannot_be_kept_is_refused_and_the_others_are_not(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    good, bad = messages.done(run_id, "a"), messages.done(run_id, "x" * (limits.ID_CHARACTERS + 1))
    worker.say(bad, good)
    assert (await worker.hears("committed")).runs == {good.run_id: [good.n]}
    refused = await worker.hears("refused")

    assert (refused.n, "ID_CHARACTERS" in refused.error.message) == (bad.n, True)
    await worker.leave()


async def test_a_payload_that_is_not_utf_8_is_refused(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    message = messages.done(await give_run(store, worker), "a", "?")
    frame = msgspec.json.encode([message])
    assert frame.count(b'"?"') == 1
    worker.say_bytes(frame.replace(b'"?"', b'"\xff"'))

    assert "UTF-8" in (await worker.hears("refused")).error.message
    await worker.leave()


async def test_a_worker_that_talks_nonsense_is_cut_off(store: Store, workers: Workers) -> None:
    for frame in ('[{"type":"what"}]', '[{"type":"run_completed","run_id":"no-uuid","n":1}]'):
        worker = await FakeWorker(workers).connect(hello("f"))
        worker.say_bytes(frame.encode())
        await worker.gone()
        assert worker.closed is not None
        assert workers.connections == {}


async def test_a_worker_is_to_come_back_after_a_fault_of_the_server(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    monkeypatch.setattr(store.committer, "put", None)
    worker.say(messages.completed(run_id, "out"))
    await worker.gone()

    assert worker.closed is not None
    assert worker.closed[0] == services_workers.TRY_AGAIN
    assert "'NoneType' object is not callable" in caplog.text


async def test_a_second_hello_is_nonsense(workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    worker.say(hello("f"))
    await worker.gone()

    assert worker.closed is not None
    assert "second hello" in worker.closed[1]


async def test_what_is_said_in_one_turn_leaves_together_or_at_once_if_it_is_to(workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    said = [DropRun(run_id=str(n), reason="a test") for n in range(3)]
    worker.connection.deliver(said[:1])
    worker.connection.deliver(said[1:2])
    assert worker.all_of("drop_run") == []

    worker.connection.deliver(said[2:], True)
    assert worker.all_of("drop_run") == said
    await worker.leave()


@pytest.mark.parametrize("now", [False, True])
async def test_a_fault_in_telling_a_worker_ends_its_connection_and_is_not_raised_where_it_was_told(
    workers: Workers, now: bool, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    worker.connection.deliver([DropRun(run_id="\ud800", reason="cannot be encoded")], now)
    await worker.gone()

    assert worker.closed is not None
    assert worker.closed[0] == services_workers.TRY_AGAIN
    assert "UnicodeEncodeError" in caplog.text
    assert workers.connections == {}


async def test_a_worker_that_does_not_read_is_cut_off(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services_workers, "OUTBOX_MESSAGES", 100)
    worker = await FakeWorker(workers).connect(hello("f"))
    worker.stop_reading()
    connection = worker.connection
    for _ in range(102):
        connection.deliver([Goodbye()])
        await asyncio.sleep(0)
    await worker.gone()

    assert worker.aborted
    assert workers.connections == {}


async def test_a_worker_that_does_not_read_is_not_waited_for_once_nobody_may_serve_it(workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    worker.stop_reading()
    await worker.is_no_longer_served()

    assert worker.aborted
    assert workers.connections == {}


async def test_nothing_is_done_of_what_comes_after_a_worker_was_cut_off(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    worker.connection.cut_off("because")
    worker.say(messages.completed(run_id, "out"))
    await worker.gone()

    assert worker.closed == (services_workers.TRY_AGAIN, "because")
    assert store.committer.commits.queued() == 0
    assert await status_of(store.database, run_id) == "running"


async def test_while_too_much_waits_to_be_committed_no_worker_is_read(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    monkeypatch.setattr(limits, "COMMIT_QUEUE", 2)
    steps = [messages.done(run_id, f"{n}") for n in range(20)]
    for step in steps:
        worker.say(step)

    assert worker.paused
    assert store.committer.commits.queued() == 2
    while sum(len(told.runs[run_id]) for told in worker.all_of("committed")) < len(steps):
        await worker.hears("committed", len(worker.all_of("committed")) + 1)
        assert store.committer.commits.queued() <= 2
    assert not worker.paused
    await worker.leave()


# --- leases


async def test_a_worker_that_is_heard_keeps_its_lease_and_a_silent_one_does_not(store: Store, workers: Workers) -> None:
    worker, silent = await FakeWorker(workers).connect(hello("f")), await FakeWorker(workers).connect(hello("f"))
    silent.connection.heard_at -= 3 * limits.HEARTBEAT.total_seconds()
    gone = str(silent.connection.lease_id)
    for _ in range(3):
        store.database.advance(limits.LEASE / 2)
        worker.say(Heartbeat())
        await keep(store, workers)

    left = {
        str(row["id"]): row["holds"]
        for row in await select(store.database, "SELECT id, expires_at > rotor_now() AS holds FROM leases")
    }
    assert left == {str(worker.connection.lease_id): True, gone: False}
    await worker.leave()
    await silent.leave()


async def test_a_worker_whose_lease_was_taken_all_the_same_is_cut_off(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    store.database.advance(limits.LEASE * 2)
    await rescue(store)
    await keep(store, workers)
    await worker.gone()

    assert worker.closed is not None
    assert worker.closed[0] == services_workers.TRY_AGAIN


async def test_a_worker_that_is_not_heard_for_as_long_as_a_lease_lasts_is_cut_off(
    workers: Workers, store: Store
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    worker.connection.heard_at -= limits.LEASE.total_seconds() + 1
    await keep(store, workers)
    await worker.gone()

    assert workers.connections == {}


async def test_a_worker_that_connects_while_leases_are_kept_is_not_cut_off(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await FakeWorker(workers).connect(hello("f"))
    extend, late = leases.extend, FakeWorker(workers)

    async def slowly(*arguments: Any) -> Any:
        await late.connect(hello("f"))
        return await extend(*arguments)

    monkeypatch.setattr(leases, "extend", slowly)
    await keep(store, workers)

    assert len(workers.connections) == 2
    await first.leave()
    await late.leave()


async def test_a_worker_that_comes_back_while_leases_are_kept_is_not_cut_off(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    lease_id = (await worker.hears("welcome")).lease_id
    extend, again = leases.extend, FakeWorker(workers)

    async def slowly(*arguments: Any) -> Any:
        await again.connect(hello("f", lease_id=lease_id))
        return await extend(*arguments)

    monkeypatch.setattr(leases, "extend", slowly)
    await keep(store, workers)
    await worker.gone()

    assert await give_run(store, again)
    assert again.closed is None
    await again.leave()


# --- lost connections


async def test_a_worker_that_comes_back_goes_on_with_what_it_holds(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    lease_id = (await worker.hears("welcome")).lease_id
    await worker.leave()
    again = await FakeWorker(workers).connect(hello("f", lease_id=lease_id, held=(run_id,)))
    message = messages.completed(run_id)
    again.say(message)

    assert (await again.hears("welcome")).lease_id == lease_id
    assert (await again.hears("committed")).runs == {message.run_id: [message.n]}
    assert (await run_row(store.database, run_id))["losses"] == 0
    await again.leave()


async def test_what_a_worker_held_and_has_no_more_is_given_to_others_at_once(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    lease_id = (await worker.hears("welcome")).lease_id
    await worker.leave()
    again = await FakeWorker(workers).connect(hello("f", lease_id=lease_id))
    row = await run_row(store.database, run_id)

    assert (row["status"], row["losses"]) == ("queued", 0)
    await again.leave()


async def test_a_worker_that_comes_back_while_the_queue_is_full_is_served_once_there_is_room(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    lease_id = (await worker.hears("welcome")).lease_id
    await worker.leave()
    in_the_way = await begin(store)
    monkeypatch.setattr(limits, "COMMIT_QUEUE", 1)
    commits, waits = store.committer.commits, asyncio.Event()
    has_room = commits.room

    async def room() -> None:
        waits.set()
        await has_room()

    monkeypatch.setattr(commits, "room", room)
    async with locked(store.database, "SELECT FROM runs WHERE id = $1 FOR UPDATE", in_the_way) as other:
        writing = asyncio.create_task(store.committer.submit(Cancelled(in_the_way)))
        await until_blocked(other)
        queued = asyncio.create_task(store.committer.submit(Cancelled(in_the_way)))
        coming = asyncio.create_task(FakeWorker(workers).connect(hello("f", lease_id=lease_id)))
        await waits.wait()
    again = await coming
    await asyncio.gather(writing, queued)

    assert (await again.hears("welcome")).lease_id == lease_id
    row = await run_row(store.database, run_id)
    assert (row["status"], row["losses"]) == ("queued", 0)
    await again.leave()


async def test_a_worker_whose_lease_is_over_drops_what_it_held(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    lease_id = (await worker.hears("welcome")).lease_id
    await worker.leave()
    store.database.advance(limits.LEASE)
    await rescue(store)
    again = await FakeWorker(workers).connect(hello("f", lease_id=lease_id, held=(run_id,)))

    assert (await again.hears("welcome")).lease_id != lease_id
    assert (await again.hears("drop_run")).run_id == run_id
    await again.leave()


async def test_a_lost_connection_leaves_its_worker_a_moment_to_come_back(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    await worker.leave()

    left = await value(store.database, "SELECT extract(epoch FROM expires_at - rotor_now())::float8 FROM leases")
    assert left <= services_workers.COMES_BACK_WITHIN.total_seconds()


async def test_the_old_connection_of_a_worker_that_came_back_to_another_server_takes_nothing_from_it(
    store: Store, second_store: Store, workers: Workers
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    lease_id = (await worker.hears("welcome")).lease_id
    again = await FakeWorker(Workers(second_store)).connect(hello("f", lease_id=lease_id))
    await worker.leave()

    left = await value(store.database, "SELECT extract(epoch FROM expires_at - rotor_now())::float8 FROM leases")
    assert left > services_workers.COMES_BACK_WITHIN.total_seconds()
    await again.leave()


async def test_the_old_connection_of_a_worker_that_came_back_to_the_same_server_is_ended(
    store: Store, workers: Workers
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    lease_id = (await worker.hears("welcome")).lease_id
    again = await FakeWorker(workers).connect(hello("f", lease_id=lease_id, held=(run_id,)))
    await worker.gone()
    again.say(messages.done(run_id, "a"))
    await again.hears("committed")

    assert list(map(str, workers.connections)) == [lease_id]
    assert await step_status(store.database, run_id, "a") == "completed"
    await again.leave()


class Behind:
    """A server whose commits wait for a lock until `catches_up`; another is beside it."""

    def __init__(self, store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.queued = asyncio.Event()
        """Something waits for a commit since it fell behind."""
        self._patch = monkeypatch
        self.workers = Workers(store)
        self.others = Workers(second_store)
        self._stack = AsyncExitStack()
        self._writing: asyncio.Task[bool] | None = None

    async def falls_behind(self) -> None:
        in_the_way = await begin(self.store)
        rows = locked(self.store.database, "SELECT FROM runs WHERE id = $1 FOR UPDATE", in_the_way)
        other = await self._stack.enter_async_context(rows)
        self._writing = asyncio.create_task(self.store.committer.submit(Cancelled(in_the_way)))
        await until_blocked(other)
        commits = self.store.committer.commits
        put = commits.put

        def put_and_tell(*arguments: Any) -> None:
            put(*arguments)
            self.queued.set()

        self._patch.setattr(commits, "put", put_and_tell)

    async def catches_up(self) -> None:
        """Return once all is written that was queued."""
        await self._stack.aclose()
        assert self._writing is not None
        await self._writing
        await self.store.committer.submit(Cancelled(uuid4()))


async def test_what_a_worker_said_to_a_slow_server_does_nothing_once_it_has_come_back_to_another(
    store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Behind(store, second_store, monkeypatch)
    worker = await FakeWorker(server.workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    lease_id = (await worker.hears("welcome")).lease_id
    await server.falls_behind()
    worker.say(messages.released(run_id))
    await server.queued.wait()
    again = await FakeWorker(server.others).connect(hello("f", lease_id=lease_id))
    assert await take_run(second_store, again) == run_id
    await server.catches_up()

    row = await run_row(store.database, run_id)
    assert (row["status"], str(row["lease_id"])) == ("running", lease_id)
    await worker.leave()
    await again.leave()


async def test_a_welcome_that_a_slow_server_is_not_through_with_takes_nothing_from_a_later_one(
    store: Store, second_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Behind(store, second_store, monkeypatch)
    worker = await FakeWorker(server.workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    lease_id = (await worker.hears("welcome")).lease_id
    await worker.leave()
    await server.falls_behind()
    slow = asyncio.create_task(FakeWorker(server.workers).connect(hello("f", lease_id=lease_id)))
    await server.queued.wait()
    again = await FakeWorker(server.others).connect(hello("f", lease_id=lease_id))
    assert await take_run(second_store, again) == run_id
    await server.catches_up()

    row = await run_row(store.database, run_id)
    assert (row["status"], str(row["lease_id"])) == ("running", lease_id)
    await (await slow).leave()
    await again.leave()


async def test_a_welcome_that_is_overtaken_by_a_later_one_expects_nothing(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    lease_id = (await worker.hears("welcome")).lease_id
    await worker.leave()
    held_runs, has_read, goes_on = leases.held_runs, asyncio.Event(), asyncio.Event()

    async def slowly(*arguments: Any) -> Any:
        held = await held_runs(*arguments)
        has_read.set()
        await goes_on.wait()
        return held

    monkeypatch.setattr(leases, "held_runs", slowly)
    slow = await FakeWorker(workers).connect()
    slow.say(hello("f", lease_id=lease_id, held=(run_id,)))
    await has_read.wait()
    monkeypatch.undo()
    again = await FakeWorker(workers).connect(hello("f", lease_id=lease_id))
    goes_on.set()
    await slow.gone()

    assert slow.closed is not None
    assert slow.closed[0] == services_workers.TRY_AGAIN
    assert await status_of(store.database, run_id) == "queued"
    assert store.holders.held() == []
    assert again.connection.free_slots == 10
    await again.leave()


async def test_a_welcome_that_comes_after_a_later_one_does_not_replace_it(
    store: Store, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    lease_id = (await worker.hears("welcome")).lease_id
    resume, has_resumed, goes_on = leases.resume, asyncio.Event(), asyncio.Event()

    async def slowly(*arguments: Any) -> Any:
        number = await resume(*arguments)
        has_resumed.set()
        await goes_on.wait()
        return number

    monkeypatch.setattr(leases, "resume", slowly)
    slow = await FakeWorker(workers).connect()
    slow.say(hello("f", lease_id=lease_id))
    await has_resumed.wait()
    monkeypatch.undo()
    again = await FakeWorker(workers).connect(hello("f", lease_id=lease_id))
    goes_on.set()
    await slow.gone()

    assert await give_run(store, again)
    await again.leave()


async def test_a_worker_that_comes_back_while_a_wait_settles_is_told_of_those_before_too(
    store: Store, workers: Workers
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    lease_id = (await worker.hears("welcome")).lease_id
    worker.say(messages.awaits_signal(run_id, "a", "a"), messages.awaits_signal(run_id, "b", "b"))
    await worker.hears("committed")
    await complete(store, 1, "a", b"1")
    await worker.hears("settled")  # or so the server thinks: the line may have broken
    async with locked(store.database, "LOCK TABLE runs IN SHARE MODE") as other:
        settling = asyncio.create_task(complete(store, 1, "b", b"2"))
        await until_blocked(other)
        again = await FakeWorker(workers).connect(hello("f", lease_id=lease_id, held=(run_id,)))
    await settling
    await Pulse(store, rescuer=asyncio.Event(), scheduler=asyncio.Event()).tick()

    assert [memo.id for memo in (await again.hears("settled")).memo] == ["a", "b"]
    await again.leave()


async def test_a_worker_that_came_back_while_a_wait_settled_is_answered(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    lease_id = (await worker.hears("welcome")).lease_id
    worker.say(messages.awaits_signal(run_id, "a", "a"))
    await worker.hears("committed")
    async with locked(store.database, "LOCK TABLE runs IN SHARE MODE") as other:
        settling = asyncio.create_task(complete(store, 1, "a", b"1"))
        await until_blocked(other)
        again = await FakeWorker(workers).connect(hello("f", lease_id=lease_id, held=(run_id,)))
    await settling
    said = messages.done(run_id, "b")
    again.say(said)

    assert (await again.hears("committed")).runs == {run_id: [said.n]}
    assert [memo.id for memo in (await again.hears("settled")).memo] == ["a"]
    await again.leave()


async def test_runs_that_are_claimed_for_a_worker_as_it_leaves_are_given_to_others_at_once(
    store: Store, second_store: Store, workers: Workers
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    worker.say(messages.released(run_id))
    await worker.hears("committed")
    async with locked(store.database, "LOCK TABLE steps IN ACCESS EXCLUSIVE MODE") as other:
        invoker = Invoker(store, SigningKeys(store.database), public_url="http://127.0.0.1")
        claiming = asyncio.create_task(Dispatcher(store, workers, invoker).tick())
        await until_blocked(other)
        worker.say(Goodbye())
        leaving = asyncio.create_task(worker.leave())
        await until_blocked(other, 2)
    await asyncio.gather(claiming, leaving)

    row = await run_row(store.database, run_id)
    assert (row["status"], row["losses"]) == ("queued", 0)


# --- stopping


async def test_a_worker_that_drains_takes_nothing_more_and_leaves_no_lease(store: Store, workers: Workers) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    assert worker.connection.free_slots == 9
    worker.say(Goodbye(), messages.released(run_id))
    await worker.hears("committed")
    assert worker.connection.free_slots == 0
    await worker.leave()

    assert await select(store.database, "SELECT 1 FROM leases") == []


async def test_a_server_that_stops_asks_its_workers_to_connect_again_and_leaves_them_their_leases(
    store: Store, workers: Workers
) -> None:
    worker = await FakeWorker(workers).connect(hello("f"))
    await workers.say_goodbye()
    await worker.hears("goodbye")
    await worker.leave()

    left = await value(store.database, "SELECT extract(epoch FROM expires_at - rotor_now())::float8 FROM leases")
    assert left > services_workers.COMES_BACK_WITHIN.total_seconds()


async def test_a_server_that_stops_leaves_runs_to_others(store: Store, workers: Workers) -> None:
    store.changes.invokes = False
    early = await FakeWorker(workers).connect(hello("f"))
    await workers.say_goodbye()
    late = await FakeWorker(workers).connect(hello("f"))
    run_ids = [await begin(store), await begin(store)]
    await Dispatcher(store, workers, NoInvoker()).tick()  # type: ignore[arg-type]

    assert [await status_of(store.database, run_id) for run_id in run_ids] == ["queued", "queued"]
    assert early.all_of("start_run") + late.all_of("start_run") == []
    await early.leave()
    await late.leave()


@pytest.mark.parametrize(
    "message",
    [messages.done("{run}", "a"), messages.completed("{run}"), messages.sleeps("{run}", "nap")],
    ids=lambda message: type(message).__name__,
)
async def test_a_worker_of_another_workspace_reaches_no_run_of_this_one(
    store: Store, workers: Workers, message: RunMessage
) -> None:
    await change(store.database, "INSERT INTO workspaces (name) VALUES ('other')")
    worker = await FakeWorker(workers).connect(hello("f"))
    run_id = await give_run(store, worker)
    intruder = await FakeWorker(workers, workspace_id=2).connect(hello("f"))
    intruder.say(type(message)(**{**{f: getattr(message, f) for f in message.__struct_fields__}, "run_id": run_id}))
    assert (await intruder.hears("drop_run")).run_id == run_id

    assert await status_of(store.database, run_id) == "running"
    assert await select(store.database, "SELECT 1 FROM steps") == []
    await worker.leave()
    await intruder.leave()
