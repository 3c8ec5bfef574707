"""What a server has still to look at is bounded by all that it holds of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rotor import limits
from rotor.store.fresh import Delivery, EffectiveEvent, Fresh


@pytest.mark.parametrize("large", [{"data": b" " * 100_000}, {"hashes": tuple(range(3_000))}], ids=["data", "hashes"])
def test_an_event_weighs_what_it_holds(monkeypatch: pytest.MonkeyPatch, large: dict[str, object]) -> None:
    monkeypatch.setattr(limits, "FRESH_BYTES", 100_000)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    rooms = []
    for fields in ({"data": b"1", "hashes": (1,)}, {"data": b"1", **large}):
        fresh = Fresh()
        event = EffectiveEvent(workspace_id=1, id="e", name="opened", ts=now, effective_at=now, position=1, **fields)  # type: ignore[arg-type]
        fresh.put(Delivery([1], {1: 1}, [event]))
        rooms.append(fresh.has_room)
        fresh.take()
        assert fresh.has_room
    assert rooms == [True, False]
