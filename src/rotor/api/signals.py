"""`/v1/signals`: complete a signal, whether or not a run waits for it yet."""

from __future__ import annotations

from uuid import UUID

import msgspec

from rotor.api.answers import Answer, json_answer
from rotor.api.bodies import decode_body
from rotor.api.calls import Call
from rotor.api.operations import Operation, Result
from rotor.api.problems import TooLarge
from rotor.errors import PayloadError
from rotor.protocol import json
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


def _check_data(text: bytes, payload_bytes_max: int) -> None:
    if len(text) > payload_bytes_max:
        raise TooLarge(f"the signal's data is {len(text):,} bytes; the limit is {payload_bytes_max:,} (PAYLOAD_BYTES)")
    decode_body(text, _ANYTHING)
    try:
        json.check(text, payload_bytes_max=payload_bytes_max)
    except PayloadError as error:
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
)
