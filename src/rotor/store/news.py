"""What was settled of held runs by others than this server, so that their holders have not been told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from rotor.engine.arrivals import Arrival, FromHolder
from rotor.engine.run import Run
from rotor.protocol.messages import Memo
from rotor.store.database import Connection
from rotor.store.holders import UNKNOWN, Holders
from rotor.store.steps import memo_of_row

__all__ = ["News", "read_news"]


class News(NamedTuple):
    """What was settled of held runs that their holders have not been told."""

    memos: dict[tuple[UUID, UUID], list[Memo]]
    """By (lease, run)."""
    everything: frozenset[UUID]
    """Runs of holders that came back, of which every step is among them."""


async def read_news(
    connection: Connection, holders: Holders, runs: Mapping[UUID, Run], arrivals: Sequence[Arrival]
) -> News:
    """What another server settled, or was settled while a serve app could not be told."""
    said = {
        (arrival.lease_id, arrival.run_id): arrival.told
        for arrival in arrivals
        if isinstance(arrival, FromHolder) and arrival.told is not None
    }
    held = {(run.lease_id, run.id): run.settled for run in runs.values() if run.lease_id}
    missed = [place for place, settled in held.items() if said.get(place, holders.told(*place)) not in (None, settled)]
    if not missed:
        return News({}, frozenset())
    came_back = frozenset(place[1] for place in missed if holders.told(*place) == UNKNOWN)
    rows = await connection.fetch("read_news", [run_id for _, run_id in missed], list(came_back))
    memos: dict[tuple[UUID, UUID], list[Memo]] = {place: [] for place in missed}
    places = {run_id: (lease_id, run_id) for lease_id, run_id in missed}
    for row in rows:
        memos[places[row["run_id"]]].append(memo_of_row(row))
    return News(memos, came_back)
