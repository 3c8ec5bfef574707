"""The order in which recorded results are handed out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rotor.protocol.messages import Memo
from rotor.sdk.replay import Key, Order


def memo(id: str, group: int, status: str = "completed") -> Memo:
    return Memo(id=id, index=0, op="run", status=status, group=group)  # type: ignore[arg-type]


def ids(memos: list[Memo]) -> list[str]:
    return [one.id for one in memos]


def everything(key: Key) -> bool:
    """Each step has been asked for."""
    return True


def test_groups_come_in_the_order_of_their_commits() -> None:
    order = Order([memo("a", 1), memo("b", 1), memo("c", 4)])
    assert ids(order.release(everything)) == ["a", "b"]
    assert ids(order.release(everything)) == ["c"]
    assert not order.groups


def test_only_results_are_handed_out() -> None:
    order = Order([memo("a", 1, "waiting"), memo("b", 1, "cancelled"), memo("c", 2, "failed")])
    assert ("a", 0) not in order
    assert ids(order.release(everything)) == ["c"]


def test_a_group_is_complete_when_each_of_its_steps_has_been_asked_for() -> None:
    order = Order([memo("a", 1), memo("b", 1)])
    order.ask(("a", 0))
    assert not order.complete
    order.ask(("b", 0))
    assert order.complete


def test_a_late_notice_of_an_earlier_commit_goes_before_later_ones() -> None:
    order = Order([])
    order.add(memo("late", 9), 9, asked=True)
    order.add(memo("early", 8), 8, asked=True)
    order.add(memo("also late", 9), 9, asked=True)
    order.add(memo("now", 0), 0, asked=True)
    assert [ids(order.release(everything)) for _ in range(3)] == [["early"], ["also late", "late"], ["now"]]


def test_a_stray_that_is_asked_for_after_all_comes_in_its_old_place() -> None:
    order = Order([memo("a", 1), memo("stray", 1), memo("later", 3)])
    order.ask(("a", 0))
    assert ids(order.release(lambda key: key == ("a", 0))) == ["a", "stray"]
    assert ("stray", 0) in order
    order.ask(("later", 0))
    order.ask(("stray", 0))
    assert order.complete
    assert [ids(order.release(everything)) for _ in range(2)] == [["stray"], ["later"]]
    assert not order.groups


def test_one_member_at_a_time() -> None:
    order = Order([memo("a", 1), memo("b", 1), memo("c", 2)])
    assert [ids(order.release_one()) for _ in range(3)] == [["a"], ["b"], ["c"]]
    assert not order.groups


@given(st.lists(st.integers(min_value=1, max_value=6), max_size=20), st.data())
def test_releasing_until_a_step_lets_go_all_before_it(groups: list[int], data: st.DataObject) -> None:
    memos = [memo(str(place), group) for place, group in enumerate(sorted(groups))]
    order = Order(memos)
    if not memos:
        return
    wanted = data.draw(st.sampled_from(memos))
    order.release_until((wanted.id, 0))
    assert (wanted.id, 0) not in order
    assert bool(order.groups) == any(one.group > wanted.group for one in memos)
    strays = [one for one in memos if one.group <= wanted.group and one is not wanted]
    for one in strays:
        order.ask((one.id, 0))
    come = [group for _ in {one.group for one in strays} for group in {m.group for m in order.release(everything)}]
    assert come == sorted({one.group for one in strays})
