"""Who holds runs at this server: by lease, how to tell them of commits, and how much each run's holder has been told.

What is told here is a shortcut for those connected to this process; a holder elsewhere learns the same at its next
message. So does the app of an invocation over HTTP, which was posted from here but may post its checkpoints to any
server: the numbers of its messages tell whether this one has seen them all.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple
from uuid import UUID

from msgspec.structs import replace

from rotor import limits
from rotor.engine.effects import PutWait
from rotor.engine.run import Run
from rotor.protocol.messages import CancelRun, Committed, Goodbye, HolderMessage, ResumeRun, Settled, StartRun
from rotor.store.group_commit import wrote_nothing
from rotor.store.known_waits import KnownWaits, known_wait

__all__ = ["CHUNK", "NOBODY", "UNKNOWN", "Holders", "Keepers", "Opening"]

UNKNOWN: Final = -1
"""Stands for what a holder that has come back was told before."""
CHUNK: Final = 50
"""Runs given to one worker at a time, so that several workers, and the functions of one, share a burst."""

Deliver = Callable[[Sequence[HolderMessage | Goodbye], bool], None]
Step = tuple[str, int]
"""A step of a run: its id, and which use of that it is."""
Function = tuple[int, str]
"""A workspace, and the id of a function in it."""


class Keepers(NamedTuple):
    """Holders here that keep the bodies of parked runs."""

    runs: frozenset[UUID]
    """The runs."""
    room: Mapping[UUID, int]
    """By lease: how many of these runs each of the holders takes at once; without an entry none."""


NOBODY: Final = Keepers(frozenset(), {})


class Opening(NamedTuple):
    """A worker here that has room."""

    lease_id: UUID
    connection: int
    """The number of its connection."""
    room: int
    """How many runs it takes at once."""


class _Held:
    """One run, as far as its holder has been told of it."""

    __slots__ = ("begun", "heard", "quiet", "run_id", "told")

    def __init__(self, run_id: UUID, told: int, *, quiet: bool) -> None:
        self.run_id = run_id
        self.told = told
        """How many of its settled waits the holder knows of, or `UNKNOWN`."""
        self.heard = 0
        """The number of the last message of an invocation."""
        self.quiet = quiet
        """As of the last commit it has no open wait and no counted loss."""
        self.begun: set[Step] = set()
        """Steps whose bodies run and that are on record."""


class _Holder:
    """One lease's holder."""

    __slots__ = ("connection", "deliver", "keeps", "kept", "reserved", "runs", "serves", "slots")

    def __init__(
        self,
        deliver: Deliver | None,
        connection: int,
        slots: Callable[[], int],
        keeps: int,
        serves: Collection[Function],
    ) -> None:
        self.deliver = deliver
        self.connection = connection
        self.slots = slots
        self.serves = serves
        self.reserved = 0
        self.runs: dict[str, _Held] = {}
        self.keeps = min(keeps, limits.KEPT_BODIES)
        self.kept: OrderedDict[UUID, None] = OrderedDict()
        """Parked runs whose bodies it has in memory, as it counts them itself: those that were parked last."""

    @property
    def room(self) -> int:
        return max(self.slots() - len(self.runs) - self.reserved, 0)

    def acknowledged(self, message: Committed, *, everything: bool) -> Committed:
        """`message` without the runs of which the holder has to be told everything first."""
        if everything or all(self._told(run_id) != UNKNOWN for run_id in message.runs):
            return message
        runs = {run_id: numbers for run_id, numbers in message.runs.items() if self._told(run_id) != UNKNOWN}
        return replace(message, runs=runs)

    def _told(self, run_id: str) -> int:
        held = self.runs.get(run_id)
        return 0 if held is None else held.told


