"""What can be set from the environment, and what holds unless it is."""

from __future__ import annotations

import os
from datetime import timedelta

CRON = os.environ.get("REPORT_CRON", "0 9 * * 1")
TIMEZONE = os.environ.get("REPORT_TIMEZONE", "UTC")
"""When the report is made: Mondays at nine."""

APPROVAL_TIME = timedelta(hours=float(os.environ.get("APPROVAL_HOURS", "48")))
"""How long the report waits for its approval, and the link is good."""

SLACK_WEBHOOK_URL = os.environ.get("SLACK_WEBHOOK_URL", "")
"""An incoming webhook of Slack. Without it messages are printed."""
