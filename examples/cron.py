"""A weekly report: every Monday at nine in Paris, through daylight saving time, and whenever somebody asks for it.

rotor dev examples/cron.py
python examples/cron.py                       # in another terminal
"""

from __future__ import annotations

import asyncio
from typing import Any
from zoneinfo import ZoneInfo

from rotor import Context, Rotor, create_function


def count_orders() -> int:
    """Stands for a query."""
    return 42


@create_function(
    id="weekly-report",
    trigger=[{"cron": "0 9 * * 1", "timezone": "Europe/Paris"}, {"event": "report.asked"}],
)
async def weekly_report(ctx: Context[Any]) -> str:
    """A fire of the schedule is an event, too: `rotor/cron`, with the time that it was planned for."""
    orders = await ctx.step.run("count-orders", count_orders)
    by_schedule = ctx.event.name == "rotor/cron"
    return f"{orders} orders, {'as planned for ' + ctx.event.data['scheduled_at'] if by_schedule else 'as asked'}"


async def main() -> None:
    """Tell when it is due, and ask for one now."""
    async with Rotor() as rotor:
        planned = (await rotor.functions.get("weekly-report")).triggers[0].next_at
        assert planned
        print(f"next: {planned.astimezone(ZoneInfo('Europe/Paris')):%A at %H:%M}")
        event_id = await rotor.send("report.asked")
        (run,) = (await rotor.events.get(event_id)).runs
        print(f"now: {(await rotor.runs.wait(run.id)).output}")


if __name__ == "__main__":
    asyncio.run(main())

# Output:
# next: Monday at 09:00
# now: 42 orders, as asked
