"""Receives mail by SMTP and sends `email.replied` for each reply that belongs to a sequence.

    python replies.py

Have your mail server forward the mailbox of MAIL_FROM here, or do the same from your provider's inbound webhook.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parseaddr

from aiosmtpd.smtp import SMTP, Envelope, Session
from rotor import Rotor
from rotor.errors import RotorError

import settings

RUN_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
TEXT_MAX = 10_000
"""How many characters of a reply the event carries."""


class Replies:
    """What aiosmtpd calls for each mail. A reply is accepted only once its event is durable."""

    def __init__(self, rotor: Rotor) -> None:
        self._rotor = rotor

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        message = message_from_bytes(
            content.encode() if isinstance(content, str) else content or b"", _class=EmailMessage, policy=policy.default
        )
        run_id = find_run(message)
        if run_id is None or is_automatic(message):
            return "250 OK, no reply of a person to one of our mails"
        subject = str(message["Subject"] or "")
        data = {
            "run_id": run_id,
            "sender": parseaddr(str(message["From"] or ""))[1],
            "text": text(message),
            "unsubscribe": "unsubscribe" in subject.lower(),
        }
        # A mail that is delivered twice is one event.
        same = hashlib.sha256(str(message["Message-ID"] or content).encode()).hexdigest()
        try:
            await self._rotor.send("email.replied", data, id=f"reply-{same}")
        except RotorError as error:
            print(f"A reply could not be passed on: {error}")
            return "451 try again later"
        return "250 OK"


def find_run(message: EmailMessage) -> str | None:
    """The id of the run whose mail this answers: from the Message-ID of that mail, or the subject of an opt-out."""
    for header in ("In-Reply-To", "References", "Subject"):
        found = RUN_ID.search(str(message[header] or ""))
        if found:
            return found[0]
    return None


def is_automatic(message: EmailMessage) -> bool:
    """Whether no person wrote it: "out of office" and the like (RFC 3834)."""
    return str(message["Auto-Submitted"] or "no").lower() != "no"


def text(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    return "" if body is None else str(body.get_content()).strip()[:TEXT_MAX]


async def main() -> None:
    async with Rotor() as rotor:
        handler = Replies(rotor)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(handler), settings.INBOUND_HOST, settings.INBOUND_PORT)
        print(f"Receiving replies on {settings.INBOUND_HOST}:{settings.INBOUND_PORT}. Ctrl-C stops.", flush=True)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
