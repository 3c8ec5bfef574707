"""Steps side by side with `asyncio.gather`: each runs once, the workflow goes on when all are done.

rotor dev examples/fan_out.py
python examples/fan_out.py                       # in another terminal
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from rotor import Context, Rotor, create_function


@dataclass
class Found:
    """What one source knows. A step gives it back as a Found, on replay too."""

    source: str
    value: str


async def look_up(source: str, contact: str) -> Found:
    """Stands for a slow service."""
    await asyncio.sleep(0.5)
    return Found(source, f"{contact}'s {source}")


@create_function(id="fan-out", trigger={"event": "contact.added"})
async def fan_out(ctx: Context[dict[str, Any]]) -> dict[str, str]:
    """Three look-ups for each of any number of contacts, all at once."""

    async def enrich(contact: str) -> str:
        email, phone = await asyncio.gather(
            ctx.step.run("enrich-email", look_up, "email", contact),
            ctx.step.run("enrich-phone", look_up, "phone", contact),
        )
        company = await ctx.step.run("find-company", look_up, "company", contact)
        return ", ".join(found.value for found in (email, phone, company))

    contacts: list[str] = ctx.event.data["contacts"]
    return dict(zip(contacts, await asyncio.gather(*map(enrich, contacts)), strict=True))


async def main() -> None:
    """Add three contacts; the nine look-ups of half a second each take one second together."""
    async with Rotor() as rotor:
        event_id = await rotor.send("contact.added", {"contacts": ["Ada", "Grace", "Joan"]})
        (run,) = (await rotor.events.get(event_id)).runs
        run = await rotor.runs.wait(run.id)
        for line in run.output.values():
            print(line)
        assert run.started_at
        assert run.ended_at
        seconds = (run.ended_at - run.started_at).total_seconds()
        print(f"{len(run.steps)} steps, {'in parallel' if seconds < 4.5 else 'one after another'}")


if __name__ == "__main__":
    asyncio.run(main())

# Output:
# Ada's email, Ada's phone, Ada's company
# Grace's email, Grace's phone, Grace's company
# Joan's email, Joan's phone, Joan's company
# 9 steps, in parallel
