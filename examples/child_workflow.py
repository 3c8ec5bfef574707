"""A workflow that invokes another: typed, exactly once, and with its failure as an error to catch.

rotor dev examples/child_workflow.py
python examples/child_workflow.py                       # in another terminal
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rotor import Context, Rotor, create_function
from rotor.errors import NonRetriableError, WorkflowFailedError


@dataclass
class Order:
    """The data of the event that starts a checkout."""

    item: str
    amount: int


@dataclass
class Receipt:
    """What a payment gives back."""

    amount: int
    text: str


def charge(amount: int) -> str:
    """Stands for a payment service."""
    if amount > 1_000:
        raise NonRetriableError("the card is declined")
    return f"paid {amount}"


@create_function(id="take-payment", trigger={"event": "payment.asked"})
async def take_payment(ctx: Context[Order]) -> Receipt:
    """The child: a workflow of its own, with its own steps and retries."""
    return Receipt(ctx.event.data.amount, await ctx.step.run("charge", charge, ctx.event.data.amount))


@create_function(id="checkout", trigger={"event": "checkout.begun"})
async def checkout(ctx: Context[Order]) -> str:
    """The parent: `payment.result` is a Receipt, for a type checker as well as in fact."""
    try:
        payment = await ctx.step.invoke("pay", workflow=take_payment, data=ctx.event.data, timeout="10m")
    except WorkflowFailedError as error:
        return f"no {ctx.event.data.item}: {error.message}"
    return f"one {ctx.event.data.item}, {payment.result.text}"


async def main() -> None:
    """A checkout that goes well, and one that does not."""
    async with Rotor() as rotor:
        for order in (Order("lamp", 40), Order("piano", 9_000)):
            event_id = await rotor.send("checkout.begun", order)
            (run,) = (await rotor.events.get(event_id)).runs
            run = await rotor.runs.wait(run.id)
            child = await rotor.runs.get(run.steps[0].child_run_id or "")
            print(
                f"{run.output} (child {child.status}, its parent is {'this' if child.parent_run_id == run.id else '?'})"
            )


if __name__ == "__main__":
    asyncio.run(main())

# Output:
# one lamp, paid 40 (child completed, its parent is this)
# no piano: step 'charge' failed: NonRetriableError: the card is declined (child failed, its parent is this)
