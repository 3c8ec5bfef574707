"""Whatever comes from outside, a parser gives a value or raises the error that it declares, and no other."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote_from_bytes

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from rotor import limits, tracing
from rotor.api.authentication import LOOPBACK, _refusal, bearer
from rotor.api.bodies import decode_body
from rotor.api.calls import Api, Call
from rotor.api.events import EventInput, _new_events
from rotor.api.functions import FunctionInput, _triggers
from rotor.api.instants import read_instant
from rotor.api.problems import Malformed
from rotor.api.routing import _decoded, _query
from rotor.api.runs import RunQuery, _last_event_id
from rotor.dashboard.door import _next, read_form, theme_of
from rotor.dashboard.focus import focus_of, run_id_of, step_of
from rotor.engine.conditions import Candidate
from rotor.engine.cron import next_fire
from rotor.engine.matching import parse_match
from rotor.engine.paths import parse_path
from rotor.errors import (
    ConfigError,
    DurationError,
    ExpressionError,
    PayloadError,
    SerializationError,
    SignatureError,
)
from rotor.protocol import invocations, messages, signing
from rotor.protocol import json as protocol_json
from rotor.protocol.durations import parse_duration, parse_instant
from rotor.protocol.json import Raw
from rotor.sdk.codec import decode_value
from rotor.sdk.http import problem
from rotor.sdk.server_sent_events import server_sent_events
from rotor.store import audit, event_lists, functions, run_logs, sessions, signal_links, tokens, waiting
from rotor.store.checks import app_problems, event_name_problem, name_problem, url_problem
from rotor.store.keys import hash_of
from rotor.store.message_checks import refusal
from rotor.store.pages import decode_cursor, encode_cursor
from rotor.store.problems import Invalid, NotFound
from rotor.store.runs import RunPlace
from rotor.store.vault import Vault

EXAMPLES = 100
fuzzed = settings(max_examples=EXAMPLES)

TEXTS = st.one_of(
    st.text(st.characters(codec=None), max_size=60),
    st.sampled_from(["", "\0", "\ud800", "0" * 400, "\u202e", "\r\nx: y", "\U0001d4b3" * 300, "-1", "1e999", "NaN"]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.just(10**400)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
DEEP = st.integers(1, 5_000).map(lambda depth: "[" * depth + "]" * depth)
EVENT = {"id": "e", "name": "n", "data": {"a": [1, {"b": "x"}], "n": 2**70}, "ts": datetime(2026, 1, 1, tzinfo=UTC)}


def attempt(declared: type[Exception] | tuple[type[Exception], ...], parse: Callable[..., Any], *given: Any) -> Any:
    """What `parse` gives; None where it raises what it declares."""
    try:
        return parse(*given)
    except declared:
        return None


def texts_of(*words: str) -> st.SearchStrategy[str]:
    """Texts made of words that mean something to the parser, with anything between."""
    return st.lists(st.one_of(st.sampled_from(words), TEXTS), max_size=12).map("".join)


def json_texts(shape: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """JSON of about that shape, what is nearly JSON, and anything at all."""
    written = shape.map(lambda value: json.dumps(value).encode())
    broken = st.tuples(written, st.integers(0, 200), st.binary(max_size=3)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
    )
    return st.one_of(written, broken, st.binary(max_size=40), DEEP.map(str.encode))


def objects(kind: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the fields of `kind`, of any type, and some that it does not have."""
    fields = [field.encode_name for field in msgspec.structs.fields(kind)]
    named = st.dictionaries(st.sampled_from([*fields, "other"]), VALUES, max_size=len(fields) + 1)
    tag = kind.__struct_config__.tag
    return named if tag is None else named.map(lambda given: {**given, "type": tag})


MESSAGES = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag
]
FRAMES = json_texts(st.lists(st.one_of([objects(kind) for kind in MESSAGES]), max_size=3))
VALID = {
    "run_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "n": 1,
    "id": "s",
    "index": 0,
    "attempts": 1,
    "op": "run",
    "output": 1,
    "error": {"name": "E", "message": "m", "stack": ""},
}


