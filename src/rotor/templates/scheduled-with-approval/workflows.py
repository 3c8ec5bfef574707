"""Makes a report each week, asks a person whether it may go out, and publishes it if so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rotor import Context, Rotor, create_function
from rotor.errors import SignalTimeoutError

import settings
from report import Report, collect
from slack import escape, link, post

APPROVAL = "approval"
"""The step that waits for the decision."""


@dataclass
class Due:
    """The data of the event: the time that was due by the schedule; none where somebody asked for the report."""

    scheduled_at: datetime | None = None


@dataclass
class Decision:
    """With what the signal is completed. `by` is who decided."""

    approved: bool
    by: str = ""


@dataclass
class Outcome:
    """What became of the report."""

    status: Literal["published", "rejected", "expired"]
    by: str
    report: Report


@create_function(
    id="weekly-report",
    trigger=[{"cron": settings.CRON, "timezone": settings.TIMEZONE}, {"event": "report.requested"}],
)
async def weekly_report(ctx: Context[Due]) -> Outcome:
    """Nothing is published without a yes: a report that nobody decides on in time expires."""
    report = await ctx.step.run("collect", collect, ctx.event.data.scheduled_at or ctx.event.ts)
    await ctx.step.run("ask", ask, report, ctx.run_id)
    try:
        decision = await ctx.step.wait_for_signal(
            APPROVAL, signal=signal_of(ctx.run_id), timeout=settings.APPROVAL_TIME, data_type=Decision
        )
    except SignalTimeoutError:
        await ctx.step.run("tell", tell, report, "expired: nobody decided in time")
        return Outcome("expired", by="", report=report)
    if not decision.approved:
        await ctx.step.run("tell", tell, report, f"rejected by {decision.by or 'somebody'}")
        return Outcome("rejected", by=decision.by, report=report)
    await ctx.step.run("publish", publish, report, decision.by)
    return Outcome("published", by=decision.by, report=report)


def signal_of(run_id: str) -> str:
    """The signal that a run's decision completes."""
    return f"report-{run_id}"


async def ask(report: Report, run_id: str) -> None:
    """Show the report and how to decide: by a link, or in a terminal."""
    async with Rotor() as rotor:
        decide = await rotor.signal_link(signal_of(run_id), expires_in=settings.APPROVAL_TIME)
    said = ["*May this report go out?*", *shown(report), link(decide.url, "Approve or reject")]
    said.append(f"""`rotor signal complete {signal_of(run_id)} '{{"approved": true, "by": "me"}}'`""")
    await post("\n".join(said))


async def publish(report: Report, by: str) -> None:
    """Put here where your report goes: a mail, a page, a channel."""
    await post("\n".join([*shown(report), escape(f"Approved by {by or 'somebody'}.")]))


async def tell(report: Report, what: str) -> None:
    await post(escape(f"{report.title}: {what}."))


def shown(report: Report) -> list[str]:
    return [escape(report.title), *(f"• {escape(line)}" for line in report.lines)]
