"""A FastAPI app that serves a workflow beside its own routes: no worker process, the server calls the app.

    ROTOR_DEV=1 uvicorn --app-dir examples fastapi_app:app --port 8000
    rotor dev -u http://127.0.0.1:8000/api/rotor                        # in another terminal
    curl -X POST http://127.0.0.1:8000/orders/7                         # and in a third

In production the app has ROTOR_SIGNING_KEY in place of ROTOR_DEV, and `rotor sync URL` registers it.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from rotor import Context, Rotor, create_function, serve_workflow


async def pack(order: int) -> str:
    """Stands for work."""
    return f"order {order} packed"


@create_function(id="ship-order", trigger={"event": "order.placed"})
async def ship_order(ctx: Context[dict[str, Any]]) -> str:
    """Pack, wait, ship."""
    packed = await ctx.step.run("pack", pack, ctx.event.data["order"])
    await ctx.step.sleep("wait-for-the-van", "200ms")
    return f"{packed}, shipped"


app = FastAPI()
serve_workflow(app, functions=[ship_order])


@app.post("/orders/{order}")
async def place_order(order: int) -> dict[str, str]:
    """Send the event that starts the workflow. It is durable once this answers."""
    async with Rotor() as rotor:
        return {"event": await rotor.send("order.placed", {"order": order}, id=f"order-{order}")}


# Output of the run:
# order 7 packed, shipped
