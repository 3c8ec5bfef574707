"""Cancelling a run: the step in flight ends and is recorded, nothing later starts, its children are cancelled too.

rotor dev examples/cancellation.py
python examples/cancellation.py                       # in another terminal
"""

from __future__ import annotations

import asyncio
from typing import Any

from rotor import Context, Rotor, create_function
from rotor.errors import ApiError


def reserve(seats: int) -> str:
    """Stands for a booking system."""
    return f"{seats} seats"


@create_function(id="seat-hold", trigger={"event": "seats.hold"})
async def seat_hold(ctx: Context[dict[str, Any]]) -> None:
    """The child: holds seats for as long as nobody cancels it."""
    await ctx.step.run("reserve", reserve, ctx.event.data["seats"])
    await ctx.step.sleep("hold", "30d")


@create_function(id="trip-booking", trigger={"event": "booking.begun"})
async def trip_booking(ctx: Context[dict[str, Any]]) -> None:
    """The parent: waits for its child."""
    await ctx.step.run("check", reserve, ctx.event.data["seats"])
    await ctx.step.invoke("hold-seats", workflow=seat_hold, data=ctx.event.data, timeout="30d")


async def main() -> None:
    """Begin a booking, and cancel it while the child waits."""
    async with Rotor() as rotor:
        event_id = await rotor.send("booking.begun", {"seats": 2})
        (run,) = (await rotor.events.get(event_id)).runs
        child_id = await child_that_holds(rotor, run.id)
        await rotor.send("rotor/cancel.run", {"runId": run.id})  # or rotor.runs.cancel(run.id)
        run, child = await rotor.runs.wait(run.id), await rotor.runs.wait(child_id)
        print("booking:", run.status, [(step.id, step.status) for step in run.steps])
        print("child:  ", child.status, [(step.id, step.status) for step in child.steps])
        try:
            await rotor.runs.cancel(run.id)
        except ApiError as error:
            print("again:  ", error.status, error.title)


async def child_that_holds(rotor: Rotor, run_id: str) -> str:
    """The child's id, once its seats are held."""
    async for _ in rotor.runs.stream(run_id):
        for step in (await rotor.runs.get(run_id)).steps:
            if step.child_run_id:
                async for change in rotor.runs.stream(step.child_run_id):
                    if change.id == "hold":
                        return step.child_run_id
    raise RuntimeError("the booking ended before its child began")


if __name__ == "__main__":
    asyncio.run(main())

# Output:
# booking: cancelled [('check', 'completed'), ('hold-seats', 'cancelled')]
# child:   cancelled [('reserve', 'completed'), ('hold', 'cancelled')]
# again:   409 Conflict
