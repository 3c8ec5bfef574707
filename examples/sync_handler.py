"""A plain `def` workflow: the same steps without `await`, `ctx.step.parallel` in place of gather, and `SyncRotor`.

rotor dev examples/sync_handler.py
python examples/sync_handler.py                       # in another terminal
"""

from __future__ import annotations

import time
from functools import partial
from typing import TypedDict

from rotor import SyncContext, SyncRotor, create_function


class Album(TypedDict):
    """The data of the event that starts it."""

    photos: list[str]


def shrink(photo: str) -> str:
    """Stands for slow work. It runs in a thread."""
    time.sleep(0.2)
    return f"{photo}, small"


@create_function(id="shrink-album", trigger={"event": "album.uploaded"})
def shrink_album(ctx: SyncContext[Album]) -> list[str]:
    """Each step blocks until it is done, and is recorded like any other."""
    photos = ctx.event.data["photos"]
    small = ctx.step.parallel([partial(ctx.step.run, "shrink", shrink, photo) for photo in photos])
    ctx.step.sleep("let-the-cache-settle", "100ms")
    viewed = ctx.step.wait_for_event("first-view", event="album.viewed", timeout="200ms")
    return [*small, "viewed" if viewed else "not viewed yet"]


def main() -> None:
    """Upload an album."""
    with SyncRotor() as rotor:
        event_id = rotor.send("album.uploaded", {"photos": ["sea", "hill", "town"]})
        (run,) = rotor.events.get(event_id).runs
        run = rotor.runs.wait(run.id)
        print(run.status, run.output)
        print(sorted((step.id, step.index) for step in run.steps))


if __name__ == "__main__":
    main()

# Output:
# completed ['sea, small', 'hill, small', 'town, small', 'not viewed yet']
# [('first-view', 0), ('let-the-cache-settle', 0), ('shrink', 0), ('shrink', 1), ('shrink', 2)]
