"""Asks the enrichment service, and says which of its answers are worth another try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp
from rotor.errors import NonRetriableError, RetryAfterError

import settings

DEFAULT_WAIT_SECONDS = 5.0


@dataclass
class Person:
    """Who stands behind an address."""

    name: str
    title: str


@dataclass
class Company:
    """Whose domain the address has."""

    name: str
    employees: int


async def find_person(email: str) -> Person | None:
    """The person with that address, or None where the service knows none."""
    found = await _get("/people", {"email": email})
    return None if found is None else Person(name=found["name"], title=found["title"])


async def find_company(email: str) -> Company | None:
    """The company that the address belongs to, or None where the service knows none."""
    found = await _get("/companies", {"domain": email.rpartition("@")[2]})
    return None if found is None else Company(name=found["name"], employees=found["employees"])


async def _get(path: str, query: dict[str, str]) -> Any:
    """The JSON of an answer; None for 404.

    A service that asks for patience gets it. What is wrong with the request itself (another 4xx) is not tried again;
    all else raises what aiohttp does, and is.
    """
    headers = {"Authorization": f"Bearer {settings.API_KEY}"} if settings.API_KEY else {}
    async with (
        aiohttp.ClientSession(settings.API_URL, headers=headers) as session,
        session.get(path, params=query) as answer,
    ):
        if answer.status == 404:
            return None
        if answer.status == 429:
            raise RetryAfterError(f"{path} asks us to slow down", _wait_seconds(answer.headers.get("Retry-After")))
        if 400 <= answer.status < 500:
            raise NonRetriableError(f"{path} refused the request with {answer.status}")
        answer.raise_for_status()
        return await answer.json()


def _wait_seconds(retry_after: str | None) -> float:
    """The header in seconds; its other form, a date, is read as the default."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else DEFAULT_WAIT_SECONDS
