"""The only floor with SQL: what is remembered, and the one place that writes it."""
