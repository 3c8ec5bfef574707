"""What becomes of a report, with neither server nor Slack: the time for a decision is over at once."""

from __future__ import annotations

from typing import Any

import pytest
from rotor.testing import RUN_ID, Happening, execute_sync, signal

import settings
from workflows import signal_of, weekly_report

RESULTS: dict[str, Any] = {
    "collect": {"title": "The week", "lines": ["all is well"]},
    **dict.fromkeys(("ask", "publish", "tell")),
}


@pytest.mark.parametrize(
    ("happens", "status", "last_step"),
    [
        ([signal(signal_of(RUN_ID), {"approved": True, "by": "Ada"}, after="1h")], "published", "publish"),
        ([signal(signal_of(RUN_ID), {"approved": False, "by": "Ada"}, after="1h")], "rejected", "tell"),
        ([signal(signal_of(RUN_ID), {"approved": True}, after=settings.APPROVAL_TIME * 2)], "expired", "tell"),
        ([], "expired", "tell"),
    ],
    ids=["approved", "rejected", "approved too late", "nobody decides"],
)
def test_nothing_is_published_without_a_yes_in_time(happens: list[Happening], status: str, last_step: str) -> None:
    run = execute_sync(weekly_report, {}, results=RESULTS, happens=happens)
    assert run.output["status"] == status
    assert [step.id for step in run.steps] == ["collect", "ask", "approval", last_step]
