"""What a holder sends and nobody could keep is refused by its number, and the rest goes through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotor import limits
from rotor.protocol.json import Raw
from rotor.protocol.messages import (
    Child,
    Emission,
    Error,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunMessage,
    RunParked,
    StepDone,
    StepFailed,
    StepParked,
    StepStarted,
    StepWithdrawn,
)
from rotor.store.message_checks import refusal

SOON = datetime(2026, 3, 1, tzinfo=UTC)
CAUSE = Error(name="ValueError", message="no\0", stack="line 1")


def done(**changes: Any) -> StepDone:
    return StepDone(**{"run_id": "r", "n": 7, "id": "a", "index": 0, "op": "run", **changes})


def failed(**changes: Any) -> StepFailed:
    given = {"run_id": "r", "n": 7, "id": "a", "index": 0, "error": CAUSE, "attempts": 1, "retries": 3}
    return StepFailed(**{**given, **changes})


def parked(**changes: Any) -> StepParked:
    given = {"run_id": "r", "n": 7, "id": "a", "index": 0, "op": "sleep", "seconds": 1.0}
    return StepParked(**{**given, **changes})


def emitted(**changes: Any) -> StepDone:
    return done(op="send_event", emit=Emission(**{"name": "n", **changes}))


@pytest.mark.parametrize(
    "message",
    [
        done(output=Raw(b'{"a": "\\u0000"}'), attempts=3, elapsed_ms=10),
        emitted(data=Raw(b"[1]"), id="e", ts=SOON),
        emitted(name="rotor/cancel.run"),
        failed(retry_after_seconds=0.5),
        parked(until=SOON, seconds=None),
        parked(topic="event:a:b", match="data.x == 1", equals={"data.x": Raw(b"1")}, since=SOON),
        parked(topic="signal:s", seconds=None),
        parked(topic="child", child=Child(function_id="f")),
        StepStarted(run_id="r", id="a", index=0, attempts=1),
        StepWithdrawn(run_id="r", n=7, id="a", index=0),
        RunCompleted(run_id="r", n=7, output=Raw(b"null")),
        RunFailed(run_id="r", n=7, error=CAUSE, retries=0),
        RunParked(run_id="r", n=7, settled=0),
        RunCancelled(run_id="r", n=7),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_the_sdk_sends_goes_through(message: RunMessage) -> None:
    assert refusal(message, payload_bytes_max=limits.PAYLOAD_BYTES) is None


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (done(output=Raw(b'"\xff"')), "payload"),
        (done(output=Raw(b"[" * 129 + b"]" * 129)), "payload"),
        (RunCompleted(run_id="r", n=7, output=Raw(b"x" * 200)), "payload"),
        (emitted(data=Raw(b"NaN")), "payload"),
        (parked(topic="child", child=Child(function_id="f", data=Raw(b"{"))), "payload"),
        (parked(topic="event:e", equals={"data.x": Raw(b"nul")}), "payload"),
        (done(id=""), "id"),
        (done(id="a\0"), "id"),
        (done(id="x" * 257), "id"),
        (done(index=-1), "index"),
        (done(index=limits.STEPS_PER_RUN + 1), "index"),
        (done(n=2**31), "n"),
        (done(attempts=2**31), "attempts"),
        (done(elapsed_ms=-1), "elapsed_ms"),
        (emitted(name=""), "emit.name"),
        (emitted(name="rotor/invoke"), "emit.name"),
        (emitted(id="\0"), "emit.id"),
        (emitted(ts=datetime(2026, 3, 1)), "emit.ts"),
        (failed(retries=101), "retries"),
        (failed(retry_after_seconds=-1), "retry_after_seconds"),
        (failed(error=Error(name="E", message="x" * 16_385)), "error.message"),
        (parked(seconds=-1.0), "seconds"),
        (parked(seconds=(limits.SLEEP + timedelta(days=1)).total_seconds()), "seconds"),
        (parked(until=datetime(1, 1, 1, tzinfo=UTC)), "until"),
        (parked(seconds=None), "deadline"),
        (parked(topic="timer:x"), "topic"),
        (parked(topic="signal:"), "topic"),
        (parked(topic="signal:" + "x" * 257), "topic"),
        (parked(topic="event:a\0"), "topic"),
        (parked(topic="event:a", match="\0"), "match"),
        (parked(topic="child", child=Child(function_id="\0")), "child.function_id"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_its_number(message: RunMessage, what: str) -> None:
    refused = refusal(message, payload_bytes_max=300)
    assert refused is not None
    assert (refused.run_id, refused.n) == ("r", 7 if what != "n" else 2**31)
    assert f"the message's {what} " in refused.error.message
