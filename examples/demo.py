"""Every kind of step in one small workflow: `python3 task.py demo` runs it and shows each step as it goes.

By hand: `rotor dev examples/demo.py`, then `rotor send trip.requested '{"to": "Lisbon", "guests": 2}'`, then
`rotor runs watch RUN`, and when it waits for the approval `rotor signal complete trip-RUN '{"approved": true}'`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, TypedDict

from rotor import Context, create_function
from rotor.errors import NonRetriableError


@dataclass
class Trip:
    """The data of the event that starts a plan."""

    to: str
    guests: int = 1


@dataclass
class Offer:
    """What a search finds. Steps give it back as an Offer, also after a crash."""

    what: str
    price: int


class Approval(TypedDict):
    """What completes the signal."""

    approved: bool


async def search(what: str, to: str, price: int) -> Offer:
    """Stands for a slow service."""
    await asyncio.sleep(0.3)
    return Offer(f"{what} in {to}", price)


def add_up(offers: list[Offer], guests: int) -> int:
    if guests < 1:
        raise NonRetriableError("a trip needs a guest")
    return guests * sum(offer.price for offer in offers)


@create_function(id="trip-quote", trigger={"event": "trip.quote"})
async def quote(ctx: Context[dict[str, Any]]) -> int:
    """The child: what a trip costs."""
    offers = [Offer(**offer) for offer in ctx.event.data["offers"]]
    return await ctx.step.run("add-up", add_up, offers, ctx.event.data["guests"])


@create_function(id="trip-plan", trigger={"event": "trip.requested"}, retries=2)
async def plan(ctx: Context[Trip]) -> dict[str, Any]:
    """Search side by side, wait, let a child make the quote, ask a person, tell the rest of the world."""
    trip = ctx.event.data
    offers = await asyncio.gather(
        ctx.step.run("search-train", search, "train", trip.to, 120),
        ctx.step.run("search-hotel", search, "hotel", trip.to, 260),
    )
    await ctx.step.sleep("let-prices-settle", "2s")
    priced = await ctx.step.invoke(
        "quote",
        workflow="trip-quote",
        data={"offers": [{"what": offer.what, "price": offer.price} for offer in offers], "guests": trip.guests},
        timeout="1m",
    )
    approval = await ctx.step.wait_for_signal(
        "approval", signal=f"trip-{ctx.run_id}", timeout="10m", data_type=Approval
    )
    if not approval["approved"]:
        return {"status": "rejected", "to": trip.to}
    await ctx.step.send_event("announce", name="trip.booked", data={"to": trip.to, "price": priced.result})
    return {"status": "booked", "to": trip.to, "price": priced.result}
