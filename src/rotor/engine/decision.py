"""What a decision returns: the run as it is to be, the effects to write, and what to tell its holder."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from rotor.engine.arrivals import Arrival
from rotor.engine.effects import Effect
from rotor.engine.run import Run
from rotor.protocol.json import NULL, Raw, encode
from rotor.protocol.messages import CancelRun, DropRun, Error, Memo

__all__ = ["Decision", "Notice", "error_text", "payload"]

Notice: TypeAlias = int | Memo | CancelRun | DropRun
"""To the holder: a committed message's number, a settled step, or that it must stop."""


class Decision(msgspec.Struct, frozen=True):
    """`run` equals the one decided on where its row does not change; None: there is none."""

    run: Run | None
    effects: list[Effect] = msgspec.field(default_factory=list)
    notices: list[Notice] = msgspec.field(default_factory=list)
    then: list[Arrival] = msgspec.field(default_factory=list)
    """What follows in the same transaction: the end of a child for its parent."""


def error_text(name: str, message: str, stack: str = "") -> bytes:
    """An error as the store keeps it."""
    return encode(Error(name=name, message=message, stack=stack))


def payload(stored: bytes | None) -> Raw:
    """A stored payload as it travels."""
    return NULL if stored is None else Raw(stored)
