"""Where boxes and arrows go: a layered drawing from left to right.

The steps are those of Sugiyama, Tagawa and Toda (1981): a layer for each box by the longest path
from the leaves, bends where an arrow passes a layer, an order in each layer by barycentres, then
coordinates that bring neighbours to one height.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

GAP, SEPARATION, BEND, PORT, HEAD = 44.0, 18.0, 16.0, 17.0, 9.0


@dataclass
class Layout:
    """Corners of the boxes, the points of each arrow, and the size of it all, in pixels.

    An arrow's points alternate between the end of a curve and the end of a straight line.
    """

    corners: list[tuple[float, float]]
    routes: list[list[tuple[float, float]]]
    width: float
    height: float


def arrange(
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    labels: Sequence[float],
) -> Layout:
    """Place boxes of the given (width, height), sorted so that edges lead to later ones.

    labels: the width to keep free before the head of each edge's arrow.
    """
    levels = _levels(len(sizes), edges)
    heights = [height for _, height in sizes]
    chains: list[list[int]] = [[box] for box in range(len(sizes))]
    depth = list(levels)  # of boxes, then of bends
    for source, target in edges:  # the arrows of one value share their bends
        chain = chains[source]
        for level in range(levels[source] + len(chain), levels[target]):
            chain.append(len(depth))
            depth.append(level)
            heights.append(BEND)
    lasts = [chains[s][levels[t] - levels[s] - 1] for s, t in edges]
    links = [link for chain in chains for link in pairwise(chain)]
    links += [(last, t) for last, (_, t) in zip(lasts, edges, strict=True)]

    columns: list[list[int]] = [[] for _ in range(max(depth, default=-1) + 1)]
    for item, level in enumerate(depth):
        columns[level].append(item)
    before: list[list[int]] = [[] for _ in depth]
    after: list[list[int]] = [[] for _ in depth]
    for a, b in links:
        before[b].append(a)
        after[a].append(b)
    columns = _ordered(columns, before, after)
    middles = _heights(columns, before, after, heights)

    widths = [max([sizes[i][0] for i in c if i < len(sizes)], default=0.0) for c in columns]
    rooms = [0.0] * len(columns)  # for labels before each column
    climbs = [0.0] * len(columns)
    for (_, target), label in zip(edges, labels, strict=True):
        rooms[levels[target]] = max(rooms[levels[target]], label)
    for a, b in links:
        climbs[depth[b]] = max(climbs[depth[b]], abs(middles[a] - middles[b]))
    lefts: list[float] = []
    for level in range(len(widths)):
        gap = GAP + rooms[level] + min(climbs[level] / 6, 60) if level else 0.0
        lefts.append(lefts[-1] + widths[level - 1] + gap if level else 0.0)
    corners = [
        (lefts[levels[i]] + (widths[levels[i]] - width) / 2, middles[i] - height / 2)
        for i, (width, height) in enumerate(sizes)
    ]
    top = min((middles[i] - heights[i] / 2 for i in range(len(depth))), default=0.0)
    bottom = max((middles[i] + heights[i] / 2 for i in range(len(depth))), default=0.0)

    ports = _ports(edges, [middles[last] for last in lasts], middles)
    routes = []
    for edge, (source, target) in enumerate(edges):
        y = middles[source] - top
        points = [(corners[source][0] + sizes[source][0], y)]
        points.append((lefts[levels[source]] + widths[levels[source]], y))
        for item in chains[source][1 : levels[target] - levels[source]]:
            y, level = middles[item] - top, depth[item]
            points += [(lefts[level] - rooms[level] - HEAD, y), (lefts[level] + widths[level], y)]
        y, level = ports[edge] - top, levels[target]
        points += [(lefts[level] - rooms[level] - HEAD, y), (corners[target][0], y)]
        routes.append(points)
    width = lefts[-1] + widths[-1] if columns else 0.0
    return Layout([(x, y - top) for x, y in corners], routes, width, bottom - top)


def _levels(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return each box's layer: the longest path to it; what has no input, just before its use."""
    levels = [0] * count
    nearest: list[int | None] = [None] * count
    inner = {target for _, target in edges}
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        levels[target] = max(levels[target], levels[source] + 1)
    for source, target in edges:
        near = nearest[source]
        nearest[source] = levels[target] if near is None else min(near, levels[target])
    for box, near in enumerate(nearest):
        if box not in inner and near is not None:
            levels[box] = near - 1
    return levels


