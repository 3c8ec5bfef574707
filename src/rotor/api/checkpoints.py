"""`/v1/checkpoints/{run_id}`: the holder of an invocation over HTTP commits its steps while it runs.

The token says which run and lease it writes for, and the signature that the body is its own; whether the lease still
holds is decided where the messages are written.
"""

from __future__ import annotations

import time
from typing import Any

from rotor import limits
from rotor.api.answers import Answer, json_answer
from rotor.api.authentication import bearer
from rotor.api.bodies import decode_body
from rotor.api.calls import Call
from rotor.api.operations import Operation, Result
from rotor.api.problems import Unauthorized
from rotor.errors import SignatureError
from rotor.protocol.messages import HolderSays, run_frame
from rotor.protocol.signing import verify
from rotor.store import leases
from rotor.store.message_checks import refusal
from rotor.store.problems import Invalid

__all__ = ["OPERATIONS"]


async def admit(call: Call) -> None:
    """A stranger's body, which may be large, is not even read. Raises `Unauthorized`."""
    call.lease = await call.api.tokens.verify(bearer(call.scope) or "", call.run_id())
    if call.lease is None:
        raise Unauthorized("send the token of this run's invocation as `Authorization: Bearer TOKEN`")


async def commit(call: Call) -> Answer:
    assert call.lease is not None
    run_id, (workspace_id, lease_id) = call.run_id(), call.lease
    await _check_signature(call, workspace_id)
    frame: list[HolderSays] = decode_body(call.raw_body, run_frame)
    if not frame:
        await leases.begin_invocation(call.store.database, workspace_id, lease_id)
    if len(frame) > limits.MESSAGES_PER_FRAME:
        message = f"holds {len(frame):,} messages; the limit is {limits.MESSAGES_PER_FRAME:,} (MESSAGES_PER_FRAME)"
        raise Invalid([("body", message)])
    foreign = [number for number, message in enumerate(frame) if message.run_id != str(run_id)]
    if foreign:
        raise Invalid([(f"[{number}].run_id", "is not the run of the path") for number in foreign[: limits.PAGE_ITEMS]])
    payload_bytes_max = call.api.store.payload_bytes_max
    messages = call.store.logs.without_lines(workspace_id, frame)
    refusals = [refusal(message, payload_bytes_max=payload_bytes_max) for message in messages]
    kept = [message for message, refused in zip(messages, refusals, strict=True) if refused is None]
    told = await call.store.committer.exchange(workspace_id, lease_id, kept, told=_told(call))
    return json_answer([*told, *(refused for refused in refusals if refused is not None)])


def _told(call: Call) -> int | None:
    """How many settled waits the holder knows of."""
    given = call.headers.get("rotor-settled")
    if given is None:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 9:
        raise Invalid([("rotor-settled", "is the number of settled waits that the holder knows of")])
    return int(given)


async def _check_signature(call: Call, workspace_id: int) -> None:
    """Raise `Unauthorized` where the body is not the holder's own."""
    if call.api.settings.keys_required or "webhook-signature" in call.headers:
        keys = await call.api.signing_keys.of(workspace_id)
        try:
            verify(call.raw_body, call.headers, keys=keys, now=time.time())
        except SignatureError as error:
            raise Unauthorized(f"{error}; sign with the workspace's signing key (ROTOR_SIGNING_KEY)") from None


OPERATIONS = (
    Operation(
        "POST",
        "/v1/checkpoints/{run_id}",
        "commit_checkpoints",
        commit,
        "Commit what an invocation of a serve app has done",
        {200: Result("A frame: what is durable now, and what else its holder should know.", list[dict[str, Any]])},
        "protocol",
        access="token",
        admit=admit,
        takes_raw_body=True,
        body_bytes_max=limits.FRAME_BYTES,
        body_limit="FRAME_BYTES",
        headers={
            "rotor-settled": "How many settled waits the holder was told of; the answer has those since.",
            "webhook-id": "Standard Webhooks: the id of this message.",
            "webhook-timestamp": "Standard Webhooks: when it was signed, in seconds since 1970.",
            "webhook-signature": "Standard Webhooks: `v1,` and the base64 of its HMAC-SHA256.",
        },
        problems=(404,),
        details="Body and answer are frames: arrays of the messages that docs/reference/protocol.md specifies.",
    ),
)
