"""The page of what runs wait for: signals that people may complete, and what comes due next."""

from __future__ import annotations

from rotor.dashboard.door import Visit
from rotor.dashboard.live import View
from rotor.store import waiting

__all__ = ["look"]

SIGNALS_PER_PAGE = 20
DEADLINES_SHOWN = 20


async def look(visit: Visit) -> View:
    database, workspace_id = visit.store.database, visit.workspace_id
    cursor = visit.request.query_params.get("cursor") or None
    page = await waiting.signals(database, workspace_id, cursor=cursor, items_max=SIGNALS_PER_PAGE)
    deadlines = await waiting.next_deadlines(database, workspace_id, items_max=DEADLINES_SHOWN)
    now = await visit.now()
    return View(
        (page, deadlines),
        lambda: {
            "signals": visit.part("waiting_signals.html", page=page, cursor=cursor, now=now),
            "deadlines": visit.part("waiting_deadlines.html", deadlines=deadlines, now=now),
        },
    )
