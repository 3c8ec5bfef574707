"""`Rotor`: sends events, completes signals, and reads and steers runs, from any asyncio program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import msgspec

from rotor import limits
from rotor.errors import ConnectionLostError, LimitError, RotorError
from rotor.protocol import json
from rotor.protocol.durations import parse_duration, parse_instant
from rotor.protocol.messages import Manifest, RunStatus
from rotor.sdk.codec import encode_value
from rotor.sdk.resources import Completion, EventDetail, FunctionRecord, LogLine, NewEvent, Page, Run, SignalLink, Step

__all__ = ["Apps", "Events", "Functions", "Rotor", "Runs"]

T = TypeVar("T")

GIVEN_UP_AFTER_SECONDS = 60.0
"""How long who follows a run, or waits for its end, tries to reach a server that is gone."""
ASKED_AGAIN_AFTER_SECONDS = 0.1
"""How soon after an answer who waits for the end of a run asks again. The server has waited before it gave it."""
LOG_FOLLOWED_EVERY_SECONDS = 1.0
LOOKS_AT_LAST_LINES = 2
"""How often a log that is followed is read once its run has ended: its last lines are written by themselves, and may
come after that."""


class Api:
    """What the parts of the client share: calls that answer typed values."""

    def __init__(self, api_key: str | None, base_url: str | None) -> None:
        from rotor.sdk.http import Http  # noqa: PLC0415  (aiohttp takes a while to import)

        self._http = Http(api_key, base_url)
        self.base_url = self._http.base_url
        self.call = self._http.request
        self.stream = self._http.stream
        self.aclose = self._http.aclose

    async def get(
        self, kind: type[T], path: str, query: Mapping[str, Any] | None = None, *, lasting: bool = False
    ) -> T:
        given = {key: _text(value) for key, value in (query or {}).items() if value is not None}
        return _read(kind, await self.call("GET", path, query=given, lasting=lasting))

    async def post(self, kind: type[T], path: str, body: bytes | None = None, *, repeatable: bool) -> T:
        return _read(kind, await self.call("POST", path, body=body, repeatable=repeatable))


class Runs:
    """The runs of the workspace: `rotor.runs`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def get(self, run_id: str) -> Run:
        """A run with its steps. Raises `ApiError` 404 for one that the workspace does not have."""
        return await self._api.get(Run, _path("runs", run_id))

    async def list(
        self,
        *,
        function_id: str | None = None,
        status: RunStatus | None = None,
        event_id: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Page[Run]:
        """One page of runs, newest first; ask for the next with `cursor=page.next_cursor`.

        Those of one `function_id`, in one `status`, started by one `event_id`, created at or after `since` and before
        `until` (aware datetimes or RFC 3339 text). `limit` is how many a page has: up to 200, and 50 unless given.
        """
        query = {"function_id": function_id, "status": status, "event_id": event_id, "since": since, "until": until}
        return await self._api.get(Page[Run], "/v1/runs", {**query, "cursor": cursor, "limit": limit})

    async def cancel(self, run_id: str) -> Run:
        """Cancel a run: the step in flight ends and is recorded, nothing later starts. Raises `ApiError` 409 for a
        run that has ended."""
        return await self._api.post(Run, _path("runs", run_id, "cancel"), repeatable=False)

    async def replay(self, run_id: str) -> str:
        """Start a new run with the same event; its id."""
        started = await self._api.post(dict[str, str], _path("runs", run_id, "replay"), repeatable=False)
        return started["run_id"]

    async def stream(self, run_id: str) -> AsyncGenerator[Run | Step]:
        """Every change of the run and of its steps, until the run has ended.

        Goes on where it was after a lost connection. Raises `ApiError` 404, and `ConnectionLostError` when the server
        stays away for a minute.
        """
        position, delay, away_since = "", 0.1, None
        loop = asyncio.get_running_loop()
        while True:
            told = False
            try:
                async for event_id, change in self._changes(run_id, position):
                    position, delay, away_since, told = event_id, 0.1, None, True
                    yield change
                    if isinstance(change, Run) and change.ended:
                        return
                if not told and (await self.get(run_id)).ended:
                    return
            except ConnectionLostError:
                away_since = away_since or loop.time()
                if loop.time() - away_since > GIVEN_UP_AFTER_SECONDS:
                    raise
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)

    async def logs(self, run_id: str, *, follow: bool = False) -> AsyncGenerator[LogLine]:
        """What the run has logged by `ctx.logger`, oldest first; with `follow` also what it logs until it has ended,
        and what of that comes within a second.

        Raises `ApiError` 404 for a run that the workspace does not have.
        """
        cursor: str | None = None
        told = -1
        looks_left = LOOKS_AT_LAST_LINES if follow else 1
        ended = not follow
        while looks_left:
            ended = ended or (await self.get(run_id)).ended
            if ended:
                looks_left -= 1
            while True:
                page = await self._api.get(Page[LogLine], _path("runs", run_id, "logs"), {"cursor": cursor})
                for line in page.items:
                    if line.number > told:
                        told = line.number
                        yield line
                if page.next_cursor is None:
                    break
                cursor = page.next_cursor
            if looks_left:
                await asyncio.sleep(LOG_FOLLOWED_EVERY_SECONDS)

    async def wait(self, run_id: str, *, timeout: str | float | timedelta | None = None) -> Run:
        """The run once it has ended, however it ended: look at `status`, `output` and `error`.

        Raises `TimeoutError` when it has not ended within `timeout` ("30s", seconds, a timedelta); the run goes on.
        """
        seconds = None if timeout is None else parse_duration(timeout).total_seconds()
        try:
            async with asyncio.timeout(seconds):
                return await self._ended(run_id)
        except TimeoutError:
            raise TimeoutError(f"run {run_id} has not ended within {timeout}; it goes on") from None

    async def _ended(self, run_id: str) -> Run:
        loop = asyncio.get_running_loop()
        answered_at = loop.time()
        while True:
            try:
                run = await self._api.get(Run, _path("runs", run_id, "wait"), lasting=True)
            except ConnectionLostError:
                if loop.time() - answered_at > GIVEN_UP_AFTER_SECONDS:
                    raise
                continue
            if run.ended:
                return run
            answered_at = loop.time()
            await asyncio.sleep(ASKED_AGAIN_AFTER_SECONDS)

    async def _changes(self, run_id: str, position: str) -> AsyncGenerator[tuple[str, Run | Step]]:
        from rotor.sdk.server_sent_events import server_sent_events  # noqa: PLC0415

        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": position} if position else {})}
        async with self._api.stream(_path("runs", run_id, "stream"), headers) as chunks:
            async for event in server_sent_events(chunks):
                if event.name in ("run", "step"):
                    kind: type[Run | Step] = Run if event.name == "run" else Step
                    yield event.id, _read(kind, event.data)


