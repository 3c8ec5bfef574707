"""What a campaign makes of its contacts, with neither server nor HTTP."""

from __future__ import annotations

from typing import Any

from rotor.testing import execute_sync

from lookups import Company, Person
from workflows import enrich_campaign, enrich_contact

CAMPAIGN = {
    "campaign_id": "c-1",
    "contacts": [{"id": name, "email": f"{name}@example.com"} for name in ("ada", "grace")],
}


def find_person(email: str) -> Person | None:
    return Person("Ada", "Chief Engineer") if email.startswith("ada") else None


def test_what_is_not_known_of_a_contact_counts_nothing() -> None:
    results: dict[str, Any] = {"find-person": find_person, "find-company": Company("example.com", 120)}
    run = execute_sync(enrich_campaign, CAMPAIGN, results=results, children={"enrich-contact": enrich_contact})
    assert [(one["contact_id"], one["score"]) for one in run.output["enriched"]] == [("ada", 62), ("grace", 12)]
    assert [sent.name for sent in run.sent] == ["campaign.enriched"]


def test_a_contact_that_fails_costs_the_campaign_that_contact_only() -> None:
    def enrich(contact: dict[str, str]) -> dict[str, Any]:
        if contact["id"] == "ada":
            raise ConnectionError("refused")
        return {"contact_id": contact["id"], "score": 7, "person": None, "company": None}

    run = execute_sync(enrich_campaign, CAMPAIGN, children={"enrich-contact": enrich})
    assert run.output["failed"] == ["ada"]
    assert [one["contact_id"] for one in run.output["enriched"]] == ["grace"]
