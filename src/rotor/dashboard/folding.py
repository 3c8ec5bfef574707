"""Many alike steps become one node, so that a fan of 500 or a loop of 1,000 can be read.

Steps are alike by their op and the stem of their id: `page-1` and `page-2`, or two uses of one id. Those that stand
beside or right behind each other are one group. Where a run is still too long, its oldest quiet steps are put away into
one node. What a fold joins may have had other steps between: an edge that would lead back is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from rotor.dashboard.order import Order

__all__ = ["Edge", "Folded", "Likeness", "fold"]

GROUP_MIN = 9
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
    members: dict[int, list[int]] = {}
    for number in range(len(likenesses)):
        members.setdefault(_root(parents, number), []).append(number)
    nodes = [
        group
        for found in members.values()
        for group in ([found] if len(found) >= GROUP_MIN else [[one] for one in found])
    ]
    nodes.sort()
    nodes = _put_away(nodes, quiet)
    return _joined([tuple(node) for node in nodes], order)


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


def _put_away(nodes: list[list[int]], quiet: Sequence[bool]) -> list[list[int]]:
    """Keep the first few, the latest, and before these what is not quiet, as far as there is room."""
    too_many = len(nodes) - NODES_MAX
    if too_many <= 0:
        return nodes
    middle = range(FIRST_KEPT, len(nodes))
    candidates = [at for at in middle if all(quiet[one] for one in nodes[at])]
    candidates += [at for at in middle if not all(quiet[one] for one in nodes[at])]
    gone = set(candidates[: too_many + 1])
    away = sorted(one for at in gone for one in nodes[at])
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
