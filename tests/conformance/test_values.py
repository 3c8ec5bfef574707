"""Values come back as what they were, first and on replay; what cannot be kept says so and costs one try."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.service import Service
from tests.conformance.workflows.values import BODIES

EXACT = {
    "numbers": '{"n": [18446744073709551616, -18446744073709551617, 1.0, 1, -0.0, 1e400e, 0.1]}'.replace(
        "1e400e", "1E2"
    ),
    "escapes": r'{"text": "a\u0000b \ud83d\ude00 \u00e9 \/ \"", "😀": "é"}',
    "order and white space": '{ "b" : 1,\n\t"a" : [ ] , "b2":{ }}',
    "repeated keys": '{"a": 1, "a": 2}',
    "a text": '"just text"',
    "a number": "12345678901234567890123456789012345678901234567890",
    "null": "null",
    "nesting": "[" * 128 + "]" * 128,
}


async def test_every_type_comes_back_as_it_was_and_the_same_on_replay(service: Service, key: str) -> None:
    run = await service.run("values.typed", key=key)
    assert run.status == "completed", run.error
    notes = service.notes(key)
    first = [note[2:] for note in notes if note.startswith("0 ")]
    assert [note[2:] for note in notes if note.startswith("1 ")] == first
    seen = dict(zip((body.__name__ for body in BODIES), first, strict=True))
    for body in BODIES:
        value = [1, "red"] if body.__name__ == "an_untyped_tuple" else body()
        assert seen[body.__name__].startswith(f"{body.__name__} {type(value).__name__} {value == body()} ")


@pytest.mark.parametrize("text", EXACT.values(), ids=EXACT)
async def test_the_data_of_an_event_is_kept_to_the_letter(service: Service, text: str) -> None:
    reply = await service.request("POST", "/v1/events", f'{{"name": "unheard", "data": {text}}}')
    assert reply.status == 202, reply.body
    (event_id,) = reply.json["ids"]
    shown = await service.request("GET", f"/v1/events/{event_id}")
    assert f'"data":{text.strip()}'.encode() in shown.body


@pytest.mark.parametrize("text", EXACT.values(), ids=EXACT)
async def test_the_data_of_a_signal_is_kept_to_the_letter(service: Service, key: str, text: str) -> None:
    run_id = await service.start("signals.wait", signal=key)
    await service.reaches(run_id, "gate")
    assert (await service.request("POST", f"/v1/signals/{key}/complete", text)).status == 200
    await service.ended(run_id)
    shown = await service.request("GET", f"/v1/runs/{run_id}")
    assert f'"output":{text.strip()}'.encode() in shown.body


@pytest.mark.parametrize("text", [text for name, text in EXACT.items() if "keys" not in name])
async def test_data_goes_through_a_workflow_unchanged(service: Service, text: str) -> None:
    reply = await service.request("POST", "/v1/events", f'{{"name": "values.echo", "data": {text}}}')
    (run,) = await service.runs_of(reply.json["ids"][0])
    run = await service.ended(run.id)
    assert run.status == "completed", run.error
    shown = (await service.request("GET", f"/v1/runs/{run.id}")).json
    for output in (shown["output"], shown["steps"][0]["output"]):
        assert repr(output) == repr(json.loads(text))


async def test_event_data_is_validated_into_its_class(service: Service, key: str) -> None:
    data: dict[str, Any] = {"key": key, "at": "2026-01-02T03:04:05Z", "plan": {"name": "pro"}}
    assert await service.output("values.data", **data) == data
    assert await service.output("values.model", name="Ada", born="1815-12-10") == "Ada 1815"


@pytest.mark.parametrize(
    ("event", "data", "field"),
    [
        ("values.data", {"key": "k", "at": "yesterday", "plan": {"name": "pro"}}, "at"),
        ("values.data", {"key": "k", "at": "2026-01-02T03:04:05Z", "plan": {}}, "plan"),
        ("values.model", {"name": "Ada", "born": "long ago"}, "born"),
    ],
)
async def test_event_data_that_does_not_fit_fails_the_run_and_names_the_field(
    service: Service, event: str, data: dict[str, Any], field: str
) -> None:
    run = await service.run(event, **data)
    assert run.status == "failed"
    assert run.error
    assert run.error.name == "SerializationError"
    assert field in run.error.message
    assert run.attempt == 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("nan", "NaN"),
        ("infinity", "infinity"),
        ("surrogate", "surrogate"),
        ("surrogate key", "surrogate"),
        ("object", "Opaque"),
        ("circular", "contains itself"),
        ("deep", "PAYLOAD_DEPTH"),
        ("large", "PAYLOAD_BYTES"),
        ("wrong type", "int"),
    ],
)
async def test_a_result_that_cannot_be_kept_fails_its_step_at_once(
    service: Service, key: str, kind: str, reason: str
) -> None:
    name, message = await service.output("values.unstorable", key=key, kind=kind)
    assert name == "SerializationError"
    assert reason in message
    assert "'unstorable'" in message or kind == "wrong type"
    assert service.notes(key) == ["try"]


@pytest.mark.parametrize("kind", ["nan", "object", "large"])
async def test_a_run_whose_result_cannot_be_kept_fails_at_once(service: Service, key: str, kind: str) -> None:
    run = await service.run("values.unstorable-result", key=key, kind=kind)
    assert (run.status, run.attempt) == ("failed", 1)
    assert run.error
    assert run.error.name == "SerializationError"
    assert service.notes(key) == ["body"]
