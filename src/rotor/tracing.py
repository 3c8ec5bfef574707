"""Traces by OpenTelemetry, where the process has set it up; where it has not, nothing is imported and nothing done.

What crosses a wire or a table is W3C's `traceparent`: an event carries that of its sender, the runs that it starts go
on from it, and so do the events and children of their steps. Spans name functions, runs and steps, never what they
hold: of an error its name alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

__all__ = ["Kind", "active", "checked", "current", "fail", "past", "span", "start", "traceparent_of", "using"]

Kind: TypeAlias = Literal["internal", "server", "client", "producer", "consumer"]
Span: TypeAlias = Any
"""A span of OpenTelemetry; None where there is no tracing."""

TRACEPARENT: Final = r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_traceparent = re.compile(TRACEPARENT)
_off: AbstractContextManager[None] = nullcontext()


def active() -> bool:
    """Whether this process has set up a tracer. Whoever has must have imported OpenTelemetry, so we need not."""
    api = sys.modules.get("opentelemetry.trace")
    return api is not None and not isinstance(
        api.get_tracer_provider(), (api.ProxyTracerProvider, api.NoOpTracerProvider)
    )


def checked(traceparent: str | None) -> str | None:
    """A traceparent from outside, or None where it is none: as W3C asks, a bad one is as good as none."""
    return traceparent if traceparent is not None and _traceparent.fullmatch(traceparent) else None


def current() -> str | None:
    """The traceparent of the span that this code runs in."""
    if not active():
        return None
    from opentelemetry import trace  # noqa: PLC0415

    return traceparent_of(trace.get_current_span())


def start(
    name: str, kind: Kind, parent: str | None, attributes: Mapping[str, str | int], *, began: datetime | None = None
) -> Span:
    """A new span below `parent`, or at the root of a trace; None where there is no tracing."""
    if not active():
        return None
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.context import Context  # noqa: PLC0415

    context = Context()
    if checked(parent) is not None:
        assert parent is not None
        _, trace_id, span_id, flags = parent.split("-")
        above = trace.SpanContext(int(trace_id, 16), int(span_id, 16), True, trace.TraceFlags(int(flags, 16)))
        context = trace.set_span_in_context(trace.NonRecordingSpan(above), context)
    return trace.get_tracer("rotor").start_span(
        name,
        context,
        trace.SpanKind[kind.upper()],
        {f"rotor.{key}": value for key, value in attributes.items()},
        start_time=None if began is None else _nanoseconds(began),
    )


def past(name: str, parent: str | None, attributes: Mapping[str, str | int], began: datetime, ended: datetime) -> None:
    """A span of what is over."""
    span = start(name, "internal", parent, attributes, began=began)
    if span is not None:
        span.end(_nanoseconds(ended))


def traceparent_of(span: Span) -> str | None:
    """What carries `span` elsewhere."""
    context = span.get_span_context() if span is not None else None
    if context is None or not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def using(span: Span) -> AbstractContextManager[object]:
    """Have `span` be the current one within."""
    if span is None:
        return _off
    from opentelemetry import trace  # noqa: PLC0415

    return trace.use_span(span, record_exception=False, set_status_on_exception=False)


def span(
    name: str, kind: Kind, parent: str | None, attributes: Mapping[str, str | int]
) -> AbstractContextManager[Span]:
    """A span that is current within and ends with it."""
    return _whole(start(name, kind, parent, attributes)) if active() else _off


@contextmanager
def _whole(span: Span) -> Iterator[Span]:
    try:
        with using(span):
            yield span
    except BaseException as error:
        fail(span, type(error).__name__)
        raise
    finally:
        span.end()


def _nanoseconds(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(microseconds=1) * 1_000


def fail(span: Span, error_name: str) -> None:
    """Mark `span` as failed. The message of the error stays out: it may quote a payload."""
    if span is None:
        return
    from opentelemetry import trace  # noqa: PLC0415

    span.set_attribute("error.type", error_name)
    span.set_status(trace.StatusCode.ERROR)
