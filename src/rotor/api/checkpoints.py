"""`/v1/checkpoints`: holders of invocations over HTTP commit their steps while they run, those of many runs in one
request.

The signature says that the body is the workspace's own, and the token of each checkpoint which run and lease it writes
for; whether the lease still holds is decided where the messages are written.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rotor import limits
from rotor.api.answers import Answer, json_answer
from rotor.api.authentication import bearer
from rotor.api.bodies import decode_body
from rotor.api.calls import Call
from rotor.api.operations import Operation, Result
from rotor.api.problems import Unauthorized
from rotor.errors import SignatureError
from rotor.protocol.invocations import Checkpoint, checkpoints
from rotor.protocol.messages import HolderSays, Refused, RunMessage
from rotor.protocol.signing import verify
from rotor.store import leases
from rotor.store.committer import Exchange
from rotor.store.message_checks import refusal
from rotor.store.problems import Invalid
from rotor.store.tokens import Claim

__all__ = ["OPERATIONS"]


async def admit(call: Call) -> None:
    """A stranger's body, which may be large, is not even read. Raises `Unauthorized`."""
    call.claim = await call.api.tokens.verify(bearer(call.scope) or "")
    if call.claim is None:
        raise Unauthorized("send the token of one of these invocations as `Authorization: Bearer TOKEN`")


async def commit(call: Call) -> Answer:
    assert call.claim is not None
    workspace_id = call.claim.workspace_id
    await _check_signature(call, workspace_id)
    given: list[Checkpoint] = decode_body(call.raw_body, checkpoints)
    _check_size(given)
    claims = await _claims(call, workspace_id, given)
    for one, claim in zip(given, claims, strict=True):
        if not one.messages:
            await leases.begin_invocation(call.store.database, workspace_id, claim.lease_id)
    said: list[Exchange] = []
    refusals: list[list[Refused]] = []
    for one, claim in zip(given, claims, strict=True):
        kept, refused = _kept(call, workspace_id, one.messages)
        said.append(Exchange(workspace_id, claim.lease_id, kept, told=one.settled))
        refusals.append(refused)
    told = await call.store.committer.exchange(said)
    return json_answer([[*answer, *refused] for answer, refused in zip(told, refusals, strict=True)])


async def _check_signature(call: Call, workspace_id: int) -> None:
    """Raise `Unauthorized` where the body is not the holder's own."""
    if call.api.settings.keys_required or "webhook-signature" in call.headers:
        keys = await call.api.signing_keys.of(workspace_id)
        try:
            verify(call.raw_body, call.headers, keys=keys, now=time.time())
        except SignatureError as error:
            raise Unauthorized(f"{error}; sign with the workspace's signing key (ROTOR_SIGNING_KEY)") from None


def _check_size(given: Sequence[Checkpoint]) -> None:
    """Raise `Invalid` for more than a request may hold."""
    for what, count in (("checkpoints", len(given)), ("messages", sum(len(one.messages) for one in given))):
        if count > limits.MESSAGES_PER_FRAME:
            message = f"holds {count:,} {what}; the limit is {limits.MESSAGES_PER_FRAME:,} (MESSAGES_PER_FRAME)"
            raise Invalid([("body", message)])


async def _claims(call: Call, workspace_id: int, given: Sequence[Checkpoint]) -> list[Claim]:
    """What each checkpoint may write for.

    Raises `Unauthorized` for a token that is not genuine or of another workspace, and `Invalid` for a message about
    another run than its token's.
    """
    claims, foreign = [], []
    for number, one in enumerate(given):
        claim = await call.api.tokens.verify(one.token)
        if claim is None or claim.workspace_id != workspace_id:
            raise Unauthorized(f"[{number}].token is not that of an invocation of the workspace")
        foreign += [
            f"[{number}].messages[{place}].run_id"
            for place, message in enumerate(one.messages)
            if message.run_id != claim.run_id
        ]
        claims.append(claim)
    if foreign:
        raise Invalid([(field, "is not the run of the token") for field in foreign[: limits.PAGE_ITEMS]])
    return claims


def _kept(call: Call, workspace_id: int, messages: Sequence[HolderSays]) -> tuple[list[RunMessage], list[Refused]]:
    """What of a checkpoint is written, and what cannot be."""
    kept: list[RunMessage] = []
    refused: list[Refused] = []
    for message in call.store.logs.without_lines(workspace_id, messages):
        fault = refusal(message, payload_bytes_max=call.store.payload_bytes_max)
        if fault is None:
            kept.append(message)
        else:
            refused.append(fault)
    return kept, refused


OPERATIONS = (
    Operation(
        "POST",
        "/v1/checkpoints",
        "commit_checkpoints",
        commit,
        "Commit what invocations of a serve app have done",
        {200: Result("Per checkpoint a frame: what is durable now, and what else its holder should know.", list[Any])},
        "protocol",
        access="token",
        admit=admit,
        takes_raw_body=True,
        body_bytes_max=limits.FRAME_BYTES,
        body_limit="FRAME_BYTES",
        headers={
            "webhook-id": "Standard Webhooks: the id of this message.",
            "webhook-timestamp": "Standard Webhooks: when it was signed, in seconds since 1970.",
            "webhook-signature": "Standard Webhooks: `v1,` and the base64 of its HMAC-SHA256.",
        },
        details="Body and answer hold the messages that docs/reference/protocol.md specifies.",
    ),
)