class Events:
    """The events of the workspace: `rotor.events`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def get(self, event_id: str) -> EventDetail:
        """An event with the runs that it started. Raises `ApiError` 404."""
        return await self._api.get(EventDetail, _path("events", event_id))


class Functions:
    """The functions registered in the workspace: `rotor.functions`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def get(self, function_id: str) -> FunctionRecord:
        """A registered function. Raises `ApiError` 404."""
        return await self._api.get(FunctionRecord, _path("functions", function_id))

    async def list(self, *, cursor: str | None = None, limit: int | None = None) -> Page[FunctionRecord]:
        """One page of the registered functions, of `limit` at most; the next with `cursor=page.next_cursor`."""
        return await self._api.get(Page[FunctionRecord], "/v1/functions", {"cursor": cursor, "limit": limit})

    async def delete(self, function_id: str) -> None:
        """Take a function out: nothing starts it any more, and its open runs are cancelled."""
        await self._api.call("DELETE", _path("functions", function_id))

    async def pause(self, function_id: str) -> FunctionRecord:
        """Let no run of the function start or go on until `resume`."""
        return await self._api.post(FunctionRecord, _path("functions", function_id, "pause"), repeatable=True)

    async def resume(self, function_id: str) -> FunctionRecord:
        """Let the runs of a paused function go on."""
        return await self._api.post(FunctionRecord, _path("functions", function_id, "resume"), repeatable=True)


