"""Small plots: every value has its place, whatever the values."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotor.dashboard.plots import HEIGHT, WIDTH, bars, ceiling, line

VALUES = st.lists(st.floats(0, 1e9), min_size=1, max_size=60)


@pytest.mark.parametrize(("highest", "top"), [(0, 0.001), (1, 1), (1.2, 2), (3, 5), (7, 10), (99, 100), (101, 200)])
def test_the_top_is_round_and_no_value_is_above_it(highest: float, top: float) -> None:
    assert ceiling([None, highest]) == pytest.approx(top)


@given(VALUES)
def test_bars_stand_within_the_plot_on_its_floor(values: list[float]) -> None:
    found = bars(values, ceiling(values))
    assert len(found) == sum(value > 0 for value in values)
    for bar in found:
        assert 0 <= bar.x < bar.x + bar.width <= WIDTH
        assert bar.y >= 0
        assert bar.y + bar.height == pytest.approx(HEIGHT)


@given(st.lists(st.none() | st.floats(0, 1e9), min_size=1, max_size=60))
def test_a_line_has_each_value_once_and_breaks_where_there_is_none(values: list[float | None]) -> None:
    drawn = line(values, ceiling(values))
    points = re.findall(r"[\d.]+ [\d.]+", drawn.path)
    assert len(points) + len(drawn.points) == sum(value is not None for value in values)
    told = "".join("x" if value is not None else " " for value in values).split()
    assert drawn.path.count("M") == sum(len(part) > 1 for part in told)
