"""`/v1/audit`: who changed what by hand."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rotor import limits
from rotor.api.answers import Answer, json_answer
from rotor.api.calls import Call
from rotor.api.instants import read_instant
from rotor.api.operations import Operation, Result
from rotor.store import audit
from rotor.store.audit import Action, AuditEntry
from rotor.store.pages import Page
from rotor.store.problems import Invalid

__all__ = ["OPERATIONS"]


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries. `since` and `until` bound `at`: RFC 3339, or milliseconds since 1970."""

    action: Action | None = None
    since: str | None = None
    until: str | None = None
    cursor: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=limits.PAGE_ITEMS)] = 50


async def page(call: Call) -> Answer:
    query: AuditQuery = call.query
    bounds = {}
    for name in ("since", "until"):
        text = getattr(query, name)
        try:
            bounds[name] = None if text is None else read_instant(text)
        except ValueError as error:
            raise Invalid([(name, str(error))]) from None
    found = await audit.page(
        call.store.database,
        call.workspace_id,
        action=query.action,
        **bounds,
        cursor=query.cursor,
        items_max=query.limit,
    )
    return json_answer(found)


OPERATIONS = (
    Operation(
        "GET",
        "/v1/audit",
        "list_audit_entries",
        page,
        "The audit log of the workspace, newest first",
        {200: Result("One page.", Page[AuditEntry])},
        "audit",
        access="admin",
        query=AuditQuery,
    ),
)