CHECKPOINTS = json_texts(
    st.lists(st.fixed_dictionaries({"token": TEXTS, "messages": st.lists(objects(MESSAGES[-1])), "settled": VALUES}))
)


@pytest.mark.parametrize("decoder", [messages.worker_frame, messages.server_frame, messages.run_frame])
@given(frame=FRAMES)
@fuzzed
def test_frames(decoder: msgspec.json.Decoder[Any], frame: bytes) -> None:
    attempt((msgspec.MsgspecError, UnicodeDecodeError, RecursionError), decoder.decode, frame)


@pytest.mark.parametrize("decoder", [invocations.checkpoints, invocations.checkpoint_answers])
@given(frame=CHECKPOINTS)
@fuzzed
def test_call_backs(decoder: msgspec.json.Decoder[Any], frame: bytes) -> None:
    attempt((Invalid, Malformed), decode_body, frame, decoder)


@given(st.sampled_from(MESSAGES), st.dictionaries(st.sampled_from([*VALID, "until", "seconds", "event"]), VALUES))
@fuzzed
def test_messages_of_a_holder(kind: type[msgspec.Struct], changed: dict[str, Any]) -> None:
    frame = json.dumps([{**VALID, **changed, "type": kind.__struct_config__.tag}]).encode()
    found = attempt((msgspec.MsgspecError, UnicodeDecodeError, RecursionError), messages.run_frame.decode, frame)
    for message in found or []:
        if not isinstance(message, messages.LogLine):
            refusal(message, payload_bytes_max=limits.PAYLOAD_BYTES)


EVENTS = msgspec.json.Decoder(EventInput | list[EventInput])
EVENT_SHAPES = objects(EventInput).map(lambda event: {"name": "n", "data": 1, **event})


@given(json_texts(st.one_of(EVENT_SHAPES, st.lists(EVENT_SHAPES, max_size=3))))
@fuzzed
def test_events(body: bytes) -> None:
    found = attempt((Invalid, Malformed), decode_body, body, EVENTS)
    if found is not None:
        attempt(Invalid, _new_events, found, limits.PAYLOAD_BYTES, None)


FUNCTIONS = msgspec.json.Decoder(FunctionInput)
APPS = msgspec.json.Decoder(messages.Manifest)
FUNCTION_SHAPES = objects(FunctionInput).map(lambda function: {"id": "f", "serve_url": "http://x", **function})


@given(json_texts(FUNCTION_SHAPES), json_texts(objects(messages.Manifest)))
@fuzzed
def test_functions_and_apps(function: bytes, app: bytes) -> None:
    found = attempt((Invalid, Malformed), decode_body, function, FUNCTIONS)
    if found is not None:
        attempt(Invalid, _triggers, found)
    manifest = attempt((Invalid, Malformed), decode_body, app, APPS)
    if manifest is not None:
        app_problems(manifest.functions, manifest.serve_url, manifest.app, manifest.version)


@given(json_texts(VALUES))
@fuzzed
def test_payloads(text: bytes) -> None:
    attempt(PayloadError, protocol_json.check, text)
    attempt(PayloadError, protocol_json.decode, text)
    attempt(SerializationError, decode_value, Raw(text), dict[str, int])


@given(
    texts_of(
        *(
            "data",
            ".a",
            "[0]",
            '["a"]',
            " == ",
            " && ",
            "||",
            "!",
            "(",
            ")",
            '"x"',
            "'",
            "1",
            "1.5",
            "-",
            "true",
            "null",
        ),
        *(
            "ts",
            "name",
            ".exists(x, ",
            ".all(x, x",
            "size(",
            "matches(",
            "in",
            "[",
            "]",
            "{",
            "}",
            "? :",
            "//",
            "\\",
            "u",
        ),
    )
)
@fuzzed
def test_expressions(expression: str) -> None:
    match = attempt(ExpressionError, parse_match, expression)
    if match is not None:
        assert match.accepts(Candidate(EVENT)) in (True, False)
    attempt(ExpressionError, parse_path, expression)


@given(st.dictionaries(st.one_of(texts_of("data", ".", "a", "[0]", "['b']"), TEXTS), VALUES, max_size=3))
@fuzzed
def test_mappings_of_a_match(equals: dict[str, Any]) -> None:
    match = attempt(ExpressionError, parse_match, None, equals)
    if match is not None:
        assert match.accepts(EVENT) in (True, False)


