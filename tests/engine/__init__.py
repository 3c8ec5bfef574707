"""The engine: decisions without a database."""