class Apps:
    """The apps that serve functions over HTTP: `rotor.apps`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def register(self, manifest: Manifest) -> list[str]:
        """Register the functions of `manifest` at its `serve_url`; their ids. Doing it again changes nothing."""
        await self._api.call("POST", "/v1/apps", body=json.encode(manifest))
        return [function.id for function in manifest.functions]


class Rotor:
    """The client of a workspace.

    `api_key` and `base_url` default to the environment's `ROTOR_API_KEY` and `ROTOR_URL`, and the address to
    `http://127.0.0.1:8484`, where `rotor dev` listens and needs no key.

        async with Rotor() as rotor:
            event_id = await rotor.send("user.created", {"userId": "123"})

    Every call raises `ApiError` where the server refuses and `ConnectionLostError` where it cannot be reached; it has
    then been tried five times.
    """

    def __init__(self, api_key: str | None = None, base_url: str | None = None) -> None:
        self._api = Api(api_key, base_url)
        self.base_url = self._api.base_url
        self.runs = Runs(self._api)
        self.events = Events(self._api)
        self.functions = Functions(self._api)
        self.apps = Apps(self._api)

    async def send(
        self, name: str, data: Any = None, *, id: str | None = None, ts: datetime | str | int | None = None
    ) -> str:
        """Send an event `name` and return its id, once it is durable.

        `data` is anything that JSON holds, or a dataclass, pydantic model and the like. The same `id` a second time
        starts nothing again. `ts` in the future defers the event (an aware datetime, RFC 3339 text, or epoch
        milliseconds).
        """
        (event_id,) = await self._send([_new_event(name, data, id, ts)])
        return event_id

    async def send_many(self, events: Sequence[NewEvent]) -> list[str]:
        """Send up to 5,000 events at once, all or none, and return their ids in order.

            await rotor.send_many([{"name": "a", "data": {"n": 1}}, {"name": "a", "data": {"n": 2}}])

        Raises `LimitError` for more of them.
        """
        if len(events) > limits.EVENTS_PER_REQUEST:
            raise LimitError(
                f"{len(events):,} events in one call; the limit is {limits.EVENTS_PER_REQUEST:,} (EVENTS_PER_REQUEST)"
            )
        if not events:
            return []
        return await self._send(
            [_new_event(one["name"], one.get("data"), one.get("id"), one.get("ts")) for one in events]
        )

    async def complete_signal(self, signal_id: str, data: Any = None) -> Completion:
        """Complete the signal `signal_id` with `data`: delivered to the run that waits for it, or kept until one does.

        Raises `ApiError` 409 where it was completed before.
        """
        body = bytes(encode_value(data))
        return await self._api.post(Completion, _path("signals", signal_id, "complete"), body, repeatable=False)

    async def signal_link(self, signal_id: str, *, expires_in: str | float | timedelta = "7d") -> SignalLink:
        """A link by which somebody without a key completes the signal `signal_id`, once.

        The signal's data is then `{"approved": ..., "by": ...}`.
        Its page has the buttons Approve and Reject; opening it decides nothing. `expires_in` is a duration ("48h",
        seconds, a timedelta).
        """
        body = json.encode({"expires_in": parse_duration(expires_in).total_seconds()})
        return await self._api.post(SignalLink, _path("signals", signal_id, "link"), body, repeatable=True)

    async def aclose(self) -> None:
        """Close the client's connections."""
        await self._api.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _send(self, events: list[dict[str, Any]]) -> list[str]:
        # Each event carries an id, so that a second try of this request sends nothing twice.
        answer = await self._api.post(dict[str, list[str]], "/v1/events", json.encode(events), repeatable=True)
        return answer["ids"]


def _new_event(name: str, data: Any, id: str | None, ts: datetime | str | int | None) -> dict[str, Any]:
    event: dict[str, Any] = {"name": name, "data": encode_value(data), "id": id or str(uuid4())}
    if ts is not None:
        event["ts"] = ts if isinstance(ts, int) else parse_instant(ts)
    return event


def _path(*parts: str) -> str:
    return "/".join(["/v1", *(quote(part, safe="") for part in parts)])


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


_decoder: Callable[[Any], msgspec.json.Decoder[Any]] = cache(msgspec.json.Decoder)
"""Of each type that calls answer: to make one takes longer than to read an answer."""


def _read(kind: type[T], answer: bytes) -> T:
    try:
        value: T = _decoder(kind).decode(answer)
        return value
    except msgspec.MsgspecError as error:
        raise RotorError(
            f"the server's answer cannot be read as {kind.__name__}: {error}; is ROTOR_URL right?"
        ) from None
