"""Whoever has many runs in flight leaves room for whoever has few."""

from __future__ import annotations

from collections.abc import Sequence

from rotor.services.slots import KEPT_FREE, MOST, SLOTS, Openings, Slots

HEAVY, BESIDE = (1, "heavy"), (1, "beside")


def taken(*functions: tuple[tuple[int, str], int]) -> Slots:
    slots = Slots()
    for function, count in functions:
        for _ in range(count):
            slots.take(*function)
    return slots


def refused(openings: Openings) -> tuple[Sequence[int], Sequence[tuple[int, str]]]:
    return openings.not_of, openings.not_for


def test_one_function_gets_three_quarters_of_all_slots_and_no_more() -> None:
    assert Slots().openings() == Openings(SLOTS - KEPT_FREE)
    full = taken((HEAVY, SLOTS - KEPT_FREE)).openings()
    assert full.not_for == [HEAVY]
    assert 0 < full.runs < KEPT_FREE


def test_the_last_slots_are_for_other_workspaces() -> None:
    last = taken((HEAVY, SLOTS - KEPT_FREE), (BESIDE, KEPT_FREE // 2 + 1)).openings()
    assert refused(last) == ([1], [HEAVY])
    assert last.runs == SLOTS - (SLOTS - KEPT_FREE) - (KEPT_FREE // 2 + 1)


def test_where_none_has_more_than_half_all_slots_are_for_all() -> None:
    many = [((workspace_id, "f"), SLOTS // 5) for workspace_id in range(1, 5)]
    slots = taken(*many, ((5, "f"), SLOTS // 5 - 1))
    assert refused(slots.openings()) == ([], [])
    assert slots.openings().runs == 1


def test_it_is_told_when_somebody_may_go_on() -> None:
    slots = taken((HEAVY, SLOTS))
    free = [count for count in range(1, SLOTS + 1) if slots.give_back(*HEAVY)]
    assert free == [1, KEPT_FREE // 2 + 1, KEPT_FREE + 1, SLOTS - MOST]


def test_it_is_told_when_a_function_or_a_workspace_may_go_on_again() -> None:
    beside_others = taken((HEAVY, MOST + 1), ((2, "f"), SLOTS - KEPT_FREE - MOST + 10))
    assert beside_others.openings().not_for == [HEAVY]
    assert beside_others.give_back(*HEAVY)
    assert beside_others.openings().not_for == []
    with_another = taken((HEAVY, MOST), (BESIDE, 1), ((2, "f"), SLOTS - MOST - 10))
    assert refused(with_another.openings()) == ([1], [])
    assert with_another.give_back(*BESIDE)
    assert refused(with_another.openings()) == ([], [])
