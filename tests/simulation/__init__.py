"""A simulation of the engine: random programs under random schedules and faults, judged by an oracle."""
