"""The store: what is remembered."""
