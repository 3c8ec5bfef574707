"""Sends a sequence of mails to a lead, and stops at the first reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rotor import Context, create_function
from rotor.errors import StepError

import settings
from mailing import Lead, UndeliverableError, send_mail
from sequence import SEQUENCE


@dataclass
class Reply:
    """The data of `email.replied`."""

    run_id: str
    sender: str
    text: str
    unsubscribe: bool = False


@dataclass
class Outcome:
    """How a sequence ended, after how many mails."""

    status: Literal["replied", "unsubscribed", "no reply", "undeliverable"]
    mails: int
    detail: str = ""


@create_function(id="outbound-sequence", trigger={"event": "lead.added"}, retries=settings.RETRIES)
async def outbound_sequence(ctx: Context[Lead]) -> Outcome:
    """A mail, time for a reply, the next mail. A reply that comes between two steps is found by the next wait."""
    lead = ctx.event.data
    for number, mail in enumerate(SEQUENCE, start=1):
        try:
            await ctx.step.run(f"send-{mail.id}", send_mail, lead, mail, ctx.run_id)
        except StepError as error:
            if error.name != UndeliverableError.__name__:
                raise
            return Outcome("undeliverable", mails=number - 1, detail=error.message)
        reply = await ctx.step.wait_for_event(
            f"reply-to-{mail.id}",
            event="email.replied",
            match={"data.run_id": ctx.run_id},
            timeout=settings.WAIT_FOR_REPLY,
            data_type=Reply,
        )
        if reply is None:
            continue
        if reply.data.unsubscribe:
            await ctx.step.send_event("opt-out", name="lead.unsubscribed", data={"email": lead.email})
            return Outcome("unsubscribed", mails=number)
        await ctx.step.send_event("hand-over", name="lead.replied", data={"lead": lead, "reply": reply.data})
        return Outcome("replied", mails=number, detail=reply.data.text)
    return Outcome("no reply", mails=len(SEQUENCE))
