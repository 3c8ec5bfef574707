"""The order in which recorded results are handed to the body, so that races end on replay as they ended live.

Each commit of the server that settled steps is one *group*. Live or replayed, a group is handed out at once, and the
next one only when the body has come to rest after it. What the body does between two groups depends on nothing but
the groups before, so it does the same again.

Within a group the results go by step id and index. The order in which the server tells of them live is another one than
that of its record, and branches that go on in another order would use the same step id in another order.

A group is *complete* when each of its steps has been asked for. A group that stays incomplete at rest belongs to code
that has changed since: it is let go all the same. Those of its steps that nobody has asked for are *strays*: who asks
for one later, since it was slow on its way, is answered in the step's old place among what is still here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from itertools import groupby

from rotor.protocol.messages import Memo, StepStatus

__all__ = ["FINAL", "Key", "Order"]

Key = tuple[str, int]

FINAL: frozenset[StepStatus] = frozenset({"completed", "failed", "timed_out"})
"""What a step's caller is told. `cancelled` is not: nobody waits for such a step any more."""


class Group:
    __slots__ = ("memos", "missing", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.memos: list[tuple[str, int, Memo]] = []
        """A heap by step id and index."""
        self.missing = 0
        """How many of its steps have not been asked for."""


class Order:
    """The groups that are still to be handed out."""

    def __init__(self, memos: Iterable[Memo]) -> None:
        self.groups: deque[Group] = deque()
        """The next one to be handed out first."""
        self._places: dict[Key, Group] = {}
        self._strays: dict[Key, tuple[Memo, int]] = {}
        """What was let go before anybody asked for it, with the number of its group."""
        final = [memo for memo in memos if memo.status in FINAL]
        for number, members in groupby(final, key=lambda memo: memo.group):
            group = Group(number)
            group.memos.extend(map(_entry, members))
            heapify(group.memos)
            group.missing = len(group.memos)
            self.groups.append(group)
            self._places |= dict.fromkeys(((step_id, index) for step_id, index, _ in group.memos), group)

    def __contains__(self, key: Key) -> bool:
        return key in self._places or key in self._strays

    @property
    def complete(self) -> bool:
        """Whether every step of the next group has been asked for."""
        return not self.groups[0].missing

    def add(self, memo: Memo, number: int, *, asked: bool) -> None:
        """A step came to its end in commit `number`; 0 stands for now."""
        group = self._group(number)
        heappush(group.memos, _entry(memo))
        group.missing += not asked
        self._places[memo.id, memo.index] = group

    def ask(self, key: Key) -> None:
        """The body has called the step."""
        if key in self._strays:
            self._recall(key)
        else:
            self._places[key].missing -= 1

    def release(self, asked: Callable[[Key], bool]) -> list[Memo]:
        """Let the next group go; `asked` tells whether the body has called a step."""
        group = self.groups.popleft()
        for step_id, index, memo in group.memos:
            key = step_id, index
            del self._places[key]
            if group.missing and not asked(key):
                self._strays[key] = memo, group.number
        return [memo for *_, memo in sorted(group.memos)]

    def release_one(self) -> list[Memo]:
        """Let the next member of the next group go."""
        group = self.groups[0]
        step_id, index, memo = heappop(group.memos)
        del self._places[step_id, index]
        if not group.memos:
            self.groups.popleft()
        return [memo]

    def release_until(self, key: Key) -> None:
        """Let go every group up to the one that holds `key`. The body has asked for nothing else in them: the rest are
        strays, as they are where the body came to rest before it asked."""
        if key not in self._strays:
            while key in self._places:
                self._set_aside(self.groups.popleft())
        del self._strays[key]

    def _set_aside(self, group: Group) -> None:
        for step_id, index, memo in group.memos:
            del self._places[step_id, index]
            self._strays[step_id, index] = memo, group.number

    def _recall(self, key: Key) -> None:
        """Somebody asks for a stray."""
        memo, number = self._strays.pop(key)
        self.add(memo, number, asked=True)

    def _group(self, number: int) -> Group:
        """The group of commit `number`, in its place among those that are still here."""
        position = len(self.groups)
        while number and position and self.groups[position - 1].number > number:
            position -= 1
        if number and position and self.groups[position - 1].number == number:
            return self.groups[position - 1]
        group = Group(number or (self.groups[-1].number if self.groups else 0))
        self.groups.insert(position, group)
        return group


def _entry(memo: Memo) -> tuple[str, int, Memo]:
    return memo.id, memo.index, memo