class Holders:
    """The holders connected to this server."""

    def __init__(self) -> None:
        self._holders: dict[UUID, _Holder] = {}
        self._serving: dict[Function, dict[UUID, None]] = {}
        """The leases of workers by what they serve."""
        self.hungry: set[UUID] = set()
        """Holders that would take more runs than they had room for."""
        self.waits = KnownWaits()
        """Those of parked runs whose bodies are kept here."""

    def add(
        self,
        lease_id: UUID,
        deliver: Deliver | None,
        *,
        slots: Callable[[], int] = int,
        connection: int = 1,
        keeps: int = 0,
        serves: Collection[Function] = (),
    ) -> None:
        """`deliver` is called with messages for the holder, and whether they leave now or with what else is said in
        this turn of the event loop; it must neither block nor raise. None: an invocation, which hears in the answers to
        what it says. `slots` says how many runs a worker takes at once, `connection` counts its connections on this
        lease, `keeps` how many parked bodies it keeps, `serves` is whose new runs it takes."""
        self._drop(lease_id)
        self._holders[lease_id] = _Holder(deliver, connection, slots, keeps, serves)
        for function in serves:
            self._serving.setdefault(function, {})[lease_id] = None

    def remove(self, lease_id: UUID) -> None:
        self._drop(lease_id)
        self.hungry.discard(lease_id)

    def _drop(self, lease_id: UUID) -> None:
        holder = self._holders.pop(lease_id, None)
        for run_id in () if holder is None else holder.kept:
            self.waits.forget(run_id)
        for function in () if holder is None else holder.serves:
            del self._serving[function][lease_id]
            if not self._serving[function]:
                del self._serving[function]

    def __contains__(self, lease_id: UUID) -> bool:
        return lease_id in self._holders

    def is_on(self, lease_id: UUID, connection: int | None) -> bool:
        """Whether the holder is connected here by the connection of that number."""
        holder = self._holders.get(lease_id)
        return holder is not None and holder.connection == connection

    def room(self, lease_id: UUID) -> int:
        """How many more runs the holder takes at the moment."""
        holder = self._holders.get(lease_id)
        return 0 if holder is None else holder.room

    def keeping(self) -> list[UUID]:
        """The leases of those who keep bodies and have room for runs that go on.

        One that had more due runs than room takes none past those that wait for their turn.
        """
        return [
            lease_id
            for lease_id, holder in self._holders.items()
            if holder.kept and lease_id not in self.hungry and holder.room
        ]

    def keepers_of(self, run_ids: Iterable[UUID]) -> dict[UUID, tuple[UUID, int]]:
        """Who keeps the bodies of these parked runs here and has room for runs that go on: its lease, and the number of
        its connection."""
        keepers = [(lease_id, self._holders[lease_id]) for lease_id in self.keeping()]
        return {
            run_id: (lease_id, holder.connection)
            for run_id in run_ids
            for lease_id, holder in keepers
            if run_id in holder.kept
        }

    def openings(self, function: Function) -> list[Opening]:
        """The workers here that take a new run of the function at once, the least loaded first.

        One that had more due runs than room takes none past those that wait for their turn.
        """
        found = [
            Opening(lease_id, holder.connection, holder.room)
            for lease_id in self._serving.get(function, ())
            if lease_id not in self.hungry and (holder := self._holders[lease_id]).room
        ]
        return sorted(found, key=lambda opening: -opening.room)

    @contextmanager
    def keepers(self, runs: Iterable[Run]) -> Iterator[Keepers]:
        """Those of waiting runs whose keepers are connected here and have the body; within, slots for them are
        reserved."""
        kept = {
            run.id: run.kept_by
            for run in runs
            if run.kept_by is not None
            and run.keeper is not None
            and self.is_on(run.kept_by, run.keeper)
            and self.keeps(run.kept_by, run.id)
        }
        with self.reserve(Counter(kept.values())) as room:
            yield Keepers(frozenset(kept), room)

    @contextmanager
    def reserve(self, wanted: Mapping[UUID, int]) -> Iterator[Mapping[UUID, int]]:
        """Slots for so many more runs of each holder, as far as it has any: within, nobody else fills them."""
        found = [(lease_id, holder) for lease_id in wanted if (holder := self._holders.get(lease_id)) is not None]
        reserved = [(lease_id, holder, min(holder.room, wanted[lease_id])) for lease_id, holder in found]
        for _, holder, count in reserved:
            holder.reserved += count
        try:
            yield {lease_id: count for lease_id, _, count in reserved if count}
        finally:
            for _, holder, count in reserved:
                holder.reserved -= count

    @contextmanager
    def giving(self, lease_ids: Collection[UUID]) -> Iterator[None]:
        """Around a commit that gives runs to these workers. Where its answer is lost it may have happened, and nobody
        would tell them of the runs: they connect again, and their welcome gives back what they do not have."""
        try:
            yield
        except Exception as error:
            for lease_id in () if wrote_nothing(error) else lease_ids:
                holder = self._holders.get(lease_id)
                if holder is not None and holder.deliver is not None:
                    holder.deliver([Goodbye()], False)
            raise

    def keeps(self, lease_id: UUID, run_id: UUID) -> bool:
        """Whether the holder is connected here and has the body of this run, which it has parked."""
        holder = self._holders.get(lease_id)
        return holder is not None and run_id in holder.kept

    def run_id(self, lease_id: UUID, run_id: str) -> UUID:
        """The id of a run as a value: known already for a run held here."""
        held = self._held(lease_id, run_id)
        return UUID(run_id) if held is None else held.run_id

    def is_new(self, lease_id: UUID, run_id: str, step: Step) -> bool:
        """Whether the run is quiet and nothing is on record of its step, as far as is known here."""
        held = self._held(lease_id, run_id)
        return held is not None and held.quiet and step not in held.begun

    def is_quiet(self, lease_id: UUID, run_id: str) -> bool:
        """Whether the run is held here and nobody but its holder has anything to do with it."""
        held = self._held(lease_id, run_id)
        return held is not None and held.quiet

    def opens(self, lease_id: UUID, run_id: str) -> None:
        """A commit begins that may open a wait, so that others may have to do with the run: until it has found
        otherwise (`calm`), the run is not quiet, come of it what may."""
        held = self._held(lease_id, run_id)
        if held is not None:
            held.quiet = False

    def calm(self, lease_id: UUID, run_id: UUID, *, quiet: bool) -> None:
        """What a commit has found: whether the run has an open wait or a counted loss. Of one whose holder came back
        since, the next goes the long way all the same: it tells what was missed."""
        held = self._held(lease_id, str(run_id))
        if held is not None:
            held.quiet = quiet and held.told != UNKNOWN

    def hear(self, lease_id: UUID, run_id: str, n: int) -> None:
        """A message of this number comes in. Where an invocation's are not in a row, another server has taken some."""
        holder = self._holders.get(lease_id)
        held = None if holder is None or holder.deliver is not None else holder.runs.get(run_id)
        if held is not None and n:
            held.quiet = held.quiet and n == held.heard + 1
            held.heard = n

    def begin(self, lease_id: UUID, run_id: str, step: Step) -> None:
        """The holder says that a step runs, which is put on record."""
        held = self._held(lease_id, run_id)
        if held is not None:
            held.begun.add(step)

    def end(self, lease_id: UUID, run_id: str, step: Step) -> None:
        """What came of a step is on record."""
        held = self._held(lease_id, run_id)
        if held is not None:
            held.begun.discard(step)

    def told(self, lease_id: UUID, run_id: UUID) -> int | None:
        """How many settled waits of the run its holder knows of; None where it is not connected here."""
        holder = self._holders.get(lease_id)
        held = None if holder is None or holder.deliver is None else holder.runs.get(str(run_id))
        return None if held is None else held.told

    def has(self, workspace_id: int, run_id: UUID) -> bool:
        """Whether a worker of the workspace that is connected here has the run: as far as is known here, it has not
        ended."""
        name = str(run_id)
        return any(
            name in holder.runs and any(workspace == workspace_id for workspace, _ in holder.serves)
            for holder in self._holders.values()
        )

    def start(self, lease_id: UUID, run_id: UUID, start: StartRun | ResumeRun, *, quiet: bool, now: bool) -> None:
        """Hand a run to a holder, if it is connected here; `now` as for `deliver`."""
        self.take(lease_id, run_id, settled=start.settled, quiet=quiet)
        for memo in start.memo:
            if memo.status == "running":
                self.begin(lease_id, start.run_id, (memo.id, memo.index))
        self.deliver(lease_id, [start], now=now)

    def take(self, lease_id: UUID, run_id: UUID, *, settled: int, quiet: bool) -> None:
        """A holder, if it is connected here, has a run and is about to be told so."""
        holder = self._holders.get(lease_id)
        if holder is not None:
            holder.runs[str(run_id)] = _Held(run_id, settled, quiet=quiet)
            holder.kept.pop(run_id, None)
        self.waits.forget(run_id)

    def deliver(
        self, lease_id: UUID, messages: Sequence[HolderMessage], *, everything: bool = False, now: bool = False
    ) -> None:
        """Tell a holder, if it is connected here; `now`: before anything else that is ready to be done.

        One that has come back may not have heard what this was to follow. Nothing that was recorded is told to it
        before `everything` is, by the next commit or pulse; what it said itself it says again.
        """
        holder = self._holders.get(lease_id)
        if holder is None or holder.deliver is None:
            return
        heard: list[HolderMessage] = []
        for message in messages:
            if isinstance(message, Committed):
                if (acknowledged := holder.acknowledged(message, everything=everything)).runs:
                    heard.append(acknowledged)
                continue
            if isinstance(message, Settled) and (held := holder.runs.get(message.run_id)) is not None:
                if held.told == UNKNOWN and not everything:
                    continue
                held.told = message.settled
            elif isinstance(message, CancelRun) and (held := holder.runs.get(message.run_id)) is not None:
                held.quiet = False
            heard.append(message)
        holder.deliver(heard, now)

    def forget(self, lease_id: UUID, run_id: UUID, *, kept: bool = False) -> bool:
        """The holder has let the run go, and has `kept` its body; return whether it has room for one that waits."""
        holder = self._holders.get(lease_id)
        if holder is not None:
            holder.runs.pop(str(run_id), None)
            if kept:
                holder.kept[run_id] = None
                if len(holder.kept) > holder.keeps:
                    dropped, _ = holder.kept.popitem(last=False)
                    self.waits.forget(dropped)
        return lease_id in self.hungry

    def remember(self, waits: Iterable[PutWait], runs: Mapping[UUID, Run], group: int) -> None:
        """What runs wait for that commit number `group` has parked, each on this wait alone, if their bodies are kept
        here."""
        for wait in waits:
            run = runs[wait.key.run_id]
            if run.kept_by is not None and self.keeps(run.kept_by, run.id) and (known := known_wait(wait, group)):
                self.waits.remember(known)

    def expect(self, lease_id: UUID, run_id: UUID) -> None:
        """The holder came back with this run; what it has been told of it is not known."""
        self._holders[lease_id].runs[str(run_id)] = _Held(run_id, UNKNOWN, quiet=False)

    def held_by(self, lease_id: UUID) -> int:
        """How many runs a holder has."""
        holder = self._holders.get(lease_id)
        return 0 if holder is None else len(holder.runs)

    def held(self) -> list[tuple[UUID, UUID, int]]:
        """(lease, run, told) of every run held by one who is connected here."""
        return [
            (lease_id, held.run_id, held.told)
            for lease_id, holder in self._holders.items()
            if holder.deliver is not None
            for held in holder.runs.values()
        ]

    def _held(self, lease_id: UUID, run_id: str) -> _Held | None:
        holder = self._holders.get(lease_id)
        return None if holder is None else holder.runs.get(run_id)
