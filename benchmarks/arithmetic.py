"""What a step computes, for every system that is measured."""

from __future__ import annotations

MODULUS = 1_000_003


def after(value: int, k: int) -> int:
    """The value of step `k`, given that of the step before."""
    return (value * 31 + k) % MODULUS


def expected_value(n: int, steps: int) -> int:
    """What a chain of `steps` that starts with `n` returns."""
    for k in range(steps):
        n = after(n, k)
    return n
