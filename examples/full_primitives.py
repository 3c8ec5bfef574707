"""Every kind of step in one workflow, and every way that it can end.

INITIAL_DELAY=1s APPROVAL_TIMEOUT=8s OPEN_TIMEOUT=2s rotor dev examples/full_primitives.py
python examples/full_primitives.py                       # in another terminal
"""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from typing import Any, TypedDict

from local_services import API_URL, contacts_api

from rotor import Context, Rotor, create_function
from rotor.errors import NonRetriableError, SignalTimeoutError, WorkflowFailedError, WorkflowTimeoutError

INITIAL_DELAY = os.environ.get("INITIAL_DELAY", "1h")
APPROVAL_TIMEOUT = os.environ.get("APPROVAL_TIMEOUT", "48h")
OPEN_TIMEOUT = os.environ.get("OPEN_TIMEOUT", "7d")


class Campaign(TypedDict):
    """The data of the event that starts a campaign."""

    contactId: str
    company: str


class Approval(TypedDict):
    """What completes the signal."""

    approved: bool


def fetch_profile(contact_id: str) -> dict[str, str]:
    """Ask the API who that is."""
    with urllib.request.urlopen(f"{API_URL}/users/{contact_id}", timeout=10) as answer:
        profile: dict[str, str] = json.load(answer)
        return profile


def score(company: str) -> int:
    """What a company is worth to us."""
    if company == "unknown":
        raise NonRetriableError("nothing is known of that company")
    return len(company)


@create_function(id="contact-enricher", trigger={"event": "contact.enrich"})
async def contact_enricher(ctx: Context[dict[str, Any]]) -> dict[str, int]:
    """The specialist that the campaign invokes."""
    return {"score": await ctx.step.run("score", score, ctx.event.data["company"])}


@create_function(id="full-primitives-workflow", trigger={"event": "campaign.requested"}, retries=2)
async def full_primitives(ctx: Context[Campaign]) -> dict[str, Any]:
    """Look up, wait, enrich, tell, ask a person, and see whether the mail is opened."""
    contact_id = ctx.event.data["contactId"]
    profile = await ctx.step.run("fetch-profile", fetch_profile, contact_id)
    await ctx.step.sleep("initial-delay", INITIAL_DELAY)
    try:
        enriched = await ctx.step.invoke(
            "enrich-contact", workflow="contact-enricher", data={"company": ctx.event.data["company"]}, timeout="5m"
        )
        points: int = enriched.result["score"]
    except (WorkflowFailedError, WorkflowTimeoutError):
        points = 0
    await ctx.step.send_event(
        "notify-analytics", name="analytics/contact.scored", data={"contactId": contact_id, "score": points}
    )
    try:
        approval = await ctx.step.wait_for_signal(
            "approval-gate", signal=f"campaign-approval-{ctx.run_id}", timeout=APPROVAL_TIMEOUT, data_type=Approval
        )
    except SignalTimeoutError:
        return {"status": "auto-rejected"}
    if not approval["approved"]:
        return {"status": "rejected"}
    opened = await ctx.step.wait_for_event(
        "wait-for-open", event="email.opened", match={"data.email": profile["email"]}, timeout=OPEN_TIMEOUT
    )
    return {"status": "complete", "score": points, "emailOpened": opened is not None}


async def campaign(rotor: Rotor, company: str, *, approved: bool | None, opens: bool = False) -> None:
    """Request one campaign, play the people in it, and print how it ended."""
    event_id = await rotor.send("campaign.requested", {"contactId": "123", "company": company})
    (run,) = (await rotor.events.get(event_id)).runs
    if opens:  # the run need not wait for it yet: it looks back to its own start
        await rotor.send("email.opened", {"email": "ada@example.com"})
    if approved is not None:  # nor for this: a signal that comes early is kept
        await rotor.complete_signal(f"campaign-approval-{run.id}", {"approved": approved})
    run = await rotor.runs.wait(run.id)
    enriched = {step.id: step.status for step in run.steps}["enrich-contact"]
    print(f"{run.status}, enrichment {enriched}: {run.output}")


async def main() -> None:
    """One campaign for each way that it can end."""
    async with contacts_api(), Rotor() as rotor:
        await campaign(rotor, "Analytical Engines", approved=True, opens=True)
        await campaign(rotor, "Analytical Engines", approved=True)
        await campaign(rotor, "Analytical Engines", approved=False)
        await campaign(rotor, "unknown", approved=True, opens=True)
        await campaign(rotor, "Analytical Engines", approved=None)


if __name__ == "__main__":
    asyncio.run(main())

# Output:
# completed, enrichment completed: {'status': 'complete', 'score': 18, 'emailOpened': True}
# completed, enrichment completed: {'status': 'complete', 'score': 18, 'emailOpened': False}
# completed, enrichment completed: {'status': 'rejected'}
# completed, enrichment failed: {'status': 'complete', 'score': 0, 'emailOpened': True}
# completed, enrichment completed: {'status': 'auto-rejected'}
