"""The API: what it takes, what it refuses, what it answers."""
