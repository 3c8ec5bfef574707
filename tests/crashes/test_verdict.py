"""The judge of the campaigns finds each thing that it is there to find: it is shown histories that never were."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from rotor.store.database import Database
from tests.crashes import verdict
from tests.crashes.bench import Bench
from tests.crashes.campaign import missing
from tests.crashes.faults import PROMISED
from tests.crashes.lab import Lab, Strike
from tests.crashes.programs import BODIES
from tests.crashes.verdict import Sent, judge, problems_of
from tests.store.rows import BEGINNING, put, put_run, put_step

BEGAN = BEGINNING.timestamp()


class History(Lab):
    """A campaign that nobody ran: one run of a chain with one step, and whatever a test adds."""

    def __init__(self, database: Database, folder: Path) -> None:
        bench = Bench(database.dsn, database.schema, folder)
        bench.database = database
        super().__init__(bench, None, {})  # type: ignore[arg-type]
        self.sent = Sent({}, set())
        self.run_id = UUID(int=0)

    async def happens(self) -> History:
        self.run_id = await self.runs("e1", "w-chain", output=["r"])
        await self.records(self.run_id, "link", "r")
        self.ran(self.run_id, "link", "r")
        return self

    async def runs(
        self, event: str, function: str, *, status: str = "completed", output: Any = None, **more: Any
    ) -> UUID:
        self.sent.events[event] = function
        encoded = json.dumps(output).encode() if status == "completed" else None
        return await put_run(
            self.bench.database, event_id=event, function_id=function, status=status, output=encoded, **more
        )

    async def records(self, run_id: UUID, step: str, output: str, **more: Any) -> None:
        await put_step(self.bench.database, run_id, step, output=json.dumps(output).encode(), **more)

    def ran(
        self, run_id: UUID, step: str, value: str = "", *, pid: int = 1, at: float = 0, ended: str = "return"
    ) -> None:
        """A body ran, `at` seconds after the beginning."""
        line = {"run": str(run_id), "step": step, "index": 0, "pid": pid, "at": BEGAN + at, "value": value}
        with (self.bench.ledger / BODIES).open("a", encoding="utf-8") as file:
            for what in filter(None, ("begin", ended)):
                file.write(json.dumps({**line, "what": what}) + "\n")

    async def change(self, sql: str) -> None:
        await self.bench.rows(sql)

    async def problems(self) -> list[str]:
        return await problems_of(self, self.sent)


@pytest.fixture
async def history(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setattr(
        verdict, "count", lambda *_: None
    )  # what never was is not among what the suite shows at its end
    return await History(database, tmp_path).happens()


async def test_nothing_is_found_where_nothing_is_wrong(history: History) -> None:
    assert await history.problems() == []


async def loses_a_run(history: History) -> None:
    history.sent.events["e2"] = "chain"


async def starts_a_run_twice(history: History) -> None:
    await history.runs("e1", "w-once", output="in doubt")


async def fails(history: History) -> None:
    await history.runs("e2", "w-chain", status="failed")


async def cancels_unasked(history: History) -> None:
    await history.runs("e2", "w-chain", status="cancelled")


async def changes_a_result(history: History) -> None:
    history.recorded |= await history.bench.recorded()
    await history.change("UPDATE steps SET output = '\"s\"'")
    history.ran(history.run_id, "link", "s", pid=2)


async def forgets_a_result(history: History) -> None:
    history.recorded |= await history.bench.recorded()
    await history.change("DELETE FROM steps")


async def makes_a_result_up(history: History) -> None:
    await history.records(history.run_id, "other", "q")


async def takes_a_result_of_a_body_that_raised(history: History) -> None:
    await history.records(history.run_id, "other", "q")
    history.ran(history.run_id, "other", "q", ended="raise")


async def returns_what_no_step_gave(history: History) -> None:
    await history.change("UPDATE runs SET output = '[\"q\"]'")


async def runs_a_body_again(history: History) -> None:
    history.ran(history.run_id, "link", "s", pid=2, at=5)


async def runs_a_body_again_long_after_a_fault(history: History) -> None:
    history.strikes.append(Strike(1, "killed", BEGAN - 9, BEGAN - 8))
    history.ran(history.run_id, "link", "s", pid=2, at=5)


async def runs_twice_what_runs_at_most_once(history: History) -> None:
    history.strikes.append(Strike(1, "killed", BEGAN, BEGAN + 1))
    history.ran(history.run_id, "once", ended="")
    history.ran(history.run_id, "once", "s", pid=2, at=5)


async def wakes_a_sleep_early(history: History) -> None:
    later = BEGINNING + timedelta(seconds=1)
    await put_step(history.bench.database, history.run_id, "nap", op="sleep", deadline=later)


async def times_out_early(history: History) -> None:
    later = BEGINNING + timedelta(seconds=1)
    await put_step(history.bench.database, history.run_id, "w", op="wait_for_event", status="timed_out", deadline=later)


async def starts_nothing_with_an_event_that_a_step_sent(history: History) -> None:
    await put_step(history.bench.database, history.run_id, "echo", op="send_event", event_id="e2")


async def sends_an_event_of_a_step_twice(history: History) -> None:
    await put_step(history.bench.database, history.run_id, "echo", op="send_event", event_id="e2")
    for function in ("w-once", "s-once"):
        await history.runs("e2", function, output="in doubt")


async def leaves_a_signal_undelivered(history: History) -> None:
    await put(history.bench.database, "signals", workspace_id=1, id="signal-e1", data=b"1", completed_at=BEGINNING)


async def delivers_a_signal_to_another(history: History) -> None:
    await history.runs("e2", "w-waiting", output=["news-e2", "between", "for e1"])


async def delivers_an_event_to_another(history: History) -> None:
    await history.runs("e2", "w-waiting", output=["news-e1", "between", "for e2"])


async def delivers_nothing(history: History) -> None:
    await history.runs("e2", "w-waiting", output=[None, "between", None])


async def ends_a_parent_without_its_child(history: History) -> None:
    await history.runs("e2", "w-parent", output=["c", []])


async def begins_a_body_after_a_cancellation(history: History) -> None:
    history.sent.cancelled.add("e2")
    run_id = await history.runs("e2", "w-chain", status="cancelled")
    history.ran(run_id, "link", "q", at=1)


async def leaves_a_run_that_nothing_moves(history: History) -> None:
    await history.change("UPDATE runs SET status = 'waiting', ended_at = NULL")
    history.sent.events.clear()


@pytest.mark.parametrize(
    ("goes_wrong", "said"),
    [
        (loses_a_run, "e2 was acknowledged and has 0 runs"),
        (starts_a_run_twice, "e1 started 2 runs"),
        (fails, "is failed"),
        (cancels_unasked, "e2 was cancelled by nobody"),
        (changes_a_result, "was recorded as"),
        (forgets_a_result, "was recorded as"),
        (makes_a_result_up, "no body of"),
        (takes_a_result_of_a_body_that_raised, "no body of"),
        (returns_what_no_step_gave, "which its steps did not"),
        (runs_a_body_again, "and nothing struck 1"),
        (runs_a_body_again_long_after_a_fault, "and nothing struck 1"),
        (runs_twice_what_runs_at_most_once, "ran more than once"),
        (wakes_a_sleep_early, "woke early"),
        (times_out_early, "woke early"),
        (starts_nothing_with_an_event_that_a_step_sent, "has not started its one run"),
        (sends_an_event_of_a_step_twice, "has not started its one run"),
        (leaves_a_signal_undelivered, "signal signal-e1 is not delivered"),
        (delivers_a_signal_to_another, "e2 was given"),
        (delivers_an_event_to_another, "e2 was given"),
        (delivers_nothing, "e2 was given"),
        (ends_a_parent_without_its_child, "e2 has no completed child"),
        (begins_a_body_after_a_cancellation, "began after its end"),
        (leaves_a_run_that_nothing_moves, "run waits for nothing"),
    ],
    ids=lambda one: one.__name__ if callable(one) else "",
)
async def test_a_history_is_condemned_that(
    history: History, goes_wrong: Callable[[History], Awaitable[None]], said: str
) -> None:
    await goes_wrong(history)

    assert [problem for problem in await history.problems() if said in problem]
    with pytest.raises(AssertionError):
        await judge(history, history.sent)


async def test_what_a_fault_or_a_failure_explains_is_no_violation(history: History) -> None:
    history.strikes.append(Strike(1, "killed", BEGAN + 1, BEGAN + 2))
    history.ran(history.run_id, "link", "s", pid=2, at=5)
    history.ran(history.run_id, "flaky", ended="raise")
    history.ran(history.run_id, "flaky", "q", at=1)

    assert await history.problems() == []
    assert history.tallied["re-executions that a fault explains"] == 1


async def test_work_that_does_not_flow_again_is_a_violation(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        raise TimeoutError

    async def sent(*_: object) -> str:
        return "e9"

    async def event(_: str) -> Any:
        return SimpleNamespace(runs=[SimpleNamespace(id=str(uuid4()))])

    client = SimpleNamespace(send=sent, events=SimpleNamespace(get=event), runs=SimpleNamespace(wait=never))
    monkeypatch.setattr(history, "clients", lambda: [client, client])
    with pytest.raises(TimeoutError):
        await verdict.flows(history)


async def test_a_campaign_that_injected_nothing_misses_every_fault(history: History) -> None:
    assert set(missing(history)) == PROMISED
    history.injected["worker", "SIGKILL"] += 1
    assert PROMISED - set(missing(history)) == {("worker", "SIGKILL")}
