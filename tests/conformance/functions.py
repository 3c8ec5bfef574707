"""The workflows of the suite, as one app: `rotor dev tests.conformance.functions`."""

from __future__ import annotations

from rotor import Function
from tests.conformance.workflows import (
    branches,
    children,
    contract,
    events,
    faults,
    limits,
    logs,
    schedules,
    signals,
    steps,
    threads,
)
from tests.conformance.workflows import values as typed

__all__ = ["FUNCTIONS"]

MODULES = (contract, steps, faults, events, signals, children, branches, threads, typed, schedules, limits, logs)

FUNCTIONS = [value for module in MODULES for value in vars(module).values() if isinstance(value, Function)]