@given(st.one_of(texts_of("1", "h", "m", "ms", "30", "d", ".", "w", "s", " "), st.floats(), st.integers()))
@fuzzed
def test_durations(text: str | float) -> None:
    attempt(DurationError, parse_duration, text)


@given(
    st.one_of(
        texts_of("2026-01-31", "T", "09:00:00", "Z", "+02:00", "-99:99", "0000", ".5"), st.floats(), st.integers()
    )
)
@fuzzed
def test_instants(given_time: str | float) -> None:
    attempt(ValueError, read_instant, given_time)
    if isinstance(given_time, str):
        attempt(DurationError, parse_instant, given_time)


@given(
    texts_of("*", " ", "/", "5", "1-5", ",", "MON", "L", "#", "@daily", "0 9 * * 1", "W", "31 2", "59"),
    st.one_of(st.none(), TEXTS, st.sampled_from(["Europe/Paris", "../etc/passwd", "UTC", "Europe", "/", "."])),
)
@settings(fuzzed, max_examples=60)
def test_crons(cron: str, zone: str | None) -> None:
    attempt(ConfigError, next_fire, cron, zone, datetime(2026, 1, 1, tzinfo=UTC))


CLEAN = st.recursive(
    st.one_of(st.none(), st.text(), st.integers(), st.floats()), lambda inner: st.lists(inner, max_size=3)
)


PLACES = [
    RunPlace,
    functions.FunctionPlace,
    run_logs.LinePlace,
    waiting.SignalPlace,
    audit.Place,
    event_lists.EventPlace,
    event_lists.NamedPlace,
]
PLACED = st.one_of(
    CLEAN,
    st.uuids(),
    st.datetimes(timezones=st.one_of(st.none(), st.timezones())),
    st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00"]),
)


@pytest.mark.parametrize("kind", PLACES)
@given(st.one_of(TEXTS, st.lists(PLACED, max_size=3).map(lambda place: encode_cursor(tuple(place)))))
@fuzzed
def test_cursors(kind: Any, cursor: str) -> None:
    for part in attempt(Invalid, decode_cursor, cursor, kind) or ():
        if isinstance(part, datetime):
            part.astimezone(UTC)


HEADERS = st.dictionaries(
    st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "Webhook-Id"]),
    st.one_of(TEXTS, st.sampled_from(["msg_1", "1700000000", "v1,AAAA", "v1,", "٣٤٥", "v1,é v1a,x"])),
)
KEY = signing.generate_key()


@given(st.binary(max_size=20), HEADERS, st.one_of(st.just(KEY), TEXTS.map("whsec_".__add__), TEXTS))
@fuzzed
def test_signatures(body: bytes, headers: dict[str, str], key: str) -> None:
    attempt((SignatureError, ConfigError), lambda: signing.verify(body, headers, keys=[key], now=1_700_000_000.0))


HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
TOKENS = st.one_of(
    TEXTS,
    st.from_regex(r"r[ktsl]_\w{0,40}_\w{0,40}_\w{0,64}"),
    st.tuples(st.sampled_from(["rs", "rt", "rl"]), st.integers(), HEX, HEX).map(
        lambda parts: "_".join(map(str, parts))
    ),
    st.tuples(st.integers(-1, 2**70), st.uuids(), st.uuids(), HEX).map(
        lambda parts: f"rt_{parts[0]}_{parts[1].hex}_{parts[2].hex}_{parts[3]}"
    ),
    st.tuples(st.integers(0, 2**70), st.integers(), st.binary(max_size=20), HEX).map(
        lambda parts: f"rl_{parts[0]}_{parts[1]}_{base64.urlsafe_b64encode(parts[2]).decode().rstrip('=')}_{parts[3]}"
    ),
)


@given(TOKENS)
@fuzzed
def test_keys_tokens_sessions_and_links(text: str) -> None:
    assert len(hash_of(text)) == 32
    claimed = tokens._parse(text)
    assert claimed is None or claimed[0].workspace_id < 2**63
    session = sessions._parse(text)
    assert session is None or (int(session[0]) >= 0 and len(bytes.fromhex(session[1])) == 32)
    link = signal_links._parse(text)
    assert link is None or (link.workspace_id < 2**63 and link.signal_id and "\0" not in link.signal_id)


