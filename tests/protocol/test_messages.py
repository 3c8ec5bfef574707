"""Our codec passes the vectors of `conformance/messages.json`, which leave out no message and no field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from rotor.protocol import invocations, json, messages
from tests.conformance_vectors import vectors

VECTORS = vectors("messages")
DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "run_frame": messages.run_frame,
    "holder_frame": messages.holder_frame,
    "worker_frame": messages.worker_frame,
    "server_frame": messages.server_frame,
    "checkpoints": invocations.checkpoints,
    "checkpoint_answers": invocations.checkpoint_answers,
    "invocation": msgspec.json.Decoder(invocations.Invocation),
    "invocation_result": msgspec.json.Decoder(invocations.InvocationResult),
    "manifest": msgspec.json.Decoder(messages.Manifest),
}


def shown(vector: dict[str, Any]) -> str:
    return f"{vector['name']}: {vector['meaning'][:40]}"


@pytest.mark.parametrize("vector", VECTORS["frames"], ids=shown)
def test_a_message_is_read_and_written_as_it_travels(vector: dict[str, Any]) -> None:
    decoder = DECODERS[vector["kind"]]
    read = decoder.decode(json.encode(vector["value"]))
    assert json.decode(json.encode(read)) == vector["value"]
    for text in vector.get("also", []):
        assert plain(decoder.decode(text)) == plain(read)


def plain(value: Any) -> Any:
    """What a message comes to, whatever white space its payloads have."""
    return json.decode(json.encode(value))


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: f"{vector['kind']}: {vector['why']}")
def test_what_is_no_message_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(msgspec.DecodeError):
        DECODERS[vector["kind"]].decode(vector["text"])


@pytest.mark.parametrize("text", VECTORS["payloads"]["texts"])
def test_a_payload_is_handed_on_to_the_letter(text: str) -> None:
    frame = f'[{{"type":"run_completed","run_id":"r","n":1,"output":{text}}}]'
    (completed,) = messages.run_frame.decode(frame)
    assert isinstance(completed, messages.RunCompleted)
    assert bytes(completed.output) == text.encode()
    assert text.encode() in json.encode([completed])
    start = f"""[{{"type":"start_run","run_id":"r","lease_id":"l","function_id":"f","attempt":0,"memo":[],
                "event":{{"id":"e","name":"n","data":{text},"ts":"2026-03-01T12:00:00Z"}}}}]"""
    (started,) = messages.holder_frame.decode(start)
    assert isinstance(started, messages.StartRun)
    assert text.encode() in json.encode([started])


def test_the_vectors_leave_out_no_message_and_no_field() -> None:
    seen: dict[type, set[str]] = {}
    for vector in VECTORS["frames"]:
        read = DECODERS[vector["kind"]].decode(json.encode(vector["value"]))
        for struct in structs(read):
            defaults = {field.name: field.default for field in msgspec.structs.fields(struct)}
            given = {name for name, default in defaults.items() if getattr(struct, name) != default}
            seen.setdefault(type(struct), set()).update(given)
    every = {
        kind
        for kind in (*vars(messages).values(), *vars(invocations).values())
        if isinstance(kind, type) and issubclass(kind, messages.Struct) and kind is not messages.Struct
    }
    assert set(seen) == every
    never = {kind.__name__: {field.name for field in msgspec.structs.fields(kind)} - seen[kind] for kind in every}
    assert never == {name: set() for name in never}


def structs(value: Any) -> Iterator[msgspec.Struct]:
    """Every struct within a decoded message."""
    if isinstance(value, list):
        for item in value:
            yield from structs(item)
    elif isinstance(value, msgspec.Struct):
        yield value
        for name in value.__struct_fields__:
            yield from structs(getattr(value, name))
