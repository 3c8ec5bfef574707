"""Every number that a server counts for `/metrics`, declared in one place. Names never carry a payload or an id."""

from __future__ import annotations

from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

__all__ = ["EVENTS", "REQUESTS", "REQUEST_SECONDS", "STREAMS", "exposition"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

EVENTS: Final = Counter("rotor_events_accepted", "Events accepted over HTTP.")
REQUESTS: Final = Counter("rotor_http_requests", "HTTP requests answered.", ["operation", "status"])
REQUEST_SECONDS: Final = Histogram(
    "rotor_http_request_seconds",
    "From the whole request to the whole answer, streams left out.",
    ["operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
STREAMS: Final = Gauge("rotor_streams_open", "Server-sent event streams open on this server.")


def exposition() -> bytes:
    """Every number in Prometheus' text format."""
    return generate_latest(REGISTRY)