@given(st.one_of(TEXTS, st.uuids().map(str), st.uuids().map(lambda one: one.urn), texts_of("{", "0" * 32, "}", "-")))
@fuzzed
def test_ids(text: str) -> None:
    call = Call(cast("Api", None), {}, nothing, {"run_id": text})
    assert attempt(NotFound, call.run_id) == attempt(NotFound, run_id_of, text)
    attempt(NotFound, step_of, text, text)
    name_problem(text)
    event_name_problem(text)


async def nothing() -> Any:
    return {"type": "http.request", "body": b""}


@given(
    st.one_of(st.binary(max_size=60), st.text("0123456789-abcdef").map(str.encode), st.integers().map(b"%d".__mod__)),
    st.one_of(
        st.binary(max_size=60),
        texts_of("/dashboard", "/", "?", "\\", "..").map(lambda to: to.encode("utf-8", "replace")),
    ),
)
@fuzzed
def test_headers_forms_and_addresses_of_pages(value: bytes, body: bytes) -> None:
    names = [b"last-event-id", b"traceparent", b"cookie", b"origin", b"host", b"content-length"]
    scope = {"type": "http", "path": "/", "query_string": body, "headers": [(name, value) for name in names]}
    call = Call(cast("Api", None), scope, nothing, {})
    attempt(Invalid, _last_event_id, call)
    carried = tracing.checked(call.headers["traceparent"])
    assert carried is None or len(carried) == 55
    assert _next(body.decode("latin-1")).startswith("/dashboard")

    async def given_form() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    request = Request({**scope, "path_params": {"run_id": VALID["run_id"]}}, given_form)
    assert isinstance(request.cookies, dict)
    theme_of(request)
    attempt(NotFound, focus_of, request)
    attempt(Invalid, lambda: asyncio.run(read_form(request, bytes_max=50)))


@given(st.one_of(TEXTS, texts_of("a", ":", ",", base64.b64encode(b"k" * 32).decode(), "=")))
@fuzzed
def test_encryption_keys(text: str) -> None:
    attempt(ConfigError, Vault.parse, text)


@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([b"id: \xff\n", b"data: 1\n\n", b":\n", b"\r\n"]))))
@fuzzed
def test_streams_and_problems_of_a_server_that_is_none(chunks: list[bytes]) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def read() -> int:
        return len([event async for event in server_sent_events(stream())])

    assert asyncio.run(read()) >= 0
    assert problem(500, "reason", b"".join(chunks)).status == 500


@given(st.lists(st.tuples(st.sampled_from([b"host", b"origin", b"authorization"]), st.binary(max_size=40)), max_size=3))
@fuzzed
def test_headers_that_say_who_asks(headers: list[tuple[bytes, bytes]]) -> None:
    scope = {"type": "http", "headers": headers}
    bearer(scope)
    hosts = [value for name, value in headers if name == b"host"]
    ours = len(hosts) == 1 and any(hosts[0].decode("latin-1").lower().strip("[]").startswith(one) for one in LOOPBACK)
    assert _refusal(scope) is not None or ours


@given(st.one_of(TEXTS, texts_of("http", "s://", "[::1]", ":99999", "@", "/", "\\", "#", "%", "user:")))
@fuzzed
def test_addresses(url: str) -> None:
    url_problem(url)


@given(
    st.binary(max_size=30), st.dictionaries(st.sampled_from(["limit", "cursor", "status", "since", "x"]), st.binary())
)
@fuzzed
def test_paths_and_queries(raw: bytes, query: dict[str, bytes]) -> None:
    attempt(Invalid, _decoded, "event_id", quote_from_bytes(raw))
    attempt(Invalid, _decoded, "event_id", raw.decode("latin-1"))
    text = "&".join(f"{name}={quote_from_bytes(value)}" for name, value in query.items()).encode()
    for query_string in (text, raw):
        attempt(Invalid, _query, {"query_string": query_string}, RunQuery)
