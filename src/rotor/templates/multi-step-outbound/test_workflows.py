"""Runs the sequence on a real server with real SMTP: out to a mailbox of the tests, and back through replies.py."""

from __future__ import annotations

import os
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from rotor import SyncRotor

from conftest import free_port
from mailing import Lead, UndeliverableError, write
from sequence import SEQUENCE

PATIENCE_SECONDS = 40


class Mailbox:
    """A mail server that keeps what it gets; it knows nobody called gone@, and is too busy for busy@ at first."""

    def __init__(self) -> None:
        self._mails: list[EmailMessage] = []
        self._busy = 1
        self._came = threading.Condition()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.startswith("gone@"):
            return "550 no such mailbox"
        if address.startswith("busy@") and self._busy:
            self._busy -= 1
            return "451 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = message_from_bytes(envelope.content, _class=EmailMessage, policy=policy.default)
        with self._came:
            self._mails.append(message)
            self._came.notify_all()
        return "250 OK"

    def mails_to(self, address: str) -> list[EmailMessage]:
        return [mail for mail in self._mails if address in str(mail["To"])]

    def wait_for_mail(self, address: str) -> EmailMessage:
        """The first mail to the address, once it is there."""
        with self._came:
            assert self._came.wait_for(lambda: self.mails_to(address), PATIENCE_SECONDS)
        return self.mails_to(address)[0]


@pytest.fixture(scope="module")
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture(scope="module")
def environment(mailbox: Mailbox) -> Iterator[dict[str, str]]:
    """Settings under which a test takes seconds."""
    port = free_port()
    server = Controller(mailbox, hostname="127.0.0.1", port=port)
    server.start()
    yield {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(port),
        "SMTP_USER": "",
        "MAIL_FROM": "Sales <sales@example.com>",
        "OUTBOUND_WAIT": "2500ms",
    }
    server.stop()


Answer = Callable[..., None]


@pytest.fixture(scope="module")
def answer(rotor: SyncRotor) -> Iterator[Answer]:
    """Answers a mail as a person's mail program does, to replies.py."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "replies.py"],
        cwd=Path(__file__).parent,
        env={**os.environ, "ROTOR_URL": rotor.base_url, "INBOUND_HOST": "127.0.0.1", "INBOUND_PORT": str(port)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline()

    def send(mail: EmailMessage, body: str, subject: str = "", **headers: str) -> None:
        reply = EmailMessage()
        reply["From"], reply["To"] = str(mail["To"]), str(mail["From"])
        reply["Subject"] = subject or f"Re: {mail['Subject']}"
        reply["Message-ID"] = f"<{time.time_ns()}@lead.example>"
        if not subject:
            reply["In-Reply-To"] = str(mail["Message-ID"])
        for name, value in headers.items():
            reply[name.replace("_", "-")] = value
        reply.set_content(body)
        with smtplib.SMTP("127.0.0.1", port) as smtp:
            smtp.send_message(reply)

    yield send
    process.terminate()
    process.wait(10)
    process.stdout.close()


def start(rotor: SyncRotor, email: str) -> str:
    event = rotor.send("lead.added", {"email": email, "name": "Ada", "company": "Engines Ltd"})
    return rotor.events.get(event).runs[0].id


def finish(rotor: SyncRotor, run_id: str) -> Any:
    run = rotor.runs.wait(run_id, timeout=PATIENCE_SECONDS)
    assert run.status == "completed", run.error
    return run.output


def test_without_a_reply_every_mail_is_sent_once_in_one_thread(rotor: SyncRotor, mailbox: Mailbox) -> None:
    run_id = start(rotor, "silent@lead.example")
    assert finish(rotor, run_id) == {"status": "no reply", "mails": 3, "detail": ""}
    mails = mailbox.mails_to("silent@lead.example")
    assert [mail["Subject"] for mail in mails] == [
        "An idea for Engines Ltd",
        "Re: An idea for Engines Ltd",
        "Re: An idea for Engines Ltd",
    ]
    assert [mail["In-Reply-To"] for mail in mails] == [None, mails[0]["Message-ID"], mails[0]["Message-ID"]]
    assert "Hello Ada," in mails[0].get_content()


def test_a_reply_ends_the_sequence_and_hands_the_lead_over(rotor: SyncRotor, mailbox: Mailbox, answer: Answer) -> None:
    run_id = start(rotor, "keen@lead.example")
    answer(mailbox.wait_for_mail("keen@lead.example"), "Tell me more!")
    output = finish(rotor, run_id)
    mails = len(mailbox.mails_to("keen@lead.example"))
    assert output == {"status": "replied", "mails": mails, "detail": "Tell me more!"}
    assert mails < len(SEQUENCE)
    handed_over = next(step for step in rotor.runs.get(run_id).steps if step.id == "hand-over")
    sent = rotor.events.get(handed_over.output)
    assert (sent.name, sent.data["reply"]["sender"]) == ("lead.replied", "keen@lead.example")


def test_a_reply_of_one_lead_does_not_stop_another(rotor: SyncRotor, mailbox: Mailbox, answer: Answer) -> None:
    quiet, keen = start(rotor, "quiet@lead.example"), start(rotor, "eager@lead.example")
    mail = mailbox.wait_for_mail("eager@lead.example")
    answer(mail, "Yes.")
    assert finish(rotor, keen)["status"] == "replied"
    assert finish(rotor, quiet)["status"] == "no reply"


def test_who_opts_out_gets_no_further_mail(rotor: SyncRotor, mailbox: Mailbox, answer: Answer) -> None:
    run_id = start(rotor, "annoyed@lead.example")
    mail = mailbox.wait_for_mail("annoyed@lead.example")
    opt_out = str(mail["List-Unsubscribe"])
    assert opt_out == f"<mailto:sales@example.com?subject=unsubscribe%20{run_id}>"
    answer(mail, "", subject=f"unsubscribe {run_id}")
    assert finish(rotor, run_id)["status"] == "unsubscribed"


def test_an_automatic_answer_is_no_reply(rotor: SyncRotor, mailbox: Mailbox, answer: Answer) -> None:
    run_id = start(rotor, "away@lead.example")
    answer(mailbox.wait_for_mail("away@lead.example"), "I am on holiday.", Auto_Submitted="auto-replied")
    assert finish(rotor, run_id)["status"] == "no reply"


def test_a_mailbox_that_does_not_exist_ends_the_sequence_at_once(rotor: SyncRotor) -> None:
    output = finish(rotor, start(rotor, "gone@lead.example"))
    assert output == {
        "status": "undeliverable",
        "mails": 0,
        "detail": "gone@lead.example was refused: 550 no such mailbox",
    }


def test_a_busy_mail_server_is_tried_again(rotor: SyncRotor, mailbox: Mailbox) -> None:
    run_id = start(rotor, "busy@lead.example")
    mailbox.wait_for_mail("busy@lead.example")
    rotor.runs.cancel(run_id)
    run = rotor.runs.wait(run_id, timeout=PATIENCE_SECONDS)  # it ends once its step in flight is recorded
    assert run.steps[0].attempts == 2


@pytest.mark.parametrize("email", ["nobody", "a@x.example, b@x.example", "a@x.example\nBcc: b@x.example"])
def test_what_is_no_address_is_not_written_to(email: str) -> None:
    with pytest.raises(UndeliverableError, match="no mail can be written"):
        write(Lead(email, "Ada", "Engines Ltd"), SEQUENCE[0], "run")
