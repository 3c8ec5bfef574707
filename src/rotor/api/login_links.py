"""`/v1/login-links`: make a link by which somebody logs in to the dashboard, once."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from rotor.api.answers import Answer, json_answer
from rotor.api.calls import Call
from rotor.api.operations import Operation, Result
from rotor.errors import DurationError
from rotor.protocol.durations import parse_duration
from rotor.store.problems import Invalid
from rotor.store.scopes import SCOPES, Scope

__all__ = ["OPERATIONS"]


class LoginLinkInput(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the link is for, and what its session allows."""

    name: str = ""
    """Who is to log in, to recognise the session by among the keys."""
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=len(SCOPES))] = msgspec.field(
        default_factory=lambda: ["admin"]
    )
    """What the session allows."""
    expires_in: str | int | float = "15m"
    """How long the link is good: a duration as in "15m", or seconds."""


class Link(msgspec.Struct, frozen=True):
    """The link, for one login."""

    url: str
    expires_at: datetime


async def make(call: Call) -> Answer:
    given: LoginLinkInput = call.body
    try:
        expires_in = parse_duration(given.expires_in)
    except DurationError as error:
        raise Invalid([("expires_in", str(error))]) from None
    keys = call.api.keys
    link = await keys.login_link(call.workspace_id, name=given.name, scopes=given.scopes, expires_in=expires_in)
    url = f"{call.api.settings.public_url.rstrip('/')}/dashboard/link/{link.token}"
    return json_answer(Link(url, link.expires_at), 201)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/login-links",
        "make_login_link",
        make,
        "Make a link by which somebody logs in to the dashboard, once",
        {201: Result("The link.", Link)},
        "login-links",
        "admin",
        body=LoginLinkInput,
    ),
)
