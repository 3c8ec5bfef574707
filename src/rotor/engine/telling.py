"""What holders are told of a batch: which messages are durable, and since which commit; what came to its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from rotor.engine.arrivals import Arrival, FromHolder
from rotor.engine.decision import Notice
from rotor.engine.run import StepKey
from rotor.protocol.messages import Committed, HolderMessage, Memo, ResumeRun, Settled, StepDone, StepFailed

__all__ = ["Groups", "messages_of"]


class Groups(NamedTuple):
    """The commits that recorded what a batch said. Nearly always that is the batch's own; but what is said again, since
    its first answer was lost, keeps the commit that recorded it, or a race would end otherwise on replay.
    """

    own: int
    steps: Mapping[StepKey, int]
    """Of steps that had ended before."""
    numbers: Mapping[tuple[UUID, UUID, int], int]
    """Of the messages about them, by (lease, run, number): each holder of a run counts its messages from 1."""

    @classmethod
    def of(cls, own: int, steps: Mapping[StepKey, int], arrivals: Iterable[Arrival]) -> Groups:
        """`own` is the batch's commit, `steps` the commits of the steps that had ended before it."""
        numbers: dict[tuple[UUID, UUID, int], int] = {}
        if steps:
            for arrival in arrivals:
                if isinstance(arrival, FromHolder) and isinstance(message := arrival.message, StepDone | StepFailed):
                    group = steps.get(StepKey(arrival.run_id, message.id, message.index))
                    if group is not None:
                        numbers[arrival.lease_id, arrival.run_id, message.n] = group
        return cls(own, steps, numbers)


def messages_of(
    place: tuple[UUID, UUID],
    news: Sequence[Memo] | None,
    notices: Sequence[Notice],
    groups: Groups,
    settled: int,
    *,
    resumed: bool = False,
) -> list[HolderMessage]:
    """What is told at a `place`, a (lease, run): commits in their order, then what came to an end, then the rest.

    `news` that are empty are told all the same: the holder then knows how many waits have settled. One with which the
    run was `resumed` goes on with what came to an end.
    """
    lease_id, run_id = place
    messages: list[HolderMessage] = []
    numbers: dict[int, list[int]] = {}
    memos = list(news or ())
    rest: dict[type, HolderMessage] = {}
    for notice in notices:
        if isinstance(notice, int):
            numbers.setdefault(groups.numbers.get((lease_id, run_id, notice), groups.own), []).append(notice)
        elif isinstance(notice, Memo):
            group = groups.steps.get(StepKey(run_id, notice.id, notice.index), groups.own)
            memos.append(msgspec.structs.replace(notice, group=group))
        else:
            rest[type(notice)] = notice
    messages += [Committed(runs={str(run_id): sent}, group=group) for group, sent in sorted(numbers.items())]
    if memos or news is not None:
        kind = ResumeRun if resumed else Settled
        messages.append(kind(run_id=str(run_id), memo=memos, settled=settled))
    messages += rest.values()
    return messages
