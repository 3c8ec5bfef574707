"""The mails, in the order in which they are sent; `{name}` and `{company}` are filled in from the lead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mail:
    """One mail of the sequence. Keep its `id` when you edit it: runs in flight know it by that."""

    id: str
    subject: str
    body: str


SEQUENCE = [
    Mail(
        id="introduction",
        subject="An idea for {company}",
        body="""Hello {name},

I have an idea that could save {company} a day a week. May I tell you about it?
""",
    ),
    Mail(
        id="follow-up",
        subject="Re: An idea for {company}",
        body="""Hello {name},

did you have a moment to look at this? Ten minutes on the phone are enough.
""",
    ),
    Mail(
        id="last-word",
        subject="Re: An idea for {company}",
        body="""Hello {name},

I will not write again. Should it become interesting later, answer this mail at any time.
""",
    ),
]
