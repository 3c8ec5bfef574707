"""Stands in for the services that the examples speak to: an HTTP API of contacts, and a mail server.

They are real servers on this machine, so that the examples call them as they would call yours. `API_PORT` and
`SMTP_PORT` say where; the mail server needs `pip install aiosmtpd`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiohttp import web

API_PORT = int(os.environ.get("API_PORT", "8026"))
SMTP_PORT = int(os.environ.get("SMTP_PORT", "8025"))
API_URL = f"http://127.0.0.1:{API_PORT}"

PEOPLE = {
    "123": {"name": "Ada", "email": "ada@example.com"},
    "456": {"name": "Grace", "email": "grace@example.com"},
}


@asynccontextmanager
async def contacts_api() -> AsyncIterator[None]:
    """Answers `GET /users/ID` with a name and an address, 404 for a stranger."""

    async def user(request: web.Request) -> web.Response:
        person = PEOPLE.get(request.match_info["id"])
        return web.json_response(person, status=200 if person else 404)

    app = web.Application()
    app.add_routes([web.get("/users/{id}", user)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", API_PORT).start()
    try:
        yield
    finally:
        await runner.cleanup()


class MailServer:
    """Keeps every mail that it is sent."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take one mail."""
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 kept"


@asynccontextmanager
async def mail_server() -> AsyncIterator[MailServer]:
    """A mail server that delivers to nobody; its `mails` are what it was sent."""
    from aiosmtpd.controller import Controller  # noqa: PLC0415 - only this one needs it

    server = MailServer()
    controller = Controller(server, hostname="127.0.0.1", port=SMTP_PORT)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()
