"""Watches a run's body: hands out the next results when it has come to rest, and sees when it is parked.

*Calm* means that no branch can go on by itself. The next complete group of results is handed out once the body has been
calm for a few turns of the loop: a task that ended still has to wake those that wait for it, one turn a link. A group
that is not complete is handed out when no branch waits for anything outside (it may still be on its way to ask), or
when that has taken too long. Nothing is handed out before a branch that was cancelled in the body of its step has left
it: a replay does not run that body, so there it leaves at once. Steps that were given up before fail once the body
waits for nothing else, and before anything more is handed out: no commit records that, so it must not depend on what
has been recorded since.

Nothing tells when a branch that waits for ordinary I/O has moved on, so while something is left to do the watch looks
again after a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from rotor.sdk.calls import Calls
from rotor.sdk.parking import blocked, timed
from rotor.sdk.threads import HandlerThreads

__all__ = ["Patience", "Watch"]

CALM_TURNS: Final = 4
AGAIN_SECONDS: Final = (0.01, 1.0)
"""How soon to look again at first, and at the latest."""
BUSY_SECONDS: Final = 1.0
"""How long a branch that never rests may hold up the results of others."""
STRAY_SECONDS: Final = 5.0
"""How long results are held for a step that nobody has asked for, while some branch waits for ordinary I/O; and for a
cancelled branch that has still to leave the body of its step."""


class Patience:
    """How long something has been the matter, each time that it is looked at.

    Time in which the event loop stood still does not count, since nobody could go on in it.
    """

    def __init__(self) -> None:
        self._waited = 0.0
        self._looked_at: float | None = None

    def renew(self) -> None:
        """It is no longer the matter."""
        self._waited, self._looked_at = 0.0, None

    def is_over(self, seconds: float, now: float, *, pace: float) -> bool:
        """Whether it has been the matter for `seconds`. This look was to come `pace` seconds after the one before."""
        if self._looked_at is not None:
            self._waited += min(now - self._looked_at, 2 * pace)
        self._looked_at = now
        return self._waited >= seconds


class Watch:
    """Looks at one run's body whenever something may have changed."""

    def __init__(self, on_parked: Callable[[], None]) -> None:
        self._on_parked = on_parked
        self._loop = asyncio.get_running_loop()
        self._calls: Calls | None = None
        self._threads: HandlerThreads | None = None
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._again_seconds = AGAIN_SECONDS[0]
        self._turns = 0
        self._pace = AGAIN_SECONDS[0]
        self._with_the_busy = Patience()
        self._with_the_slow = Patience()

    def start(self, calls: Calls, threads: HandlerThreads | None) -> None:
        """Watch the branches that make `calls`; `threads` are those of a plain `def` handler."""
        self._calls = calls
        self._threads = threads

    def stop(self) -> None:
        """Look no more, and let go of the session: what has ended is then freed at once."""
        self._calls = None
        self._on_parked = _nothing
        for handle in (self._soon, self._later):
            if handle is not None:
                handle.cancel()

    def stir(self) -> None:
        """The body has moved. Wake-ups that are on their way keep their time to arrive."""
        self._turns = min(self._turns, 0)
        self._again_seconds = AGAIN_SECONDS[0]
        self.look_soon()

    def task_finished(self) -> None:
        """A branch has ended: those that wait for it will wake, one turn of the loop a link."""
        self.stir()
        self._turns = -CALM_TURNS

    def look_soon(self) -> None:
        """There may be something to hand out."""
        self._pace = AGAIN_SECONDS[0]
        if self._calls is not None and self._calls.unsettled:  # hardly ever, and asked whenever the body moves
            self._look_in_turn()

    def _look_in_turn(self) -> None:
        if self._soon is None and self._calls is not None and self._calls.unsettled:
            self._soon = self._loop.call_soon(self._look, context=self._calls.branches.neutral)

    def look_later(self) -> None:
        """Look again after a while: longer each time, until the body moves."""
        if self._later is not None:
            self._later.cancel()
        if self._calls is not None:
            neutral = self._calls.branches.neutral
            self._pace = self._again_seconds
            self._later = self._loop.call_later(self._again_seconds, self._look_in_turn, context=neutral)
            self._again_seconds = min(self._again_seconds * 2, AGAIN_SECONDS[1])

    def _look(self) -> None:
        self._soon = None
        calls = self._calls
        if calls is None:
            return
        calls.outbox.flush()  # a wait; should the run be parked now, that goes into the same frame
        if calls.frozen:
            return
        if not calls.order.groups and not calls.only_lost and not self._may_park(calls):
            self._with_the_busy.renew()
        elif self._is_at_rest(calls) or self._is_over(self._with_the_busy, BUSY_SECONDS):
            self._turns += 1
            self._look_at_rest(calls)
        else:
            self._turns = min(self._turns, 0)
            if self._threads is not None and self._threads.running:
                self.look_later()  # a thread that blocks or ends stirs the watch
            else:
                self.look_soon()

    def _is_at_rest(self, calls: Calls) -> bool:
        """Whether no branch can go on by itself."""
        if (self._threads is not None and self._threads.running) or not calls.branches.calm():
            return False
        self._with_the_busy.renew()
        return True

    def _look_at_rest(self, calls: Calls) -> None:
        if self._turns > 0 and self._may_park(calls) and self._blocked(calls, within_calls=True):
            self._stop_looking()
            self._on_parked()
        elif self._turns < CALM_TURNS and not _alone(calls, self._threads):
            self.look_soon()
        elif calls.branches.leaving and not self._is_too_slow():
            self.look_later()
        elif calls.only_lost and self._blocked(calls, within_calls=True):
            self._stop_looking()
            calls.fail_lost()
            self.stir()
        elif calls.order.groups and self._may_release(calls):
            self._stop_looking()
            calls.release()
            self.stir()
        else:
            self.look_later()

    def _may_park(self, calls: Calls) -> bool:
        return calls.counts["waiting"] > 0 and calls.admitting and not calls.order.groups and not calls.busy

    def _may_release(self, calls: Calls) -> bool:
        if calls.order.complete:
            return True
        return self._blocked(calls, within_calls=False) or self._is_too_slow()

    def _blocked(self, calls: Calls, *, within_calls: bool) -> bool:
        """Whether no branch waits for anything outside; `within_calls`: nor has a timeout around its durable wait."""
        if self._threads is not None:
            return not self._threads.running
        if within_calls:
            for call in calls.pending.values():
                call.untimed = call.untimed or not timed(call.task)
                if not call.untimed:
                    return False
        return blocked(calls.branches, calls.branches.loose)

    def _is_too_slow(self) -> bool:
        return self._is_over(self._with_the_slow, STRAY_SECONDS)

    def _is_over(self, patience: Patience, seconds: float) -> bool:
        return patience.is_over(seconds, self._loop.time(), pace=self._pace)

    def _stop_looking(self) -> None:
        self._with_the_busy.renew()
        self._with_the_slow.renew()
        if self._later is not None:
            self._later.cancel()
            self._later = None


def _alone(calls: Calls, threads: HandlerThreads | None) -> bool:
    """Whether the body is one task or thread, inside a call: nobody is left to wake."""
    waiting = 0 if threads is None else 1  # the task that waits for the handler's thread
    return len(calls.branches.live) == waiting + 1 and len(calls.branches.loose) == waiting


def _nothing() -> None:
    """Stands for the call-back of a session that has ended."""
