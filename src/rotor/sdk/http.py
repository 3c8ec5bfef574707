"""The client's way to the HTTP API: one session per event loop, retries, and problems as errors.

A call is tried again when the server was not reached, or answered 503 or 429. Where the connection broke after the
request may have arrived, only a call that does no harm twice is tried again. Importing aiohttp takes a while, so this
file is imported where a client is made, not with `rotor`.

A session belongs to one loop, and a client may see several (`asyncio.run` twice, a forked process). An async generator
holds the session: a loop ends its generators when it shuts down, and this one closes the session then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import msgspec
import tenacity

from rotor import tracing
from rotor.errors import ApiError, ConnectionLostError
from rotor.sdk.environment import api_key_or_default, url_or_default

__all__ = ["Http", "Sessions", "problem", "redirected"]

TIMEOUT_SECONDS = 30.0
ATTEMPTS = 5
WAIT_SECONDS_MAX = 30.0
SILENCE_SECONDS_MAX = 90.0
"""A stream without a byte for so long is taken for dead."""


class Problem(msgspec.Struct):
    """An RFC 9457 problem, as far as an error tells it."""

    title: str = ""
    detail: str = ""
    errors: list[dict[str, str]] = []


class UnavailableError(Exception):
    """An attempt that may be made again; `error` is what the caller sees once there is no other."""

    def __init__(self, error: ApiError | ConnectionLostError, retry_after_seconds: float = 0) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after_seconds = retry_after_seconds


def problem(status: int, reason: str, body: bytes) -> ApiError:
    """The error that a refusal with `body` stands for."""
    try:
        told = msgspec.json.decode(body, type=Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        told = Problem(title=reason)  # a proxy's page, not the API's answer
    errors = [(one.get("field", ""), one.get("message", "")) for one in told.errors]
    return ApiError(status, told.title or reason, told.detail, errors)


def redirected(base_url: str, status: int, reason: str | None) -> ApiError:
    """A redirect is a refusal: followed, it would hand payloads to whoever it names, and a POST would become a GET."""
    hint = f"{base_url} redirects elsewhere: set ROTOR_URL to the address at which the server itself answers"
    return ApiError(status, reason or "", hint)


class Sessions:
    """The aiohttp session of the running event loop, opened at first use."""

    def __init__(self, *, connections_max: int = 100) -> None:
        self._connections_max = connections_max
        self._holder: AsyncGenerator[aiohttp.ClientSession] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def get(self) -> aiohttp.ClientSession:
        """The open session of the running loop."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            self._holder, self._loop = self._hold(), loop
            self._session = await anext(self._holder)
        return self._session

    async def aclose(self) -> None:
        """Close the session; the next `get` opens another."""
        if self._holder is not None and self._loop is asyncio.get_running_loop():
            await self._holder.aclose()
        self._holder = self._session = self._loop = None

    async def _hold(self) -> AsyncGenerator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(limit=self._connections_max)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield session


class Http:
    """Requests to the API at `base_url` with `api_key`."""

    def __init__(self, api_key: str | None = None, base_url: str | None = None) -> None:
        self.base_url = url_or_default(base_url)
        self._api_key = api_key_or_default(api_key)
        self._sessions = Sessions()
        self._lasting = Sessions(connections_max=0)
        """For what the server takes its time to answer: however much that is, nothing else waits for a connection."""

    async def aclose(self) -> None:
        """Close the connections of this client."""
        await self._sessions.aclose()
        await self._lasting.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        repeatable: bool = True,
        lasting: bool = False,
    ) -> bytes:
        """The body of the answer. `repeatable` says that the call does no harm when it is made twice, `lasting` that
        the server takes its time to answer it.

        Raises `ApiError` where the server refuses, `ConnectionLostError` where it cannot be reached.
        """
        attempt = partial(self._attempt, method, path, query, body, repeatable=repeatable, lasting=lasting)
        try:
            return await attempt()
        except UnavailableError as unavailable:
            return await self._again(attempt, unavailable)

    async def _again(self, attempt: Callable[[], Awaitable[bytes]], first: UnavailableError) -> bytes:
        """The answer of another attempt, after the `first` one. Apart, since tenacity costs as much as a small call."""
        try:
            async for retry in tenacity.AsyncRetrying(
                retry=tenacity.retry_if_exception_type(UnavailableError),
                stop=tenacity.stop_after_attempt(ATTEMPTS),
                wait=_wait,
                reraise=True,
            ):
                with retry:
                    if retry.retry_state.attempt_number == 1:
                        raise first
                    return await attempt()
        except UnavailableError as unavailable:
            raise unavailable.error from None
        raise AssertionError("retrying ends with a result or an error")

    @asynccontextmanager
    async def stream(self, path: str, headers: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer's body as it comes. Raises as `request` does, without trying again."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE_SECONDS_MAX)
        session = await self._lasting.get()
        try:
            async with session.get(
                self._url(path), headers={**self._headers(), **headers}, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status >= 300:
                    raise self._refusal(response, await response.read())
                yield response.content.iter_any()
        except (aiohttp.ClientError, OSError) as error:  # OSError: TimeoutError is one
            raise self._lost(error) from None

    async def _attempt(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        *,
        repeatable: bool,
        lasting: bool,
    ) -> bytes:
        session = await (self._lasting if lasting else self._sessions).get()
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, sock_connect=5)
        try:
            async with session.request(
                method,
                self._url(path),
                params=query,
                data=body,
                headers=self._headers(),
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                answer = await response.read()
        except aiohttp.ClientConnectorError as error:  # nothing was sent
            raise UnavailableError(self._lost(error)) from None
        except (aiohttp.ClientError, OSError) as error:
            lost = self._lost(error)
            raise (UnavailableError(lost) if repeatable else lost) from None
        if response.status < 300:
            return answer
        refusal = self._refusal(response, answer)
        if response.status in (429, 503):
            raise UnavailableError(refusal, _seconds(response.headers.get("Retry-After", "")))
        raise refusal

    def _refusal(self, response: aiohttp.ClientResponse, answer: bytes) -> ApiError:
        """What `response` says."""
        if response.status < 400:
            return redirected(self.base_url, response.status, response.reason)
        return problem(response.status, response.reason or "", answer)

    def _url(self, path: str) -> str:
        return self.base_url + path

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        if traceparent := tracing.current():
            headers["traceparent"] = traceparent
        return headers

    def _lost(self, error: Exception) -> ConnectionLostError:
        reason = str(error) or type(error).__name__
        return ConnectionLostError(
            f"no answer from {self.base_url}: {reason}; is the server running, and ROTOR_URL right?"
        )


_backoff = tenacity.wait_exponential(multiplier=0.1, max=5) + tenacity.wait_random(0, 0.2)


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds to the next attempt: the backoff, or what the server asked for where that is longer."""
    error: Any = state.outcome.exception() if state.outcome else None
    asked: float = error.retry_after_seconds if isinstance(error, UnavailableError) else 0
    return max(min(asked, WAIT_SECONDS_MAX), _backoff(state))


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdecimal() else 0
