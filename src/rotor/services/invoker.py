"""Invokes runs that are served over HTTP: a signed POST to the function's serve_url, answered when the run ends or
parks.

While a post is in flight the app holds the run under a lease of its own and commits each step by call-back. An app that
cannot be reached, or answers that it is unavailable, has not begun: no loss is counted, and its runs are tried again
after a quarter of the time that it has been away by then, from a second to a minute. So they go on soon after it is
back, however many have failed meanwhile. One that breaks off in the middle has lost the run.

A connection that ends before the answer, or an answer like 502, may be a proxy's, and tells neither. The next
invocation of such a run asks the app to say when it begins; where it did, and the like comes again, the run was lost.

An app is a stranger: it is called only where `Destinations` allows (`services/connector.py`), and its answer has a
limit of size and of time; all answers together have one, too (`services/answers.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib import import_module
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from rotor import limits, tracing
from rotor.engine.arrivals import HolderLost
from rotor.errors import PayloadError
from rotor.protocol import json
from rotor.protocol.invocations import Invocation, InvocationResult
from rotor.protocol.messages import HolderMessage, HolderSays, Refused, RunFailed, RunMessage, StartRun
from rotor.protocol.signing import sign
from rotor.services.answers import (
    Answer,
    Answers,
    BrokenOffError,
    NoRoomError,
    Posting,
    UnansweredError,
    UnreachedError,
)
from rotor.services.slots import Openings, Slots
from rotor.store import leases
from rotor.store.claims import ClaimedInvocation
from rotor.store.committer import Exchange
from rotor.store.message_checks import refusal
from rotor.store.signing_keys import SigningKeys
from rotor.store.store import Store
from rotor.store.tokens import Tokens

__all__ = ["Invoker"]

log = logging.getLogger("rotor.services")

TRY_AGAIN_AFTER = timedelta(seconds=1)
TRY_AGAIN_WITHIN = timedelta(seconds=60)


class Invoker:
    """The invocations in flight from this server. `public_url` is where apps reach it for their call-backs."""

    def __init__(self, store: Store, signing_keys: SigningKeys, *, public_url: str) -> None:
        self._store = store
        self._signing_keys = signing_keys
        self._tokens = Tokens(signing_keys)
        self._public_url = public_url.rstrip("/")
        self._posting: Posting | None = None
        self._in_flight: dict[UUID, asyncio.Task[None]] = {}
        self._by_app: Counter[str] = Counter()
        """By serve_url: how many invocations are in flight."""
        self._slots = Slots()
        self._unreached: dict[str, datetime] = {}
        """By serve_url: when the first of the invocations came that have found nobody since."""
        self._unanswered: set[UUID] = set()
        """Runs that may have begun where nobody answered: asked to say so the next time."""
        self._calls: dict[tuple[int, str], bool] = {}
        """By workspace and serve_url: whether the last call was answered; what was called since they were taken."""
        self._answers = Answers()
        self._ended_leases: list[UUID] = []
        """The leases of invocations that are over."""

    def openings(self) -> Openings:
        """What may be invoked now."""
        return self._slots.openings()

    def alive(self) -> list[UUID]:
        """The leases of the invocations in flight."""
        return list(self._in_flight)

    def take_calls(self) -> dict[tuple[int, str], bool]:
        """By workspace and serve_url, of the calls since this was asked before: whether the last was answered."""
        calls, self._calls = self._calls, {}
        return calls

    def take_ended(self) -> list[UUID]:
        """The leases of the invocations that have come to their end since this was asked before."""
        ended, self._ended_leases = self._ended_leases, []
        return ended

    def start(self, claimed: ClaimedInvocation) -> None:
        """Invoke a claimed run in the background."""
        self._store.holders.add(claimed.lease_id, None)
        self._store.holders.start(claimed.lease_id, claimed.run_id, claimed.start, quiet=claimed.quiet, now=False)
        task = asyncio.create_task(self._invoke(claimed), name=f"rotor invoke {claimed.start.run_id}")
        self._in_flight[claimed.lease_id] = task
        self._by_app[claimed.serve_url] += 1
        self._slots.take(claimed.workspace_id, claimed.start.function_id)
        task.add_done_callback(lambda _: self._ended(claimed, task))

    def _ended(self, claimed: ClaimedInvocation, task: asyncio.Task[None]) -> None:
        del self._in_flight[claimed.lease_id]
        self._store.holders.remove(claimed.lease_id)
        self._ended_leases.append(claimed.lease_id)
        self._by_app[claimed.serve_url] -= 1
        if not self._by_app[claimed.serve_url]:
            del self._by_app[claimed.serve_url]
        if self._slots.give_back(claimed.workspace_id, claimed.start.function_id):
            self._store.changes.queued.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error(
                "%s failed; its run goes on once the lease runs out",
                task.get_name(),
                exc_info=error,
                extra=_told(claimed),
            )

    async def stop(self) -> None:
        """Break off what is in flight: the runs go on elsewhere once their leases run out, or at once where told so."""
        tasks = list(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._posting is not None:
            await self._posting.close()

    async def _invoke(self, claimed: ClaimedInvocation) -> None:
        run_id = claimed.run_id
        app = (claimed.workspace_id, claimed.serve_url)
        try:
            with self._answers.one() as answer:
                result = await self._post(claimed, answer)
                self._calls[app] = True
                self._unreached.pop(claimed.serve_url, None)
                self._unanswered.discard(run_id)
                await self._record(claimed, result.messages)
            # An answer that does not end the invocation breaks it off.
            if self._store.holders.held_by(claimed.lease_id) and await self._take_away(claimed):
                log.warning(
                    "run %s: %s answered, and neither ended nor parked it",
                    run_id,
                    _shown(claimed.serve_url),
                    extra=_told(claimed),
                )
        except UnreachedError as error:
            self._calls[app] = False
            await self._try_again(claimed, "cannot be reached", error)
        except UnansweredError as error:
            self._calls[app] = False
            if await leases.has_begun(self._store.database, claimed.lease_id):
                await self._lost(claimed, error)
            else:
                self._ask_to_announce(run_id)
                await self._try_again(claimed, "cannot be reached", error)
        except NoRoomError as error:
            await self._try_again(claimed, "answered what cannot be taken now", error)
        except BrokenOffError as error:
            await self._lost(claimed, error)

    async def _try_again(self, claimed: ClaimedInvocation, what: str, error: Exception) -> None:
        """Through no fault of the run: no loss is counted."""
        run_id, seconds = claimed.run_id, await self._pause(claimed.serve_url)
        log.warning(
            "run %s: %s %s (%s); tried again in %.0f s",
            run_id,
            _shown(claimed.serve_url),
            what,
            error,
            seconds,
            extra=_told(claimed),
        )
        await self._take_away(claimed, unreached_seconds=seconds)

    async def _lost(self, claimed: ClaimedInvocation, error: Exception) -> None:
        run_id = claimed.run_id
        log.warning(
            "run %s: %s broke off its invocation (%s)",
            run_id,
            _shown(claimed.serve_url),
            error,
            extra=_told(claimed),
        )
        company = self._by_app[claimed.serve_url] - 1  # a process that dies takes down all that it runs
        await self._take_away(claimed, company=company)

    async def _take_away(
        self, claimed: ClaimedInvocation, *, company: int = 0, unreached_seconds: float | None = None
    ) -> bool:
        """End the app's hold on the run; return whether there was one. What still comes of the app goes the long way,
        which knows that."""
        self._store.holders.remove(claimed.lease_id)
        lost = HolderLost(claimed.run_id, claimed.lease_id, unreached_seconds, company)
        return any(await self._store.committer.submit_all([lost]))

    def _ask_to_announce(self, run_id: UUID) -> None:
        if len(self._unanswered) > limits.BATCH:
            self._unanswered.clear()
        self._unanswered.add(run_id)

    async def _record(self, claimed: ClaimedInvocation, messages: Sequence[HolderSays]) -> None:
        """Write what the app answered. Nobody hears that a part of it is refused, or cannot be written: the run fails
        with the reason."""
        if any(message.run_id != claimed.start.run_id for message in messages):
            raise BrokenOffError("its answer is about another run")
        kept: list[RunMessage] = []
        for message in self._store.logs.without_lines(claimed.workspace_id, messages):
            refused = refusal(message, payload_bytes_max=self._store.payload_bytes_max)
            if refused is not None:
                kept.append(_failed(claimed, refused))
                break
            kept.append(message)
        unwritten = [one for one in await self._say(claimed, kept) if isinstance(one, Refused)]
        if unwritten:
            await self._say(claimed, [_failed(claimed, unwritten[0])])

    async def _say(self, claimed: ClaimedInvocation, messages: Sequence[RunMessage]) -> list[HolderMessage]:
        """Write what ends the invocation, as soon as there is room for it, and return what its app would be told."""
        await self._store.committer.commits.room()
        said = Exchange(claimed.workspace_id, claimed.lease_id, messages)
        (answer,) = await self._store.committer.exchange([said], can_go_on=False)
        return answer

    async def _pause(self, serve_url: str) -> float:
        """Seconds until the app is tried again: the more, the longer it is away, however many runs find nobody."""
        if len(self._unreached) > limits.BATCH:
            self._unreached.clear()
        now: datetime = await self._store.database.fetchval("read_clock")
        away = now - self._unreached.setdefault(serve_url, now)
        return min(max(away / 4, TRY_AGAIN_AFTER), TRY_AGAIN_WITHIN).total_seconds()

    async def _post(self, claimed: ClaimedInvocation, answer: Answer) -> InvocationResult:
        start = claimed.start
        with tracing.span(f"invoke {start.function_id}", "client", start.traceparent, _told(claimed)) as span:
            traceparent = tracing.traceparent_of(span) or start.traceparent
            return await self._call(claimed, msgspec.structs.replace(start, traceparent=traceparent), answer)

    async def _call(self, claimed: ClaimedInvocation, start: StartRun, answer: Answer) -> InvocationResult:
        keys = await self._signing_keys.ensure(claimed.workspace_id)
        body = msgspec.json.encode(
            Invocation(
                run=start,
                checkpoint_url=f"{self._public_url}/v1/checkpoints",
                token=await self._tokens.issue(claimed.workspace_id, claimed.run_id, claimed.lease_id),
                payload_bytes_max=self._store.payload_bytes_max,
                announce=claimed.run_id in self._unanswered,
            )
        )
        headers = sign(body, message_id=f"msg_{uuid7()}", timestamp=int(time.time()), keys=keys)
        headers |= {"content-type": "application/json", "accept-encoding": "identity"}
        if start.traceparent is not None:
            headers["traceparent"] = start.traceparent
        posting = await self._opened()
        text = await posting.post(claimed.serve_url, body, headers, answer)
        try:
            return json.decode_as(text, InvocationResult)
        except PayloadError as error:
            raise BrokenOffError(f"its answer {error}") from None

    async def _opened(self) -> Posting:
        if self._posting is None:
            await asyncio.to_thread(import_module, "rotor.services.posting")
            from rotor.services.posting import HttpPosting  # noqa: PLC0415  (aiohttp takes a while to import)

            self._posting = self._posting or HttpPosting(self._store.destinations)
        return self._posting


def _failed(claimed: ClaimedInvocation, refused: Refused) -> RunFailed:
    """What a run comes to whose app said something that is refused."""
    log.warning("run %s: %s", claimed.run_id, refused.error.message, extra=_told(claimed))
    return RunFailed(run_id=refused.run_id, n=refused.n, error=refused.error, retries=0, retriable=False)


def _told(claimed: ClaimedInvocation) -> dict[str, str]:
    """What a line of the log says beside its text."""
    return {"run_id": claimed.start.run_id, "function_id": claimed.start.function_id}


def _shown(serve_url: str) -> str:
    """A serve_url for the log, without its query, which may hold a secret."""
    return serve_url.partition("?")[0]
