"""The dashboard: what it draws, who may come in, and how it behaves in a real browser."""
