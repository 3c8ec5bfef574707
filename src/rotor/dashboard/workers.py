"""The page of who runs functions: connected workers, and apps that are called over HTTP."""

from __future__ import annotations

from rotor.dashboard.door import Visit
from rotor.dashboard.live import View
from rotor.store import workers

__all__ = ["look"]

SHOWN = 200


async def look(visit: Visit) -> View:
    database, workspace_id = visit.store.database, visit.workspace_id
    connected = await workers.connected(database, workspace_id, items_max=SHOWN)
    apps = await workers.apps(database, workspace_id, items_max=SHOWN)
    now = await visit.now()
    return View(
        (connected, apps),
        lambda: {"workers": visit.part("workers_rows.html", workers=connected, apps=apps, shown=SHOWN, now=now)},
    )
