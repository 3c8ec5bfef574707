"""What the development worker tells its parent: JSON lines over a pipe, which ends with the worker."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from rotor.protocol.messages import FunctionSpec, Trigger

__all__ = ["Connected", "Failed", "Found", "Report", "decode_report", "describe", "encode_report"]


class Found(msgspec.Struct, tag="found"):
    """The app was loaded, and has these functions."""

    functions: list[FunctionSpec]


class Connected(msgspec.Struct, tag="connected"):
    """The server knows the functions: events start them from now on."""


class Failed(msgspec.Struct, tag="failed"):
    """The app cannot be served, and why, in the user's words."""

    message: str


Report: TypeAlias = Found | Connected | Failed

_decoder: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def encode_report(report: Report) -> bytes:
    return msgspec.json.encode(report) + b"\n"


def decode_report(line: bytes) -> Report:
    return _decoder.decode(line)


def describe(what: str, functions: list[FunctionSpec]) -> str:
    """A line that counts the functions of `what`, and one for each: its id and what starts it."""
    width = max((len(function.id) for function in functions), default=0)
    lines = [f"{one.id:<{width}}  {', '.join(map(_describe_trigger, one.triggers))}" for one in functions]
    count = "1 function" if len(functions) == 1 else f"{len(functions)} functions"
    return "\n  ".join([f"{what}: {count}", *lines])


def _describe_trigger(trigger: Trigger) -> str:
    if trigger.event is not None:
        return f"event {trigger.event}" + (f" where {trigger.match}" if trigger.match else "")
    return f"cron {trigger.cron}" + (f" ({trigger.timezone})" if trigger.timezone else "")
