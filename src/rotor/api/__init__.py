"""The HTTP API: it listens, checks what it hears, and asks the store."""
