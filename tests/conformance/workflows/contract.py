"""The contract's own example, to the letter of its steps, and the specialist that it invokes."""

from __future__ import annotations

from typing import Any

from rotor import Context, create_function
from rotor.errors import NonRetriableError, SignalTimeoutError, WorkflowFailedError, WorkflowTimeoutError


async def fetch_profile(contact_id: str) -> dict[str, str]:
    return {"email": f"{contact_id}@example.com", "name": "Ada"}


@create_function(id="contact-enricher", trigger={"event": "contact.enrich"})
async def contact_enricher(ctx: Context) -> dict[str, Any]:
    if ctx.event.data["contactId"].endswith("-unknown"):
        raise NonRetriableError("nobody knows this contact")
    return {"score": 7, "company": "Analytical Engines"}


@create_function(id="full-primitives-workflow", trigger={"event": "campaign.requested"}, retries=2)
async def full_primitives(ctx: Context) -> dict[str, Any]:
    contact_id = ctx.event.data["contactId"]
    await ctx.step.run("fetch-profile", fetch_profile, contact_id)
    await ctx.step.sleep("initial-delay", "1h")
    try:
        enriched = await ctx.step.invoke(
            "enrich-contact", workflow="contact-enricher", data={"contactId": contact_id}, timeout="5m"
        )
        score = enriched.result["score"]
    except (WorkflowFailedError, WorkflowTimeoutError):
        score = 0
    await ctx.step.send_event(
        "notify-analytics", name="analytics/contact.scored", data={"contactId": contact_id, "score": score}
    )
    try:
        approval = await ctx.step.wait_for_signal(
            "approval-gate", signal=f"campaign-approval-{ctx.run_id}", timeout="48h"
        )
    except SignalTimeoutError:
        return {"status": "auto-rejected"}
    if not approval["approved"]:
        return {"status": "rejected"}
    opened = await ctx.step.wait_for_event(
        "wait-for-open", event="email.opened", match=f'data.contactId == "{contact_id}"', timeout="7d"
    )
    return {"status": "complete", "score": score, "emailOpened": opened is not None}
