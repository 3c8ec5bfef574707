"""Says something in Slack through an incoming webhook, or on the terminal where none is set."""

from __future__ import annotations

import aiohttp
from rotor.errors import NonRetriableError, RetryAfterError

import settings

TIMEOUT_SECONDS = 10
DEFAULT_WAIT_SECONDS = 5.0


async def post(text: str) -> None:
    """Post `text`, in Slack's mrkdwn.

    Raises `NonRetriableError` where Slack refuses it, `RetryAfterError` where it asks for patience; what aiohttp raises
    for all else is tried again.
    """
    if not settings.SLACK_WEBHOOK_URL:
        print(text, flush=True)
        return
    # Without previews: Slack would otherwise open each link itself.
    message = {"text": text, "unfurl_links": False, "unfurl_media": False}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session,
        session.post(settings.SLACK_WEBHOOK_URL, json=message) as answer,
    ):
        if answer.status == 429:
            wait = answer.headers.get("Retry-After", "")
            raise RetryAfterError(
                "Slack asks us to slow down", float(wait) if wait.isdecimal() else DEFAULT_WAIT_SECONDS
            )
        if 400 <= answer.status < 500:
            # The address of a webhook is a secret, so it is not part of the error.
            raise NonRetriableError(f"Slack refused the message with {answer.status}; is SLACK_WEBHOOK_URL right?")
        if answer.status >= 500:
            raise ConnectionError(f"Slack answered {answer.status}")


def link(address: str, label: str) -> str:
    """A link in Slack's mrkdwn; on the terminal the address as it is."""
    return f"<{escape(address)}|{label}>" if settings.SLACK_WEBHOOK_URL else f"{label}: {address}"


def escape(text: str) -> str:
    """`text` as Slack shows it, whatever it contains; the terminal takes it as it is."""
    if not settings.SLACK_WEBHOOK_URL:
        return text
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
