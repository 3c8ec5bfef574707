"""How long a step or a run waits before its next try: exponential, with a ceiling, and spread by jitter.

| failures so far | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 and more |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
| delay | 1 s | 2 s | 4 s | 8 s | 16 s | 32 s | 64 s | 2 m 8 s | 4 m 16 s | 8 m 32 s | 17 m 4 s | 34 m 8 s | 1 h |

Each is spread by 20 % to either side, so that what failed together is not tried again together.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

__all__ = ["delay"]

FIRST: Final = timedelta(seconds=1)
CEILING: Final = timedelta(hours=1)
SPREAD: Final = 0.2
DOUBLINGS: Final = 12
"""After these the ceiling is reached; a larger exponent would only overflow."""


def delay(failures: int, *, jitter: float) -> timedelta:
    """The wait after `failures` failed tries (1 or more); `jitter`, random in [0, 1), places it within the spread.

    >>> delay(3, jitter=0.5)
    datetime.timedelta(seconds=4)
    """
    assert failures >= 1
    assert 0 <= jitter < 1
    planned = min(FIRST * (1 << min(failures - 1, DOUBLINGS)), CEILING)
    return planned * (1 + SPREAD * (2 * jitter - 1))
