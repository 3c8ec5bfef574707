"""What can be set from the environment, and what holds unless it is."""

from __future__ import annotations

import os

API_URL = os.environ.get("ENRICHMENT_URL", "http://127.0.0.1:8900").rstrip("/")
"""The service that knows people and companies; `sample_api.py` stands in for it on this machine."""

API_KEY = os.environ.get("ENRICHMENT_API_KEY", "")
"""Sent as a bearer token where it is set."""

REQUEST_TIMEOUT = os.environ.get("ENRICHMENT_TIMEOUT", "10s")
"""How long one request may take before it is tried again."""

CONTACT_TIMEOUT = os.environ.get("ENRICHMENT_CONTACT_TIMEOUT", "15m")
"""How long one contact may take, with all its retries; then the campaign goes on without it."""

RETRIES = int(os.environ.get("ENRICHMENT_RETRIES", "5"))
"""How often a failed request is tried again."""

AT_ONCE = int(os.environ.get("ENRICHMENT_AT_ONCE", "20"))
"""How many contacts of one campaign are looked up at the same time."""
