"""The contract's example, `full_primitives`, in all its branches; its long waits end by moving their deadlines."""

from __future__ import annotations

from typing import Any

from tests.conformance.service import Service


async def until(service: Service, run_id: str, step_id: str) -> None:
    """Bring the time of a parked step forward."""
    await service.reaches(run_id, step_id)
    await service.sql("UPDATE waits SET deadline = rotor_now() WHERE run_id = $1 AND step_id = $2", run_id, step_id)


async def begin(service: Service, contact_id: str) -> str:
    run_id = await service.start("campaign.requested", contactId=contact_id)
    await until(service, run_id, "initial-delay")
    return run_id


async def approve(service: Service, run_id: str, data: Any) -> None:
    await service.reaches(run_id, "approval-gate")
    await service.rotor.complete_signal(f"campaign-approval-{run_id}", data)


async def test_an_approved_campaign_whose_mail_is_opened_completes(service: Service, key: str) -> None:
    run_id = await begin(service, key)
    await approve(service, run_id, {"approved": True})
    await service.reaches(run_id, "wait-for-open")
    await service.rotor.send("email.opened", {"contactId": f"{key}-other"})
    await service.rotor.send("email.opened", {"contactId": key})
    run = await service.ended(run_id)
    assert run.output == {"status": "complete", "score": 7, "emailOpened": True}
    assert [(step.id, step.op, step.status) for step in run.steps] == [
        ("fetch-profile", "run", "completed"),
        ("initial-delay", "sleep", "completed"),
        ("enrich-contact", "invoke", "completed"),
        ("notify-analytics", "send_event", "completed"),
        ("approval-gate", "wait_for_signal", "completed"),
        ("wait-for-open", "wait_for_event", "completed"),
    ]


async def test_a_mail_that_nobody_opens_and_an_enrichment_that_fails_are_told(service: Service, key: str) -> None:
    run_id = await begin(service, f"{key}-unknown")
    await approve(service, run_id, {"approved": True})
    await until(service, run_id, "wait-for-open")
    assert (await service.ended(run_id)).output == {"status": "complete", "score": 0, "emailOpened": False}


async def test_a_rejected_campaign_ends(service: Service, key: str) -> None:
    run_id = await begin(service, key)
    await approve(service, run_id, {"approved": False})
    assert (await service.ended(run_id)).output == {"status": "rejected"}


async def test_a_campaign_that_nobody_approves_is_rejected(service: Service, key: str) -> None:
    run_id = await begin(service, key)
    await until(service, run_id, "approval-gate")
    assert (await service.ended(run_id)).output == {"status": "auto-rejected"}
