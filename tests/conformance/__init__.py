"""What Rotor promises, asked of real processes: one suite of behaviours over every shape that it can be run in."""
