"""The web page behind the links: it checks a link, asks for a click, and completes the signal with the API key.

    python approvals.py

Opening a link decides nothing, since mail scanners and chat previews open links too: the button on its page does. A
link works once: a run that has its decision, or has ended, takes no other.
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.typedefs import Handler
from rotor import Rotor
from rotor.errors import ApiError, ConnectionLostError

import settings
from links import LinkError, check_secret, verify
from workflows import APPROVAL, Decision, signal_of

ROTOR = web.AppKey("rotor", Rotor)
NAME_MAX = 100

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Approval</title></head><body><main>{}</main></body></html>"""

FORM = """<h1>Do you want to {} the report?</h1>
<form method="post"><label>Your name <input name="by" maxlength="100" required></label> <button>{}</button></form>"""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


async def show(request: web.Request) -> web.Response:
    """The page with the button."""
    try:
        decision = await check(request)
    except LinkError as error:
        return page(f"<h1>{html.escape(str(error))}</h1>", error.status)
    return page(FORM.format(decision, decision.title()))


async def decide(request: web.Request) -> web.Response:
    """The button was pressed."""
    try:
        decision = await check(request)
        form = await request.post()
        by = str(form.get("by", "")).strip()[:NAME_MAX]
        await complete(request, Decision(approved=decision == "approve", by=by))
    except LinkError as error:
        return page(f"<h1>{html.escape(str(error))}</h1>", error.status)
    return page(f"<h1>Thank you: {'approved' if decision == 'approve' else 'rejected'}.</h1>")


async def check(request: web.Request) -> str:
    """The decision that the link stands for. Raises `LinkError` unless it is ours and can still be used."""
    run_id, decision = request.match_info["run_id"], request.match_info["decision"]
    verify(run_id, decision, request.query.get("expires", ""), request.query.get("signature", ""))
    try:
        run = await request.app[ROTOR].runs.get(run_id)
    except ApiError as error:
        if error.status == 404:
            raise LinkError(410, "There is no such report any more.") from None
        raise
    decided = any(step.id == APPROVAL and step.status != "waiting" for step in run.steps)
    if run.ended or decided:
        raise LinkError(410, "This report is decided already.")
    return decision


async def complete(request: web.Request, decision: Decision) -> None:
    try:
        await request.app[ROTOR].complete_signal(signal_of(request.match_info["run_id"]), decision)
    except ApiError as error:
        if error.status == 409:
            raise LinkError(410, "This report is decided already.") from None
        raise


@web.middleware
async def say_that_rotor_is_away(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ConnectionLostError:
        return page("<h1>Rotor cannot be reached. Try again in a minute.</h1>", 503)


def page(content: str, status: int = 200) -> web.Response:
    return web.Response(text=PAGE.format(content), status=status, content_type="text/html", headers=HEADERS)


async def with_rotor(app: web.Application) -> AsyncIterator[None]:
    async with Rotor() as rotor:
        app[ROTOR] = rotor
        yield


def create_app() -> web.Application:
    check_secret()
    app = web.Application(middlewares=[say_that_rotor_is_away], client_max_size=10_000)
    app.cleanup_ctx.append(with_rotor)
    path = "/approvals/{run_id}/{decision:approve|reject}"
    app.add_routes([web.get(path, show), web.post(path, decide)])
    return app


if __name__ == "__main__":
    web.run_app(create_app(), host=settings.APPROVAL_HOST, port=settings.APPROVAL_PORT)
