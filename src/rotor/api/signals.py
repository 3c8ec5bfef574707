"""`/v1/signals`: complete a signal, whether or not a run waits for it yet, and make a link that lets somebody do so."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from rotor.api.answers import Answer, json_answer
from rotor.api.bodies import decode_body
from rotor.api.calls import Call
from rotor.api.operations import Operation, Result
from rotor.api.problems import TooLarge
from rotor.errors import DurationError, PayloadError
from rotor.protocol import json
from rotor.protocol.durations import parse_duration
from rotor.store import signals
from rotor.store.checks import name_problem
from rotor.store.problems import Invalid

__all__ = ["OPERATIONS"]


_ANYTHING: msgspec.json.Decoder[object] = msgspec.json.Decoder()


class SignalCompletion(msgspec.Struct, frozen=True):
    """Which run got the signal's data; none waits for it yet where `delivered` is false."""

    run_id: UUID | None
    delivered: bool


async def complete(call: Call) -> Answer:
    signal_id = call.path["signal_id"]
    problem = name_problem(signal_id)
    if problem:
        raise Invalid([("signal_id", problem)])
    _check_data(call.raw_body, call.api.store.payload_bytes_max)
    done = await signals.complete(call.store, call.workspace_id, signal_id, call.raw_body)
    return json_answer(SignalCompletion(done.run_id, done.delivered), 200 if done.delivered else 202)


class LinkInput(msgspec.Struct, frozen=True):
    """How long the link is good: a duration as in "48h", or seconds."""

    expires_in: str | int | float = "7d"


class Link(msgspec.Struct, frozen=True):
    """Whoever opens `url` may complete the signal there, once, before `expires_at`."""

    url: str
    expires_at: datetime


async def link(call: Call) -> Answer:
    given: LinkInput = call.body
    try:
        expires_in = parse_duration(given.expires_in)
    except DurationError as error:
        raise Invalid([("expires_in", str(error))]) from None
    token, expires_at = await call.api.signal_links.make(call.workspace_id, call.path["signal_id"], expires_in)
    return json_answer(Link(f"{call.api.settings.public_url.rstrip('/')}/links/{token}", expires_at))


def _check_data(text: bytes, payload_bytes_max: int) -> None:
    if len(text) > payload_bytes_max:
        raise TooLarge(f"the signal's data is {len(text):,} bytes; the limit is {payload_bytes_max:,} (PAYLOAD_BYTES)")
    try:
        json.check(text, payload_bytes_max=payload_bytes_max)
    except PayloadError as error:
        decode_body(text, _ANYTHING)  # which names the field, where it is no JSON
        raise Invalid([("body", str(error))]) from None


OPERATIONS = (
    Operation(
        "POST",
        "/v1/signals/{signal_id}/complete",
        "complete_signal",
        complete,
        "Complete a signal; the body is its data",
        {
            200: Result("The run that waits for it has it.", SignalCompletion),
            202: Result("No run waits for it yet: it is kept for the one that will.", SignalCompletion),
        },
        "signals",
        access="send",
        takes_raw_body=True,
        problems=(409,),
    ),
    Operation(
        "POST",
        "/v1/signals/{signal_id}/link",
        "make_signal_link",
        link,
        "Make a link by which somebody without a key completes a signal, once",
        {200: Result("The link.", Link)},
        "signals",
        access="send",
        body=LinkInput,
        details=(
            "Its page asks for a click on Approve or Reject, and completes the signal with `approved` and `by`; "
            "opening it does nothing. It ends with its time, its use, or the second rotation of the signing key."
        ),
    ),
)
