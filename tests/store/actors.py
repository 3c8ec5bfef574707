"""Those who act on a store: apps that register functions, senders of events, holders of runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from rotor.protocol.messages import (
    Committed,
    FunctionSpec,
    Goodbye,
    Hello,
    HolderMessage,
    Manifest,
    RunMessage,
    Settled,
    StartRun,
    Trigger,
)
from rotor.services.matcher import Matcher
from rotor.services.rescuer import Rescuer
from rotor.services.timers import Timers
from rotor.store import claims, committer, functions, leases
from rotor.store.committer import Exchange
from rotor.store.intake import NewEvent
from rotor.store.store import Store
from tests.messages import raw
from tests.store.tables import change, value


async def serve(
    store: Store, *function_ids: str, event: str | None = None, serve_url: str | None = None, workspace_id: int = 1
) -> None:
    """Register functions that `event` starts; without one, each is started by an event of its own."""
    specs = [FunctionSpec(id=name, triggers=[Trigger(event=event or f"start {name}")]) for name in function_ids]
    await functions.register(store.database, workspace_id, specs, serve_url=serve_url)


async def send(
    store: Store,
    name: str,
    data: object = None,
    *,
    id: str | None = None,
    ts: datetime | None = None,
    workspace_id: int = 1,
) -> str:
    """Send one event; its id."""
    (event_id,) = await store.intake.accept(workspace_id, [NewEvent(name, raw(data), id, ts)])
    return event_id


async def begin(store: Store, function_id: str = "f", data: object = None, *, workspace_id: int = 1) -> UUID:
    """Start a run of a function that `serve` registered; its id."""
    event_id = await send(store, f"start {function_id}", data, workspace_id=workspace_id)
    run_id: UUID = await value(store.database, "SELECT id FROM runs WHERE event_id = $1", event_id)
    return run_id


@dataclass
class Holder:
    """A worker without a network: it claims runs, sends messages, and keeps what it is told."""

    store: Store
    lease_id: UUID
    workspace_id: int = 1
    told: list[HolderMessage | Goodbye] = field(default_factory=list)
    connection: int = 1
    """The number of its connection."""
    slots: int = 0
    """How many runs it lets the committer give it at once; what it claims itself is not counted."""

    def hear(self, messages: Sequence[HolderMessage | Goodbye], _now: bool) -> None:
        """As the server tells it."""
        self.told.extend(messages)

    @classmethod
    async def connect(
        cls,
        store: Store,
        *function_ids: str,
        slots: int = 0,
        workspace_id: int = 1,
        version: str = "",
        lasting: bool = True,
    ) -> Holder:
        """A holder on a new lease: one that outlasts every move of the clock, unless it is to run out.

        New runs of these functions may start with it at once, as far as it has slots.
        """
        hello = Hello(protocol=1, worker="w", manifest=Manifest(functions=[], version=version), slots=100)
        holder = cls(store, await leases.open_lease(store.database, workspace_id, hello), workspace_id, slots=slots)
        if lasting:
            await change(store.database, "UPDATE leases SET expires_at = 'infinity' WHERE id = $1", holder.lease_id)
        store.holders.add(
            holder.lease_id,
            holder.hear,
            slots=lambda: holder.slots,
            keeps=100,
            serves=[(workspace_id, function_id) for function_id in function_ids],
        )
        return holder

    async def claim(self, *function_ids: str, count: int = 100) -> list[Any]:
        """Claim due runs as the dispatcher does: the `StartRun` of each, or `ResumeRun`."""
        claimed = await claims.claim_runs(
            self.store.database,
            self.store.holders,
            workspace_id=self.workspace_id,
            lease_id=self.lease_id,
            connection=self.connection,
            function_ids=function_ids or ["f"],
            count=count,
        )
        for run in claimed:
            self.store.holders.start(self.lease_id, run.run_id, run.start, quiet=run.quiet, now=False)
        return [run.start for run in claimed]

    async def take(self, function_id: str = "f") -> Any:
        """Claim the one run that is due: its `StartRun`, or `ResumeRun`."""
        (start,) = await self.claim(function_id)
        return start

    async def say(self, *messages: RunMessage) -> list[HolderMessage]:
        """Send messages of one run; the answer."""
        said = Exchange(self.workspace_id, self.lease_id, messages, connection=self.connection)
        (answer,) = await self.store.committer.exchange([said])
        return answer

    def started(self) -> list[StartRun]:
        """What was handed to it, in order."""
        return [message for message in self.told if isinstance(message, StartRun)]

    def settled(self, run_id: str | UUID) -> list[str]:
        """The steps that it was told to have come to their end, in order."""
        return [
            memo.id
            for message in self.told
            if isinstance(message, Settled) and message.run_id == str(run_id)
            for memo in message.memo
        ]


async def hold(store: Store, function_id: str = "f") -> tuple[Holder, str]:
    """A fresh run of a fresh function, and the holder that has it."""
    await serve(store, function_id)
    await begin(store, function_id)
    holder = await Holder.connect(store)
    return holder, (await holder.take(function_id)).run_id


def acknowledged(answer: list[HolderMessage]) -> list[int]:
    """The numbers of the messages that are durable."""
    return [
        number
        for message in answer
        if isinstance(message, Committed)
        for sent in message.runs.values()
        for number in sent
    ]


# --- loops, a round at a time


async def match(store: Store) -> None:
    """Let events and waits find each other until there is nothing left to find, in the database neither."""
    matcher = Matcher(store)
    store.changes.look_elsewhere()
    while await matcher.tick() is not None:
        pass


async def fire_deadlines(store: Store, after: timedelta = timedelta()) -> None:
    """Let time pass, and fire what is due then."""
    store.database.advance(after)
    await Timers(store).tick()


async def rescue(store: Store) -> None:
    await Rescuer(store).tick()


async def followed(store: Store) -> None:
    """Return once what follows from commits (the cancelling of children) has been carried out."""
    while following := store.committer._following:
        await asyncio.wait(following)


def dies_after_each_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nothing follows from a commit, as if the server had died right after it."""

    async def nothing(*_: object) -> None:
        return

    monkeypatch.setattr(committer, "cancel_children", nothing)
