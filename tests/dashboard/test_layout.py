"""Where nodes stand, whatever the graph."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotor.dashboard.layout import Drawing, Place, Size, lay_out


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Size], list[tuple[int, int]]]:
    sizes = draw(st.lists(st.builds(Size, st.floats(5, 300), st.floats(5, 90)), min_size=1, max_size=25))
    pairs = list(combinations(range(len(sizes)), 2))
    edges = draw(st.lists(st.sampled_from(pairs), max_size=50, unique=True)) if pairs else []
    return sizes, edges


def overlap(one: Place, other: Place) -> bool:
    across = one.left < other.left + other.width - 0.01 and other.left < one.left + one.width - 0.01
    return across and one.y < other.bottom - 0.01 and other.y < one.bottom - 0.01


@given(graphs())
def test_no_two_nodes_stand_on_one_place(graph: tuple[list[Size], list[tuple[int, int]]]) -> None:
    drawing = lay_out(*graph)
    assert not [pair for pair in combinations(drawing.places, 2) if overlap(*pair)]


@given(graphs())
def test_a_node_stands_below_all_before_it_and_all_stand_within_the_drawing(
    graph: tuple[list[Size], list[tuple[int, int]]],
) -> None:
    sizes, edges = graph
    drawing = lay_out(sizes, edges)
    assert all(drawing.places[before].bottom < drawing.places[after].y for before, after in edges)
    assert all(place.left >= -0.01 and place.left + place.width <= drawing.width + 0.01 for place in drawing.places)
    assert all(place.bottom <= drawing.height + 0.01 for place in drawing.places)


def test_branches_stand_side_by_side_below_the_middle_of_what_they_follow() -> None:
    drawing = lay_out([Size(100, 40)] * 5, [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)])
    first, *branches, join = drawing.places
    assert len({branch.y for branch in branches}) == 1
    assert first.x == pytest.approx(branches[1].x) == pytest.approx(join.x)


def test_an_edge_over_several_rows_passes_beside_the_nodes_between() -> None:
    drawing = lay_out([Size(100, 40)] * 4, [(0, 1), (1, 2), (2, 3), (0, 3)])
    (_, passage, *_) = drawing.edges[3]
    between = drawing.places[1]
    assert not between.left <= passage[0] <= between.left + between.width


def test_an_edge_that_leads_back_is_refused() -> None:
    with pytest.raises(ValueError, match="leads back"):
        lay_out([Size(1, 1)] * 2, [(1, 0)])


def test_nothing_is_drawn_of_nothing() -> None:
    assert lay_out([], []) == Drawing([], [], 0.0, 0.0)
