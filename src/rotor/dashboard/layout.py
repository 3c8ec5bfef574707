"""Where the nodes of a graph stand: rows from top to bottom, branches side by side, no two on one place.

A node's row is one below the lowest of those before it. Within a row nodes keep the order of those before them and come
as near to the middle of their neighbours as their widths allow (isotonic regression, by pooling adjacent violators). An
edge over several rows is given a narrow place in each, so that it passes between the nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Drawing", "Place", "Size", "lay_out"]

GAP_ACROSS = 28.0
GAP_DOWN = 38.0
PASSAGE = 10.0
SWEEPS = 3

Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Size:
    """What room a node takes."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Place:
    """The middle of a node's top, and its room."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass(frozen=True, slots=True)
class Drawing:
    """A place for each node, and for each edge the points that it goes through."""

    places: list[Place]
    edges: list[list[tuple[float, float]]]
    width: float
    height: float


def lay_out(sizes: Sequence[Size], edges: Sequence[Edge]) -> Drawing:
    """Places for nodes of `sizes`. An edge leads from an earlier node to a later one. Raises `ValueError` otherwise."""
    rows_of = _rows(len(sizes), edges)
    all_sizes = list(sizes)
    pieces: list[Edge] = []
    chains: list[list[int]] = []
    for before, after in edges:
        chain = [before]
        for row in range(rows_of[before] + 1, rows_of[after]):
            chain.append(len(all_sizes))
            all_sizes.append(Size(PASSAGE, 0))
            rows_of.append(row)
        chain.append(after)
        chains.append(chain)
        pieces += pairwise(chain)
    before_of: list[list[int]] = [[] for _ in all_sizes]
    after_of: list[list[int]] = [[] for _ in all_sizes]
    for before, after in pieces:
        before_of[after].append(before)
        after_of[before].append(after)
    rows = _ordered_rows(rows_of, before_of)
    across = _across(rows, all_sizes, before_of, after_of)
    return _drawing(len(sizes), all_sizes, chains, rows, across)


def _rows(count: int, edges: Sequence[Edge]) -> list[int]:
    rows = [0] * count
    for before, after in sorted(edges, key=lambda edge: edge[1]):
        if not before < after:
            raise ValueError("an edge leads back")
        rows[after] = max(rows[after], rows[before] + 1)
    return rows


def _ordered_rows(rows_of: list[int], before_of: list[list[int]]) -> list[list[int]]:
    """The nodes of each row from left to right, in the order of those before them."""
    rows: list[list[int]] = [[] for _ in range(max(rows_of, default=-1) + 1)]
    for node, row in enumerate(rows_of):
        rows[row].append(node)
    rank: dict[int, float] = {}
    for row_nodes in rows:
        weights = {
            node: sum(rank[before] for before in before_of[node]) / len(before_of[node]) if before_of[node] else 0.0
            for node in row_nodes
        }
        row_nodes.sort(key=lambda node: (weights[node], node))
        for place, node in enumerate(row_nodes):
            rank[node] = (place + 0.5) / len(row_nodes)
    return rows


def _across(
    rows: list[list[int]], sizes: list[Size], before_of: list[list[int]], after_of: list[list[int]]
) -> list[float]:
    across = [0.0] * len(sizes)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        neighbours = before_of if down else after_of
        for row in rows if down else reversed(rows):
            wanted = [_middle(across, neighbours[node], across[node]) for node in row]
            for node, x in zip(row, _spread(wanted, [sizes[node].width for node in row]), strict=True):
                across[node] = x
    return across


def _middle(across: list[float], neighbours: list[int], otherwise: float) -> float:
    return sum(across[one] for one in neighbours) / len(neighbours) if neighbours else otherwise


def _spread(wanted: list[float], widths: list[float]) -> list[float]:
    """As near to `wanted` as may be (least squares), in this order and without overlap."""
    offsets = [0.0]
    for left, right in pairwise(widths):
        offsets.append(offsets[-1] + (left + right) / 2 + GAP_ACROSS)
    pools: list[tuple[float, int]] = []
    for x, offset in zip(wanted, offsets, strict=True):
        total, count = x - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            before, before_count = pools.pop()
            total, count = total + before, count + before_count
        pools.append((total, count))
    levels = [total / count for total, count in pools for _ in range(count)]
    return [level + offset for level, offset in zip(levels, offsets, strict=True)]


def _drawing(
    count: int, sizes: list[Size], chains: list[list[int]], rows: list[list[int]], across: list[float]
) -> Drawing:
    left = min((across[node] - sizes[node].width / 2 for row in rows for node in row), default=0.0)
    right = max((across[node] + sizes[node].width / 2 for row in rows for node in row), default=0.0)
    places: list[Place] = [Place(0, 0, 0, 0)] * len(sizes)
    y = 0.0
    for row in rows:
        tallest = max(sizes[node].height for node in row)
        for node in row:
            height = sizes[node].height if node < count else tallest
            places[node] = Place(across[node] - left, y, sizes[node].width, height)
        y += tallest + GAP_DOWN
    lines = []
    for chain in chains:
        points = [(places[chain[0]].x, places[chain[0]].bottom)]
        for node in chain[1:-1]:
            points += [(places[node].x, places[node].y), (places[node].x, places[node].bottom)]
        points.append((places[chain[-1]].x, places[chain[-1]].y))
        lines.append(points)
    return Drawing(places[:count], lines, right - left, max(y - GAP_DOWN, 0.0))
