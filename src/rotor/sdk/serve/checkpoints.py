"""Posts checkpoints to the server, and reads its answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import msgspec
import tenacity

from rotor.errors import ApiError, ConnectionLostError
from rotor.protocol import signing
from rotor.protocol.invocations import checkpoint_answers
from rotor.protocol.messages import HolderMessage
from rotor.sdk.http import Sessions, problem

__all__ = ["Answers", "Checkpoints"]

ATTEMPTS: Final = 3
AWAY_SECONDS: Final = 20.0
"""How long a server that has answered before is waited for: it may be starting again, and its leases last longer."""
TIMEOUT_SECONDS: Final = 30.0
REACHED_NOBODY: Final = (429, 500, 502, 503, 504)

Answers = list[list[HolderMessage]]
"""One frame a checkpoint, in their order."""


class Checkpoints:
    """The way of one process to the servers that invoke it. Safe to send twice: the server knows a step by its key."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._sessions = Sessions(connections_max=0)
        self._reached: set[str] = set()
        """The hosts that have answered."""

    async def post(
        self, url: str, token: str, checkpoints: Sequence[bytes], *, on_away: Callable[[], None] = lambda: None
    ) -> Answers:
        """What the server answers to `checkpoints`, each of them JSON; `token` is that of one of them. `on_away` is
        called when it does not answer at once.

        Raises `ConnectionLostError` where it cannot be reached after a few quick tries, or for a while if it has been
        reached before; `ApiError` where it refuses.
        """
        host = urlsplit(url).netloc
        stop = tenacity.stop_after_attempt(ATTEMPTS)
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(ConnectionLostError),
            stop=stop & tenacity.stop_after_delay(AWAY_SECONDS) if host in self._reached else stop,
            wait=tenacity.wait_exponential(multiplier=0.1, max=1) + tenacity.wait_random(0, 0.1),
            before_sleep=lambda _: on_away(),
            reraise=True,
        )
        answers: Answers = await attempts(self._post, url, token, b"[" + b",".join(checkpoints) + b"]")
        if len(answers) != len(checkpoints):
            raise ApiError(200, f"the answer is to {len(answers)} checkpoints", f"{len(checkpoints)} were posted")
        self._reached.add(host)
        return answers

    async def _post(self, url: str, token: str, body: bytes) -> Answers:
        session = await self._sessions.get()
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, sock_connect=5)
        headers = self._headers(token, body)
        try:
            async with session.post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLostError(f"{url} does not answer: {type(error).__name__}") from None
        if response.status in REACHED_NOBODY:
            raise ConnectionLostError(f"{url} answered {response.status}")
        if response.status != 200:
            raise problem(response.status, response.reason or "", answer)
        try:
            return checkpoint_answers.decode(answer)
        except msgspec.MsgspecError as error:
            raise ApiError(response.status, "the answer is no list of frames", str(error)) from None

    def _headers(self, token: str, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        if self._keys:
            message_id, timestamp = f"msg_{uuid4().hex}", int(time.time())
            headers |= signing.sign(body, message_id=message_id, timestamp=timestamp, keys=self._keys)
        return headers
