"""What the sequence decides, with neither server nor mail: the days between two mails are over at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rotor.testing import RUN_ID, Happening, event, execute_sync

import settings
from sequence import SEQUENCE
from workflows import outbound_sequence

LEAD = {"email": "ada@lead.example", "name": "Ada", "company": "Engines Ltd"}
SENT = {f"send-{mail.id}": "<mail@sales.example>" for mail in SEQUENCE}


@pytest.fixture(autouse=True)
def two_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "WAIT_FOR_REPLY", "2d")


def reply_after_the_second_mail(*, unsubscribe: bool) -> Happening:
    data = {"run_id": RUN_ID, "sender": LEAD["email"], "text": "Hello.", "unsubscribe": unsubscribe}
    return event("email.replied", data, after="3d")


def test_silence_takes_every_mail_and_the_whole_time() -> None:
    run = execute_sync(outbound_sequence, LEAD, results=SENT)
    assert run.output == {"status": "no reply", "mails": len(SEQUENCE), "detail": ""}
    assert run.elapsed == timedelta(days=2) * len(SEQUENCE)


def test_a_reply_after_the_second_mail_hands_the_lead_over() -> None:
    run = execute_sync(outbound_sequence, LEAD, results=SENT, happens=[reply_after_the_second_mail(unsubscribe=False)])
    assert run.output == {"status": "replied", "mails": 2, "detail": "Hello."}
    assert [sent.name for sent in run.sent] == ["lead.replied"]


def test_who_opts_out_after_the_second_mail_gets_no_third() -> None:
    run = execute_sync(outbound_sequence, LEAD, results=SENT, happens=[reply_after_the_second_mail(unsubscribe=True)])
    assert run.output == {"status": "unsubscribed", "mails": 2, "detail": ""}
    assert [sent.name for sent in run.sent] == ["lead.unsubscribed"]
