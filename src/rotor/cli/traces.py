"""Sends the traces of a long-running command where OpenTelemetry's own settings say."""

from __future__ import annotations

import os
from typing import Final

from rotor import tracing

__all__ = ["flush_traces", "start_tracing"]

FLUSH_SECONDS: Final = 3
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def start_tracing(service: str) -> None:
    """Set up tracing where an endpoint of a collector is set, unless the app has set it up itself.

    `service` is what the process is called unless OTEL_SERVICE_NAME says. Needs the extra `otel`.
    """
    if not any(os.environ.get(name) for name in ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    if tracing.active():
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # The environment is heeded by Resource.create, and wins.
    os.environ.setdefault("OTEL_SERVICE_NAME", service)
    provider = TracerProvider(resource=Resource.create())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def flush_traces() -> None:
    """Send what has not been sent, within a few seconds: for a process that is about to be cut off."""
    if tracing.active():
        from opentelemetry import trace

        flush = getattr(trace.get_tracer_provider(), "force_flush", None)
        if flush is not None:
            flush(FLUSH_SECONDS * 1_000)
