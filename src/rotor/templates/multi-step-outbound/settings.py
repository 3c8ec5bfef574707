"""What can be set from the environment, and what holds unless it is."""

from __future__ import annotations

import os

SMTP_HOST = os.environ.get("SMTP_HOST", "127.0.0.1")
SMTP_PORT = int(os.environ.get("SMTP_PORT", "1025"))
"""465 speaks TLS from the first byte."""

SMTP_USER = os.environ.get("SMTP_USER", "")
SMTP_PASSWORD = os.environ.get("SMTP_PASSWORD", "")
"""With a user the connection must become TLS (STARTTLS) before anything secret is said."""

MAIL_FROM = os.environ.get("MAIL_FROM", "sales@example.com")
"""The sender, and where replies and opt-outs go."""

WAIT_FOR_REPLY = os.environ.get("OUTBOUND_WAIT", "3d")
"""How long a mail waits for its reply before the next one is sent."""

RETRIES = int(os.environ.get("OUTBOUND_RETRIES", "8"))
"""How often sending is tried again while the mail server is not there or says "later"."""

INBOUND_HOST = os.environ.get("INBOUND_HOST", "127.0.0.1")
INBOUND_PORT = int(os.environ.get("INBOUND_PORT", "1026"))
"""Where `replies.py` listens for mail."""
