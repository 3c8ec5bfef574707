"""What followed what, what is drawn as one, and what stands on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from rotor.dashboard.focus import Focus, group_key
from rotor.dashboard.folding import NODES_MAX
from rotor.dashboard.graph import Graph, draw
from rotor.dashboard.grouping import group_steps
from rotor.dashboard.order import Span, order_of
from rotor.dashboard.timeline import SCALE, Timeline, unroll
from rotor.dashboard.words import Reason, duration, reason
from rotor.store.outlines import Beginning, RunOutline, StepOutline
from rotor.store.runs import Failure

BEGINNING = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(second: float) -> datetime:
    return BEGINNING + timedelta(seconds=second)


def step(step_id: str, start: float, end: float | None, **values: Any) -> StepOutline:
    given: dict[str, Any] = {
        "index": 0,
        "op": "run",
        "status": "running" if end is None else "completed",
        "attempts": 1,
        "output": None,
        "error": None,
        "child_run_id": None,
        "event_id": None,
        "waits_for": None,
        "deadline": None,
        "equals": None,
        "expression": None,
        "version": "",
        **values,
    }
    return StepOutline(id=step_id, started_at=at(start), ended_at=None if end is None else at(end), **given)


def run(**values: Any) -> RunOutline:
    given: dict[str, Any] = dict.fromkeys(RunOutline.__struct_fields__)
    given |= {"id": uuid4(), "function_id": "campaign", "status": "waiting", "attempt": 0, "event_id": "e1"}
    given |= {"event_name": "asked", "created_at": BEGINNING, "registered": True, "has_workers": True, "now": at(60)}
    return RunOutline(**(given | values))


def drawn(steps: list[StepOutline], **values: Any) -> Graph:
    of_run = run(**values)
    grouped = group_steps(of_run, steps, {})
    focus = Focus(of_run.id)
    assert len(unroll(grouped, focus).rows) == len(grouped.groups)
    return draw(grouped, focus)


def spans(*times: tuple[float, float | None]) -> list[Span]:
    return [Span(at(start), None if end is None else at(end)) for start, end in times]


def test_a_step_follows_the_one_that_had_ended_when_it_began() -> None:
    order = order_of(spans((0, 1), (1, 2), (2, None)))
    assert [order.frontiers[number] for number in order.follows] == [(), (0,), (1,)]
    assert order.last == (2,)


def test_branches_follow_one_step_and_their_join_follows_them_all() -> None:
    order = order_of(spans((0, 1), (1, 2), (1, 3), (1, 4), (4, 5)))
    assert [order.frontiers[number] for number in order.follows] == [(), (0,), (0,), (0,), (1, 2, 3)]


def test_a_branch_goes_on_from_its_own_step_while_another_is_in_flight() -> None:
    order = order_of(spans((0, 1), (0, 5), (1, 2), (5, 6)))
    assert [order.frontiers[number] for number in order.follows] == [(), (), (0,), (2, 1)]


def test_steps_that_ended_in_one_commit_did_not_follow_each_other() -> None:
    assert order_of(spans((0, 1), (1, 2), (2, 2))).follows == [0, 1, 1]


def test_a_start_within_a_moment_of_an_end_follows_it() -> None:
    assert order_of(spans((0, 1), (0.999, 2))).follows == [0, 1]


def test_a_fan_of_500_is_one_node_that_counts_its_states() -> None:
    fan = [step(f"page-{number}", 1, 2, status="failed" if number < 3 else "completed") for number in range(500)]
    graph = drawn([step("first", 0, 1), *fan, step("last", 2, 3)])
    (many,) = [node for node in graph.nodes if node.kind == "group"]
    assert many.title == "page-# \u00d7500"
    assert many.text == "3 failed, 497 completed"
    assert many.status == "failed"
    assert len(graph.nodes) == 4


def test_a_loop_of_1000_over_one_id_is_one_node() -> None:
    graph = drawn([step("poll", number, number + 1, index=number) for number in range(1_000)])
    assert [node.title for node in graph.nodes] == ["asked", "poll \u00d71,000"]


def test_a_long_run_of_unlike_steps_puts_the_old_quiet_ones_away_and_keeps_the_failed() -> None:
    names = "abcdefghij"
    steps = [step(names[number % 10] * (number // 10 % 50 + 1), number, number + 1) for number in range(1_000)]
    steps[500] = step("bad", 500, 501, status="failed", error=Failure(name="ValueError", message="no"))
    graph = drawn(steps)
    assert len(graph.nodes) <= NODES_MAX + 2
    assert [node.text for node in graph.nodes if node.title == "bad"] == ["ValueError: no"]
    assert [node.title[:13] for node in graph.nodes if node.kind == "group"] == ["earlier steps"]


def test_a_long_loop_over_several_steps_is_one_node_for_each_of_them() -> None:
    body = [
        step(("fetch", "parse", "store")[number % 3], number, number + 1, index=number // 3) for number in range(900)
    ]
    graph = drawn([step("first", -2, -1), *body, step("last", 900, 901)])
    assert [node.title for node in graph.nodes] == [
        "asked",
        "first",
        "fetch \u00d7300",
        "parse \u00d7300",
        "store \u00d7300",
        "last",
    ]
    assert len(graph.edges) == 5


def test_a_fan_of_branches_with_steps_of_their_own_is_one_node_for_each_kind_of_step() -> None:
    fan = [
        step(f"{name}-{number}", number % 7 + place * (1 + number % 3), number % 7 + (place + 1) * (1 + number % 3))
        for number in range(100)
        for place, name in enumerate(("fetch", "score", "save"))
    ]
    graph = drawn(sorted(fan, key=lambda one: one.started_at))
    assert [node.title for node in graph.nodes][1:] == ["fetch-# \u00d7100", "score-# \u00d7100", "save-# \u00d7100"]


def test_a_short_loop_is_drawn_as_it_went() -> None:
    graph = drawn([step(("fetch", "store")[number % 2], number, number + 1, index=number // 2) for number in range(40)])
    assert len([node for node in graph.nodes if node.kind == "step"]) == 40


def test_a_group_unfolds_in_place_into_each_of_its_steps() -> None:
    of_run = run()
    fan = [step(f"page-{number}", 1, 2, status="failed" if number == 7 else "completed") for number in range(500)]
    grouped = group_steps(of_run, [step("first", 0, 1), *fan, step("last", 2, 3)], {})
    focus = Focus(of_run.id, unfolded=(group_key(of_run.id, "page-0", 0),))
    graph = draw(grouped, focus)
    many = graph.nodes[2]
    assert [cell.step.id for cell in many.cells] == [f"page-{number}" for number in range(500)]
    assert all(0 < cell.x < many.place.width and 0 < cell.y < many.place.height for cell in many.cells)
    assert graph.nodes[3].place.y > many.place.bottom
    assert len(unroll(grouped, focus).rows) == 3 + 500


def test_a_child_unfolds_in_place_with_a_graph_of_its_own() -> None:
    parent, child = run(), run(status="completed", ended_at=at(3))
    within = group_steps(child, [step("one", 1, 2), step("two", 2, 3)], {})
    invoke = step("sub", 1, 3, op="invoke", child_run_id=child.id)
    grouped = group_steps(parent, [step("first", 0, 1), invoke, step("last", 3, 4)], {child.id: within})
    focus = Focus(parent.id, unfolded=(str(child.id),))
    graph = draw(grouped, focus)
    (unfolded,) = [node for node in graph.nodes if node.inner is not None]
    assert unfolded.inner is not None
    assert [node.title for node in unfolded.inner.nodes] == ["asked", "one", "two", "completed in 3.0 s"]
    assert unfolded.place.height > unfolded.inner.height
    keys = [node.key for node in (*graph.nodes, *unfolded.inner.nodes)]
    assert len(set(keys)) == len(keys)
    assert [(row.group.title, row.depth) for row in unroll(grouped, focus).rows] == [
        ("first", 0),
        ("sub", 0),
        ("one", 1),
        ("two", 1),
        ("last", 0),
    ]


def test_an_address_keeps_what_is_unfolded_and_what_is_chosen() -> None:
    of_run = run()
    focus = Focus(of_run.id, unfolded=("a", "b"))
    page = f"/dashboard/runs/{of_run.id}"
    assert focus.turning("b") == f"{page}?open=a"
    assert focus.turning("c/d") == f"{page}?open=a&open=b&open=c%2Fd"
    assert focus.choosing(of_run.id, "x&y", 2) == f"{page}?step=x%26y&index=2&open=a&open=b"
    child = uuid4()
    assert Focus(of_run.id).choosing(child, "x", 0, is_group=True) == f"{page}?step=x&index=0&of={child}&group=1"
    assert focus.closing() == f"{page}?open=a&open=b"
    many = Focus(of_run.id, unfolded=tuple(str(number) for number in range(12)))
    assert "open=0" not in many.turning("new")


def test_a_few_alike_branches_stay_single() -> None:
    graph = drawn([step(f"page-{number}", 0, 1) for number in range(8)])
    assert len([node for node in graph.nodes if node.kind == "step"]) == 8


def test_two_fans_behind_each_other_meet_in_one_joint() -> None:
    first = [step(name, 0, 1) for name in ("one", "two", "three")]
    graph = drawn([*first, *(step(name, 1, 2) for name in ("four", "five", "six"))])
    assert len([node for node in graph.nodes if node.kind == "joint"]) == 1
    assert len(graph.edges) == 3 + 3 + 3


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "page-1", "page-2", "c"]), st.integers(0, 30), st.none() | st.integers(0, 9)
        ),
        max_size=80,
    )
)
def test_any_run_can_be_drawn(times: list[tuple[str, int, int | None]]) -> None:
    steps = [
        step(name, start, None if took is None else start + took, index=number)
        for number, (name, start, took) in enumerate(sorted(times, key=lambda one: one[1]))
    ]
    graph = drawn(steps)
    shown = [one for node in graph.nodes if node.group for one in node.group.steps]
    assert len(shown) == len(steps)


def timeline(steps: list[StepOutline], **values: Any) -> Timeline:
    of_run = run(**values)
    return unroll(group_steps(of_run, steps, {}), Focus(of_run.id))


def test_a_long_sleep_takes_no_more_of_the_timeline_than_half_of_the_work() -> None:
    day = 86_400
    sleeps = step("rest", 10, day + 10, op="sleep")
    drawn = timeline(
        [step("one", 0, 10), sleeps, step("two", day + 10, day + 20)], ended_at=at(day + 20), status="completed"
    )
    assert [(round(row.start), round(row.width)) for row in drawn.rows] == [(0, 333), (333, 333), (667, 333)]
    assert [(round(start), round(width)) for start, width in drawn.breaks] == [(333, 333)]
    assert drawn.ticks == ["0", "7.5 s", "12 h", "24 h", "24 h"]


def test_a_timeline_of_work_alone_has_no_break_and_even_ticks() -> None:
    drawn = timeline([step("one", 0, 30), step("two", 30, None)])
    assert drawn.breaks == []
    assert drawn.ticks == ["0", "15.0 s", "30.0 s", "45.0 s", "1 min"]
    assert [(row.start, row.width) for row in drawn.rows] == [(0, 500), (500, 500)]


def test_a_timeline_of_waiting_alone_is_drawn_as_long_as_it_is() -> None:
    drawn = timeline([step("rest", 0, None, op="sleep", status="waiting")])
    assert drawn.breaks == []
    assert drawn.ticks[-1] == "1 min"


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100), st.booleans()), max_size=20), st.floats(0, 100))
def test_every_bar_stands_within_the_timeline_in_the_order_of_its_time(
    times: list[tuple[float, float, bool]], ended: float
) -> None:
    steps = [
        step(f"step {number} of", start, start + took, op="run" if works else "sleep")
        for number, (start, took, works) in enumerate(sorted(times))
    ]
    drawn = timeline(steps, ended_at=at(ended), status="completed")
    assert all(row.start >= 0 and row.start + row.width <= SCALE + 1e-6 for row in drawn.rows)
    starts = [
        row.start
        for row in sorted(drawn.rows, key=lambda row: row.group.started_at)
        if row.start + row.width < SCALE - 5
    ]
    assert all(before <= after + 1e-6 for before, after in pairwise(starts))


def test_why_a_run_waits_is_told_in_words() -> None:
    waits = step(
        "opened",
        0,
        None,
        op="wait_for_event",
        status="waiting",
        waits_for="event:email.opened",
        deadline=at(60 + 7200),
        equals=b'{"data.contactId":"c-1"}',
        expression="data.score > 3",
    )
    told = 'Step opened waits for event email.opened where data.contactId == "c-1" && data.score > 3, and gives up'
    assert reason(run(), [waits]) == [Reason(told, at(60 + 7200))]
    sleeps = step("rest", 0, None, op="sleep", status="waiting", deadline=at(90))
    assert reason(run(), [sleeps]) == [Reason("It sleeps in rest, and wakes", at(90), sleeps)]
    retries = step("call", 0, None, status="retrying", attempts=2, index=1, deadline=at(70))
    assert reason(run(), [retries]) == [Reason("Step call #2 failed 2 times, and is tried again", at(70), retries)]
    works = step("work", 0, None)
    assert reason(run(status="running", holder="w", holder_kind="worker"), [works]) == [
        Reason("Its body runs in worker w, in step work.")
    ]
    again = run(status="queued", attempt=1, due_at=at(65))
    assert reason(again, []) == [Reason("Its body failed once and is tried again", at(65))]
    assert "No worker is connected" in reason(run(status="queued", has_workers=False), [])[0].text
    assert "is paused" in reason(run(status="queued", paused_at=at(1)), [])[0].text
    assert reason(run(status="completed", ended_at=at(3)), []) == []


def test_a_payload_stands_on_its_node_in_short() -> None:
    output = Beginning(b'{"text":\n  "' + b"x" * 200 + b'"}', 400)
    graph = drawn([step("one", 0, 1, output=output)])
    (text,) = [node.text for node in graph.nodes if node.kind == "step"]
    assert text.startswith('{"text": "xxx')
    assert text.endswith("…")


def test_durations_are_told_in_at_most_two_units() -> None:
    told = [duration(seconds) for seconds in (0, 0.0123, 0.9999, 59.99, 61, 3600, 86_400 * 3 + 7_200)]
    assert told == ["< 1 ms", "12 ms", "1.0 s", "1 min", "1 min 1 s", "1 h", "3 d 2 h"]
