"""Posts to serve apps. An app is a stranger: no redirect is followed, no cookie kept, nothing unpacked.

A module of its own, since aiohttp takes a while to import and most servers never post.
"""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from rotor import limits
from rotor.services.answers import Answer, BrokenOffError, UnansweredError, UnreachedError
from rotor.services.connector import GuardedConnector, RefusedAddressError
from rotor.services.slots import SLOTS
from rotor.store.destinations import Destinations

__all__ = ["HttpPosting"]

CONNECT_WITHIN = 10.0
MAY_HAVE_BEGUN = (500, 502, 504)
"""What a proxy answers for an app that died over a request or took too long, and as well for one that is not there."""


class HttpPosting:
    """Posts over connections that are kept."""

    def __init__(self, destinations: Destinations) -> None:
        self._session = aiohttp.ClientSession(
            connector=GuardedConnector(destinations, limit=SLOTS, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=limits.INVOCATION.total_seconds(), connect=CONNECT_WITHIN),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        await self._session.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], answer: Answer) -> bytes:
        try:
            response = await self._begin(url, body, headers)
            async with response:
                if response.status in MAY_HAVE_BEGUN:
                    raise UnansweredError(f"it answered {response.status}")
                if response.status != 200:
                    raise UnreachedError(f"it answered {response.status}")
                return await answer.read(response.content.iter_any())
        except (aiohttp.ClientError, OSError) as error:
            raise BrokenOffError(type(error).__name__) from None

    async def _begin(self, url: str, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        try:
            return await self._session.post(url, data=body, headers=headers, allow_redirects=False)
        except RefusedAddressError as error:
            raise UnreachedError(str(error)) from None
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL, aiohttp.ConnectionTimeoutError) as error:
            raise UnreachedError(type(error).__name__) from None
        except aiohttp.ClientConnectionError as error:
            raise UnansweredError(type(error).__name__) from None