def _ordered(
    columns: list[list[int]], before: list[list[int]], after: list[list[int]]
) -> list[list[int]]:
    """Return the columns with few crossings: sweeps by barycentres, the best of them."""
    best, fewest = columns, _crossings(columns, after)
    columns = list(columns)
    for _ in range(8):
        for step, near in ((1, before), (-1, after)):
            sweep = range(len(columns))[::step]
            for previous, at in pairwise(sweep):
                columns[at] = _by_barycentre(columns[at], columns[previous], near)
            crossings = _crossings(columns, after)
            if crossings < fewest:
                best, fewest = list(columns), crossings
        if not fewest:
            break
    return best


def _by_barycentre(column: list[int], fixed: list[int], near: list[list[int]]) -> list[int]:
    """Return the column sorted by the mean place of each item's neighbours in `fixed`."""
    place = {item: (at + 0.5) / len(fixed) for at, item in enumerate(fixed)}
    wish = {item: (at + 0.5) / len(column) for at, item in enumerate(column)}
    for item in column:
        if near[item]:
            wish[item] = sum(place[n] for n in near[item]) / len(near[item])
    return sorted(column, key=wish.__getitem__)


def _crossings(columns: list[list[int]], after: list[list[int]]) -> int:
    total = 0
    for left, right in pairwise(columns):
        place = {item: at for at, item in enumerate(right)}
        seen: list[int] = []
        for item in left:
            ends = sorted(place[n] for n in after[item])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _heights(
    columns: list[list[int]],
    before: list[list[int]],
    after: list[list[int]],
    heights: Sequence[float],
) -> list[float]:
    """Return the middle of each item: near its neighbours' mean, in its column's order, apart."""
    middles = [0.0] * len(heights)
    for column in columns:
        for item, y in zip(column, _apart([0.0] * len(column), column, heights), strict=True):
            middles[item] = y
    both = [[*b, *a] for b, a in zip(before, after, strict=True)]
    for near in (before, after, before, after, *[both] * 10):
        for column in columns[::-1] if near is after else columns:
            wishes = [
                sum(middles[n] for n in near[i]) / len(near[i]) if near[i] else middles[i]
                for i in column
            ]
            for item, y in zip(column, _apart(wishes, column, heights), strict=True):
                middles[item] = y
    return middles


def _apart(wishes: list[float], column: list[int], heights: Sequence[float]) -> list[float]:
    """Return the heights nearest to the wishes, by least squares, at which nothing overlaps.

    Without its offset each item may be no higher than the one before, so this is isotonic
    regression: neighbours that would overlap are pooled at their mean.
    """
    offsets, y = [], 0.0
    for at, item in enumerate(column):
        if at:
            y += (heights[column[at - 1]] + heights[item]) / 2 + SEPARATION
        offsets.append(y)
    pools: list[tuple[float, int]] = []  # (sum of wishes, items)
    for wish, offset in zip(wishes, offsets, strict=True):
        total, count = wish - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            more, items = pools.pop()
            total, count = total + more, count + items
        pools.append((total, count))
    levels = [total / count for total, count in pools for _ in range(count)]
    return [level + offset for level, offset in zip(levels, offsets, strict=True)]


def _ports(
    edges: Sequence[tuple[int, int]], origins: Sequence[float], middles: Sequence[float]
) -> list[float]:
    """Return the height at which each edge enters its target: in the order they come from."""
    entering: dict[int, list[int]] = {}
    for edge, (_, target) in enumerate(edges):
        entering.setdefault(target, []).append(edge)
    ports = [0.0] * len(edges)
    for target, group in entering.items():
        for at, edge in enumerate(sorted(group, key=origins.__getitem__)):
            ports[edge] = middles[target] + (at - (len(group) - 1) / 2) * PORT
    return ports
