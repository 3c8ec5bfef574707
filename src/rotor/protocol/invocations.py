"""Runs served over HTTP: the request that invokes one, its answer, and the checkpoints in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from rotor.protocol.messages import HolderMessage, HolderSays, StartRun, Struct

__all__ = ["Checkpoint", "Invocation", "InvocationResult", "checkpoint_answers", "checkpoints"]


class Invocation(Struct, frozen=True):
    """The signed body that the server posts to a `serve_url`."""

    run: StartRun
    checkpoint_url: str
    """Where the SDK posts checkpoints while it holds the run."""
    token: str
    """What authorises those, bound to this run and lease."""
    payload_bytes_max: int
    announce: bool = False
    """Post a checkpoint without messages before the body begins: an earlier invocation came to nothing, and it is not
    known whether the app had begun."""


class Checkpoint(Struct, frozen=True):
    """What the holder of an invocation has to say: a call-back is an array of these, one a run, and its answer an array
    of frames in their order.
    """

    token: str
    messages: Sequence[HolderSays] = ()
    settled: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    """How many settled waits the holder was told of; the answer has those since."""


class InvocationResult(Struct, frozen=True):
    """The answer to an invocation: the messages not yet acknowledged, the last of which ends it."""

    messages: list[HolderSays]


checkpoints = msgspec.json.Decoder(list[Checkpoint])
checkpoint_answers = msgspec.json.Decoder(list[list[HolderMessage]])
