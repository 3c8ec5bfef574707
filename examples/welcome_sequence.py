"""The quickstart: look a new user up, wait a day, send a mail. It survives every crash and holds nothing meanwhile.

INITIAL_WAIT=2s rotor dev examples/welcome_sequence.py
python examples/welcome_sequence.py                       # in another terminal; needs aiosmtpd
"""

from __future__ import annotations

import asyncio
import json
import os
import smtplib
import urllib.request
from email.message import EmailMessage
from typing import TypedDict

from local_services import API_URL, SMTP_PORT, contacts_api, mail_server

from rotor import Context, Rotor, create_function

INITIAL_WAIT = os.environ.get("INITIAL_WAIT", "24h")


class UserCreated(TypedDict):
    """The data of the event that starts a sequence."""

    userId: str


class Profile(TypedDict):
    """What the API knows of a user."""

    name: str
    email: str


def fetch_profile(user_id: str) -> Profile:
    """Ask the API. Should it fail, the step is tried again."""
    with urllib.request.urlopen(f"{API_URL}/users/{user_id}", timeout=10) as answer:
        profile: Profile = json.load(answer)
        return profile


def send_mail(to: str, subject: str, text: str) -> None:
    """Send a mail by SMTP."""
    mail = EmailMessage()
    mail["To"], mail["From"], mail["Subject"] = to, "hello@example.com", subject
    mail.set_content(text)
    with smtplib.SMTP("127.0.0.1", SMTP_PORT) as smtp:
        smtp.send_message(mail)


@create_function(id="welcome-sequence", trigger={"event": "user.created"}, retries=3)
async def welcome_sequence(ctx: Context[UserCreated]) -> dict[str, bool]:
    """Runs once for each user."""
    profile = await ctx.step.run("fetch-profile", fetch_profile, ctx.event.data["userId"])
    await ctx.step.sleep("initial-wait", INITIAL_WAIT)
    await ctx.step.run(
        "send-welcome", send_mail, profile["email"], f"Welcome, {profile['name']}!", "Thanks for joining."
    )
    return {"sent": True}


async def main() -> None:
    """Create a user, and see what becomes of it."""
    async with contacts_api(), mail_server() as server, Rotor() as rotor:
        event_id = await rotor.send("user.created", {"userId": "123"})
        (run,) = (await rotor.events.get(event_id)).runs
        run = await rotor.runs.wait(run.id)
        print(run.status, run.output)
        print([(step.id, step.status) for step in run.steps])
        print([(mail["To"], mail["Subject"]) for mail in server.mails])


if __name__ == "__main__":
    asyncio.run(main())

# Output:
# completed {'sent': True}
# [('fetch-profile', 'completed'), ('initial-wait', 'completed'), ('send-welcome', 'completed')]
# [('ada@example.com', 'Welcome, Ada!')]
