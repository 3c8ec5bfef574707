"""Writes and sends one mail over SMTP, and says which failures are worth another try.

Every mail carries the id of its run in its Message-ID, by which a reply finds its way back (`replies.py`).
"""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr

from rotor.errors import NonRetriableError

import settings
from sequence import SEQUENCE, Mail

TIMEOUT_SECONDS = 30
TLS_PORT = 465


@dataclass
class Lead:
    """To whom the sequence is sent; the data of `lead.added`."""

    email: str
    name: str
    company: str


class UndeliverableError(NonRetriableError):
    """The mail server will not take this mail, now or later."""


def send_mail(lead: Lead, mail: Mail, run_id: str) -> str:
    """Send it, and return its Message-ID, which is the same should it be sent twice.

    Raises `UndeliverableError` for a permanent refusal; what smtplib raises for all else is tried again.
    """
    message = write(lead, mail, run_id)
    try:
        with connect() as smtp:
            smtp.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        code, reason = next(iter(error.recipients.values()))
        if code >= 500:
            raise UndeliverableError(f"{lead.email} was refused: {code} {reason.decode(errors='replace')}") from error
        raise
    except smtplib.SMTPDataError as error:
        if error.smtp_code >= 500:
            raise UndeliverableError(f"the mail to {lead.email} was refused: {error}") from error
        raise
    return str(message["Message-ID"])


def write(lead: Lead, mail: Mail, run_id: str) -> EmailMessage:
    """The mail to the lead, in one thread with those before it. Raises `UndeliverableError` for no mail address."""
    message = EmailMessage()
    try:
        message["To"] = Address(display_name=lead.name, addr_spec=lead.email)
        message["Subject"] = mail.subject.format(name=lead.name, company=lead.company)
    except (ValueError, HeaderParseError) as error:
        raise UndeliverableError(f"no mail can be written to {lead.email!r}: {error}") from error
    message["From"] = settings.MAIL_FROM
    message["Message-ID"] = message_id(run_id, mail)
    message["List-Unsubscribe"] = f"<mailto:{parseaddr(settings.MAIL_FROM)[1]}?subject=unsubscribe%20{run_id}>"
    if mail is not SEQUENCE[0]:
        message["In-Reply-To"] = message["References"] = message_id(run_id, SEQUENCE[0])
    message.set_content(mail.body.format(name=lead.name, company=lead.company))
    return message


def message_id(run_id: str, mail: Mail) -> str:
    return f"<{run_id}.{mail.id}@{parseaddr(settings.MAIL_FROM)[1].rpartition('@')[2]}>"


def connect() -> smtplib.SMTP:
    """A connection to the mail server, logged in where a user is set."""
    tls = ssl.create_default_context()
    if settings.SMTP_PORT == TLS_PORT:
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(
            settings.SMTP_HOST, settings.SMTP_PORT, timeout=TIMEOUT_SECONDS, context=tls
        )
    else:
        smtp = smtplib.SMTP(settings.SMTP_HOST, settings.SMTP_PORT, timeout=TIMEOUT_SECONDS)
    try:
        if settings.SMTP_USER:
            if settings.SMTP_PORT != TLS_PORT:
                smtp.starttls(context=tls)
            smtp.login(settings.SMTP_USER, settings.SMTP_PASSWORD)
    except BaseException:
        smtp.close()
        raise
    return smtp
