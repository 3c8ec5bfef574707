"""Every number that a server counts for `/metrics`, declared in one place.

Names are as Prometheus asks: base units, `_total` on what only grows, and labels with few values. None carries a
payload, an id, or a name that somebody chose.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

__all__ = [
    "COMMIT_DURATION",
    "EVENTS",
    "QUEUED_WRITES",
    "REQUESTS",
    "REQUEST_DURATION",
    "RUNS_ENDED",
    "STREAMS",
    "WORKERS",
    "exposition",
]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody reads
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

EVENTS: Final = Counter("rotor_events_accepted", "Events accepted over HTTP.")
REQUESTS: Final = Counter("rotor_http_requests", "HTTP requests answered.", ["operation", "status"])
REQUEST_DURATION: Final = Histogram(
    "rotor_http_request_duration_seconds",
    "From the whole request to the whole answer, streams left out.",
    ["operation"],
    buckets=SECONDS,
)
STREAMS: Final = Gauge(
    "rotor_streams_open", "Streams open on this server, and requests that wait for the end of a run."
)
WORKERS: Final = Gauge("rotor_workers_connected", "Workers connected to this server.")
RUNS_ENDED: Final = Counter("rotor_runs_ended", "Runs whose end this server has written.", ["status"])
COMMIT_DURATION: Final = Histogram(
    "rotor_commit_duration_seconds",
    "How long a group of writes took to be durable, tries while Postgres was away among it.",
    ["queue"],
    buckets=SECONDS,
)
QUEUED_WRITES: Final = Gauge("rotor_queued_writes", "Writes that wait on this server for a commit.", ["queue"])


def exposition() -> bytes:
    """Every number in Prometheus' text format."""
    return generate_latest(REGISTRY)
