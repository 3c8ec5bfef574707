"""The house with its own small Postgres, and reload: what `rotor dev` runs."""
