"""Cuts of an order that are soon made: how good the order will be, about."""

from __future__ import annotations

import bisect
import operator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_BISECTIONS, _CROSSING_BISECTIONS = 20, 9
# The part of what crosses the borders of a stage that is made or read in it, as cuts assume it:
# one cut for each.
_SHARES_READ = (1.0, 0.4)


def quick_cuts(
    order: npt.NDArray[np.int64],
    edges: npt.NDArray[np.int32],
    costs: Floats,
    transfers: Floats,
    num_stages: int,
) -> tuple[float, float]:
    """The heaviest stage of cuts of an order that are soon made.

    One is as even as can be without transfers; others fill each stage as far as a limit allows
    with what crosses its borders, under the least limit that is enough. The best cut, which takes a
    hundred times as long to find, costs less than these or as much.

    Args:
        order: int64 [num_ops], a topological order.
        edges: int32 [num_edges, 2], pairs (maker, reader).
        costs: [num_ops], what each op adds to its stage.
        transfers: [num_ops], what it takes to send what each op makes over a border, in both
            stages together, once into each stage that reads it.
        num_stages: Number of stages; as many as ops if that is less.

    Returns:
        That of the even cut without transfers, and the least one with them.
    """
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    makers, readers = place[edges[:, 0]], place[edges[:, 1]]
    num_stages = min(num_stages, len(order))
    sums = np.concatenate([[0.0], np.cumsum(costs[order])])
    even = _even_cut(sums.tolist(), num_stages)
    heaviest = float(np.diff(sums[even]).max())
    sent = transfers[order] / 2
    if not sent.any():
        return heaviest, heaviest
    cuts = [even]
    last = np.arange(len(order))
    np.maximum.at(last, makers, readers)
    crossing = np.concatenate([[0.0], np.cumsum(sent)])
    crossing -= np.cumsum(np.bincount(last + 1, sent, len(order) + 1))
    cuts += [_filled_cut(sums, share * crossing, heaviest, num_stages) for share in _SHARES_READ]
    return heaviest, min(_cut_cost(cut, makers, readers, sums, sent) for cut in cuts)


def _cut_cost(
    cut: list[int],
    makers: npt.NDArray[np.int64],
    readers: npt.NDArray[np.int64],
    sums: Floats,
    sent: Floats,
) -> float:
    """The cost of the heaviest stage of a cut."""
    num_stages = len(cut) - 1
    stage = np.repeat(np.arange(num_stages), np.diff(cut))
    loads = np.diff(sums[cut])
    crosses = stage[makers] != stage[readers]
    made, reading = makers[crosses], stage[readers[crosses]]
    leaving = np.unique(made)
    entering = np.unique(made * num_stages + reading)
    loads += np.bincount(stage[leaving], sent[leaving], num_stages)
    loads += np.bincount(entering % num_stages, sent[entering // num_stages], num_stages)
    return float(loads.max())


def _even_cut(sums: list[float], num_stages: int) -> list[int]:
    """Borders of intervals, the heaviest of which is as light as can be, up to rounding."""
    low = max(sums[-1] / num_stages, *map(operator.sub, sums[1:], sums), 0.0)
    high = sums[-1]
    best = _cut_within(sums, low, num_stages)
    if best is not None:
        return best
    best = [*range(num_stages), len(sums) - 1]
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        cut = _cut_within(sums, middle, num_stages)
        if cut is None:
            low = middle
        else:
            best, high = cut, middle
    return best


def _cut_within(sums: list[float], limit: float, num_stages: int) -> list[int] | None:
    """Borders of intervals as long as a limit allows; `None` if these are not enough."""
    cut, last = [0], len(sums) - 1
    limit *= 1 + 1e-9
    for stages_left in range(num_stages - 1, 0, -1):
        stop = bisect.bisect_right(sums, sums[cut[-1]] + limit) - 1
        cut.append(min(max(stop, cut[-1] + 1), last - stages_left))
    return [*cut, last] if sums[last] - sums[cut[-1]] <= limit else None


def _filled_cut(sums: Floats, crossing: Floats, low: float, num_stages: int) -> list[int]:
    """The same with what crosses both borders, of which not all need be read in between."""
    ends, starts = sums + crossing, sums - crossing
    last = len(sums) - 1
    best = [*range(num_stages), last]
    high = low + 2 * float(crossing.max())
    for _ in range(_CROSSING_BISECTIONS):
        middle = (low + high) / 2
        cut = [0]
        for stages_left in range(num_stages - 1, 0, -1):
            first = cut[-1] + 1
            kept = ends[first : last - stages_left + 1] <= starts[cut[-1]] + middle
            # Not the furthest border, but the one from which the next can be furthest.
            reach = np.where(kept, starts[first : last - stages_left + 1], -np.inf)
            chosen = int(reach.argmax())
            if not kept[chosen]:
                break
            cut.append(first + chosen)
        if len(cut) == num_stages and ends[last] <= starts[cut[-1]] + middle:
            best, high = [*cut, last], middle
        else:
            low = middle
    return best
