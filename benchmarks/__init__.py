"""How fast Rotor is: one file a question in `questions/`, asked of real processes on a real Postgres."""
