"""A Flask app that serves a workflow beside its own routes, with a plain `def` handler.

    ROTOR_DEV=1 flask --app examples/flask_app.py run --port 8000
    rotor dev -u http://127.0.0.1:8000/api/rotor                        # in another terminal
    curl -X POST http://127.0.0.1:8000/invoices/7                       # and in a third

In production the app has ROTOR_SIGNING_KEY in place of ROTOR_DEV, and `rotor sync URL` registers it.
"""

from __future__ import annotations

from typing import Any

from flask import Flask

from rotor import SyncContext, SyncRotor, create_function, serve_workflow


def render(invoice: int) -> str:
    """Stands for work."""
    return f"invoice {invoice} rendered"


@create_function(id="send-invoice", trigger={"event": "invoice.requested"})
def send_invoice(ctx: SyncContext[dict[str, Any]]) -> str:
    """Render, wait, send."""
    rendered = ctx.step.run("render", render, ctx.event.data["invoice"])
    ctx.step.sleep("quiet-hours", "200ms")
    return f"{rendered}, sent"


app = Flask(__name__)
serve_workflow(app, functions=[send_invoice])
rotor = SyncRotor()


@app.post("/invoices/<int:invoice>")
def request_invoice(invoice: int) -> dict[str, str]:
    """Send the event that starts the workflow. It is durable once this answers."""
    return {"event": rotor.send("invoice.requested", {"invoice": invoice}, id=f"invoice-{invoice}")}


# Output of the run:
# invoice 7 rendered, sent
