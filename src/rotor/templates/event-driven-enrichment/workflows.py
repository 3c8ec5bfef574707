"""Enriches the contacts of a campaign side by side, each in a run of its own, as soon as the campaign starts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rotor import Context, create_function
from rotor.errors import WorkflowCancelledError, WorkflowFailedError, WorkflowTimeoutError

import settings
from lookups import Company, Person, find_company, find_person


@dataclass
class Contact:
    """Whom to enrich."""

    id: str
    email: str


@dataclass
class Campaign:
    """The data of `campaign.started`."""

    campaign_id: str
    contacts: list[Contact]


@dataclass
class Enriched:
    """What is known of a contact in the end."""

    contact_id: str
    score: int
    person: Person | None
    company: Company | None


@dataclass
class Summary:
    """What became of a campaign. `failed` holds the ids of contacts that could not be enriched."""

    campaign_id: str
    enriched: list[Enriched]
    failed: list[str]


@create_function(id="enrich-campaign", trigger={"event": "campaign.started"})
async def enrich_campaign(ctx: Context[Campaign]) -> Summary:
    """One child run for each contact; one that fails costs the campaign that contact and nothing else."""
    campaign = ctx.event.data
    gate = asyncio.Semaphore(settings.AT_ONCE)

    async def enrich(contact: Contact) -> Enriched | None:
        async with gate:
            try:
                child = await ctx.step.invoke(
                    f"enrich-{contact.id}", workflow=enrich_contact, data=contact, timeout=settings.CONTACT_TIMEOUT
                )
            except (WorkflowFailedError, WorkflowTimeoutError, WorkflowCancelledError) as error:
                ctx.logger.warning("contact %s was not enriched: %s", contact.id, error)
                return None
            return child.result

    results = await asyncio.gather(*(enrich(contact) for contact in campaign.contacts))
    summary = Summary(
        campaign_id=campaign.campaign_id,
        enriched=[result for result in results if result is not None],
        failed=[contact.id for contact, result in zip(campaign.contacts, results, strict=True) if result is None],
    )
    await ctx.step.send_event("tell", name="campaign.enriched", data=summary)
    return summary


@create_function(id="enrich-contact", trigger={"event": "contact.added"}, retries=settings.RETRIES)
async def enrich_contact(ctx: Context[Contact]) -> Enriched:
    """Two look-ups side by side. A contact that is added later, by `contact.added`, is enriched alike."""
    contact = ctx.event.data
    person, company = await asyncio.gather(
        ctx.step.run("find-person", find_person, contact.email, timeout=settings.REQUEST_TIMEOUT),
        ctx.step.run("find-company", find_company, contact.email, timeout=settings.REQUEST_TIMEOUT),
    )
    return Enriched(contact_id=contact.id, score=score(person, company), person=person, company=company)


def score(person: Person | None, company: Company | None) -> int:
    """0 to 100: how well the contact fits. Put your own rule here."""
    decides = person is not None and any(word in person.title.lower() for word in ("head", "chief", "director"))
    size = 0 if company is None else min(company.employees // 10, 50)
    return (50 if decides else 0) + size
