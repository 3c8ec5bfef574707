"""A running shape as the tests use it: the client, plain HTTP, the notes that bodies left, and the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg

from rotor import Rotor
from rotor.sdk.resources import Run, Step
from tests.conformance.ledger import notes
from tests.conformance.shapes import Shape

__all__ = ["TRIES", "WITHIN_SECONDS", "Reply", "Service"]

WITHIN_SECONDS = 60
TRIES = 5
"""How often what should take no time is asked for: a machine that stands still for a moment spoils one of them."""


@dataclass(frozen=True)
class Reply:
    """What the HTTP API answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def fields(self) -> list[str]:
        """The fields at fault of a problem."""
        assert self.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "errors"} <= self.json.keys()
        assert self.json["status"] == self.status
        return [error["field"] for error in self.json["errors"]]


class Service:
    """One shape, and whom the test speaks for: the workspace `workspace`."""

    def __init__(self, shape: Shape, http: aiohttp.ClientSession, workspace: str = "default") -> None:
        self.shape = shape
        self.workspace = workspace
        self.rotor = Rotor(shape.keys.get(workspace), shape.url)
        self._http = http

    def of(self, workspace: str) -> Service:
        """The same, for another workspace."""
        return Service(self.shape, self._http, workspace)

    # --- runs

    async def start(self, event: str, **data: Any) -> str:
        """Send an event; the id of the one run that it starts."""
        (run,) = await self.runs_of(await self.rotor.send(event, data))
        return run.id

    async def run(self, event: str, **data: Any) -> Run:
        """Send an event; the one run that it starts, once it has ended."""
        return await self.ended(await self.start(event, **data))

    async def output(self, event: str, **data: Any) -> Any:
        """Send an event; what the one run that it starts returns."""
        run = await self.run(event, **data)
        assert run.status == "completed", run.error
        return run.output

    async def ended(self, run_id: str) -> Run:
        return await self.rotor.runs.wait(run_id, timeout=WITHIN_SECONDS)

    async def runs_of(self, event_id: str) -> list[Run]:
        return (await self.rotor.events.get(event_id)).runs

    async def reaches(self, run_id: str, step_id: str, statuses: Iterable[str] = ("waiting",)) -> Step:
        """The step, once it is in one of `statuses`."""
        async for change in self.rotor.runs.stream(run_id):
            if isinstance(change, Step) and change.id == step_id and change.status in statuses:
                return change
        raise AssertionError(f"run {run_id} ended before its step {step_id!r} was {statuses}")

    def notes(self, key: str) -> list[str]:
        """What bodies have written down under `key`."""
        return notes(self.shape.ledger, key)

    # --- plain HTTP

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        *,
        key: str | None = None,
        **headers: str,
    ) -> Reply:
        """An answer of the server to exactly this; `key` in place of the workspace's own, empty for none."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        key = self.shape.keys.get(self.workspace, "") if key is None else key
        if key:
            given["authorization"] = f"Bearer {key}"
        if body is not None:
            given.setdefault("content-type", "application/json")
        url = path if path.startswith("http") else self.shape.url + path
        async with self._http.request(method, url, data=body, headers=given) as response:
            content = await response.read()
            return Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, content)

    # --- the database

    async def sql(self, statement: str, *arguments: Any) -> Any:
        """The first value that a statement gives, in the shape's schema."""
        connection = await asyncpg.connect(self.shape.dsn, server_settings={"search_path": self.shape.schema})
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    async def holdings(self) -> Any:
        """Everything that the workspace has, told by counts and contents that any change would change."""
        return await self.sql(
            """
            SELECT json_build_array(
                (SELECT count(*) FROM events WHERE workspace_id = mine.id),
                (SELECT count(*) FROM runs WHERE workspace_id = mine.id),
                (SELECT count(*) FROM signals WHERE workspace_id = mine.id),
                (SELECT md5(string_agg(functions::text, ',' ORDER BY id)) FROM functions WHERE workspace_id = mine.id),
                (SELECT md5(string_agg(function_id || coalesce(event_name, cron) || coalesce(match, ''), ','
                                       ORDER BY function_id, position))
                 FROM triggers WHERE workspace_id = mine.id))::text
            FROM workspaces AS mine WHERE name = $1
            """,
            self.workspace,
        )
