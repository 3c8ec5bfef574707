"""The wait before the next try."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotor import limits
from rotor.engine.backoff import delay

MIDDLE = 0.5


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (8, 128), (12, 2_048), (13, 3_600), (limits.RETRIES + 1, 3_600)]
)
def test_the_delay_doubles_up_to_an_hour(failures: int, seconds: int) -> None:
    assert delay(failures, jitter=MIDDLE) == timedelta(seconds=seconds)


@given(failures=st.integers(1, 1_000_000), jitter=st.floats(0, 1, exclude_max=True))
def test_jitter_spreads_the_delay_by_a_fifth_to_either_side(failures: int, jitter: float) -> None:
    planned = delay(failures, jitter=MIDDLE)
    assert planned * 0.8 <= delay(failures, jitter=jitter) <= planned * 1.2
