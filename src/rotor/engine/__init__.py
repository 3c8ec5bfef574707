"""Decisions: pure functions of state, input and time, with no I/O, clock or randomness of their own."""
