"""A key calls as often as it may; each has its own measure, and the memory of them is bounded."""

from __future__ import annotations

import aiohttp
import pytest

from rotor import limits
from rotor.api.app import create_app
from rotor.api.problems import TooManyRequests
from rotor.api.rate_limit import RateLimit
from rotor.api.settings import ApiSettings
from rotor.store.keys import Keys
from rotor.store.store import Store
from tests.api.conftest import Client, echo, serving


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def allowed(limit: RateLimit, key: str, calls: int) -> int:
    """How many of some calls are."""
    count = 0
    for _ in range(calls):
        try:
            limit.take(key)
        except TooManyRequests:
            continue
        count += 1
    return count


def test_a_second_s_calls_may_come_at_once_and_then_no_more_than_the_rate() -> None:
    clock = Clock()
    limit = RateLimit(10, clock=clock)
    assert allowed(limit, "a", 100) == 10
    clock.now += 0.55
    assert allowed(limit, "a", 100) == 5
    clock.now += 1_000
    assert allowed(limit, "a", 100) == 10


def test_one_key_takes_nothing_from_another() -> None:
    limit = RateLimit(3, clock=Clock())
    assert [allowed(limit, key, 9) for key in ("a", "b")] == [3, 3]


def test_it_says_when_the_next_call_may_come() -> None:
    clock = Clock()
    limit = RateLimit(0.1, clock=clock)
    limit.take("a")
    with pytest.raises(TooManyRequests, match="ROTOR_RATE_LIMIT") as refused:
        limit.take("a")
    assert refused.value.retry_after_seconds == pytest.approx(10)
    clock.now += 10.01
    limit.take("a")


def test_of_more_keys_than_it_remembers_the_one_used_longest_ago_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEYS_LIMITED", 2)
    limit = RateLimit(1, clock=Clock())
    assert [allowed(limit, key, 2) for key in ("a", "b", "b", "c", "b")] == [1, 1, 0, 1, 0]
    assert allowed(limit, "a", 2) == 1


async def test_a_call_too_many_is_answered_429_and_counts_for_its_key_alone(
    session: aiohttp.ClientSession, store: Store
) -> None:
    ours, theirs = [(await Keys(store.database).create()).key for _ in range(2)]
    settings = ApiSettings(requests_per_second=0.01)
    async with serving(create_app(store, settings=settings, connect=echo), store) as url:
        us, them, nobody = Client(session, url, ours), Client(session, url, theirs), Client(session, url, None)
        assert (await us("GET", "/v1/runs")).status == 200
        refused = await us("POST", "/v1/events", {"name": "a", "data": 1, "id": "e"})
        assert refused.status == 429
        assert refused.json["type"] == "urn:rotor:problem:too-many-requests"
        assert 50 < int(refused.headers["retry-after"]) <= 100
        assert (await them("GET", "/v1/events/e")).status == 404
        assert (await nobody("GET", "/v1/runs")).status == 401
        assert (await nobody("GET", "/healthz")).status == 200
