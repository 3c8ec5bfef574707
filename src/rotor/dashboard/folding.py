"""Many alike steps become one node, so that a fan of 500 or a loop of 1,000 can be read.

Steps are alike by their op and the stem of their id: `page-1` and `page-2`, or two uses of one id. Those that stand
beside or right behind each other are one group. Where a run is still long, a loop over several steps or a fan of
branches with several each, those that are alike are one group wherever they stand. And where it is too long even then,
its oldest quiet steps are put away into one node. What a fold joins may have had other steps between: an edge that
would lead back is left out, and one that only cuts a way short.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache

from rotor.dashboard.order import Order

__all__ = ["Edge", "Folded", "Likeness", "fold"]

GROUP_MIN = 9
NODES_READABLE = 60
"""With more, the alike are joined wherever they stand."""
NODES_MAX = 240
FIRST_KEPT = 20

Likeness = tuple[str, str]
Edge = tuple[int, int]

_NUMBERS = re.compile(r"\d+|[0-9a-f]{8,}(?:-[0-9a-f]{4,})*")


@dataclass(frozen=True, slots=True)
class Folded:
    """Nodes as the numbers of their steps, in order; per frontier the nodes before and behind it."""

    nodes: list[tuple[int, ...]]
    joints: list[tuple[tuple[int, ...], tuple[int, ...]]]
    last: tuple[int, ...]


@cache
def stem(step_id: str) -> str:
    """The id without what counts or identifies in it."""
    return _NUMBERS.sub("#", step_id)


def fold(likenesses: Sequence[Likeness], quiet: Sequence[bool], order: Order) -> Folded:
    """The nodes of a graph. `quiet` says which steps have ended well, and may be put away."""
    parents = list(range(len(likenesses)))
    _join_the_alike(likenesses, order, parents)
    nodes = _grouped([_root(parents, number) for number in range(len(likenesses))])
    if len(nodes) <= NODES_READABLE:
        return _joined(nodes, order)
    nodes = _put_away(_grouped(likenesses), quiet)
    return _without_short_cuts(_joined(nodes, order))


def _grouped(kinds: Sequence[Hashable]) -> list[tuple[int, ...]]:
    """The steps of one kind together where they are many, in their order."""
    members: dict[Hashable, list[int]] = {}
    for number, kind in enumerate(kinds):
        members.setdefault(kind, []).append(number)
    return sorted(
        node
        for found in members.values()
        for node in ([tuple(found)] if len(found) >= GROUP_MIN else [(one,) for one in found])
    )


def _join_the_alike(likenesses: Sequence[Likeness], order: Order, parents: list[int]) -> None:
    latest: dict[tuple[int, Likeness], int] = {}
    for number, likeness in enumerate(likenesses):
        follows = order.follows[number]
        beside = latest.get((follows, likeness))
        if beside is None:
            for before in order.frontiers[follows]:
                if likenesses[before] == likeness:
                    parents[_root(parents, number)] = _root(parents, before)
        else:
            parents[_root(parents, number)] = _root(parents, beside)
        latest[follows, likeness] = number


def _root(parents: list[int], number: int) -> int:
    while parents[number] != number:
        parents[number] = parents[parents[number]]
        number = parents[number]
    return number


def _put_away(nodes: list[tuple[int, ...]], quiet: Sequence[bool]) -> list[tuple[int, ...]]:
    """Keep the first few, the latest, and before these what is not quiet, as far as there is room."""
    too_many = len(nodes) - NODES_MAX
    if too_many <= 0:
        return nodes
    middle = range(FIRST_KEPT, len(nodes))
    candidates = [at for at in middle if all(quiet[one] for one in nodes[at])]
    candidates += [at for at in middle if not all(quiet[one] for one in nodes[at])]
    gone = set(candidates[: too_many + 1])
    away = tuple(sorted(one for at in gone for one in nodes[at]))
    return sorted([*(node for at, node in enumerate(nodes) if at not in gone), away])


def _joined(nodes: list[tuple[int, ...]], order: Order) -> Folded:
    node_of = {number: at for at, node in enumerate(nodes) for number in node}
    behind: dict[int, dict[int, None]] = {}
    for number, follows in enumerate(order.follows):
        behind.setdefault(follows, {})[node_of[number]] = None
    joints: dict[tuple[tuple[int, ...], tuple[int, ...]], None] = {}
    for follows, found in behind.items():
        befores = sorted({node_of[number] for number in order.frontiers[follows]})
        afters = sorted(found)
        if befores and afters[-1] > befores[0]:
            joints[tuple(befores), tuple(afters)] = None
    return Folded(nodes, list(joints), tuple(sorted({node_of[number] for number in order.last})))


def _without_short_cuts(folded: Folded) -> Folded:
    """The same with an edge from node to node alone, and none between two that a longer way leads between as well."""
    before: dict[int, set[int]] = {}
    for befores, afters in folded.joints:
        for after in afters:
            before.setdefault(after, set()).update(one for one in befores if one < after)
    reached: list[int] = []
    """Per node all those before it, as the bits of a number."""
    joints: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for node in range(len(folded.nodes)):
        behind = 0
        for one in sorted(before.get(node, ()), reverse=True):
            if not behind >> one & 1:
                joints.append(((one,), (node,)))
                behind |= reached[one] | 1 << one
        reached.append(behind)
    return Folded(folded.nodes, joints, folded.last)
