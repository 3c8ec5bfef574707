"""The protocol: what crosses the wire."""
