"""Ties among the chains of least cost: fewest streamed bytes, then fewest crossing bytes.

Bounds of streamed bytes do until a chain turns out to be the best one: its stages have to be known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._pair_chains import PairChains
from respect_tf.scheduling._pair_values import PairValues
from respect_tf.scheduling._problem import Floats

# True values asked for at once.
_ASKED = 100

# Partial chains that are kept for one boundary; more of them only if loads force it.
_MAX_LABELS = 20_000

# Sums of bytes are told apart down to this part of them.
_ROUNDING = 1e-12


def best_pairs(
    chains: PairChains, values: PairValues, limit: float, num_rounds: int, budget: Budget
) -> Ints:
    """The best chain of all that keep a limit. int64 [num_stages], pairs.

    Args:
        chains: The chains; those that do not keep the limit are left out.
        values: What pairs cost; some more are asked for.
        limit: What stages may cost, and put on what they share, together; some chain keeps it.
        num_rounds: How often values may be asked for to find the fewest streamed bytes; where that
            is not enough, the chain with fewest crossing bytes is the best.
        budget: What may be used.

    Raises:
        BudgetExceededError: It takes too long.
    """
    crossing = values.pairs.entering + values.pairs.leaving
    found = _best(chains, values, [values.streamed, crossing], limit, num_rounds, budget)
    while found is None:
        found = _best(chains, values, [crossing], limit, num_rounds, budget)
    return found


def _best(
    chains: PairChains,
    values: PairValues,
    keys: Sequence[Floats],
    limit: float,
    num_rounds: int,
    budget: Budget,
) -> Ints | None:
    """The chain whose keys are least, the first one first; `None` if it is not known by then."""
    for _ in range(num_rounds):
        budget.check_time()
        chains.keep([values.costs[stage] <= limit for stage in chains.stages])
        if values.loads.any():
            chains.keep([part <= limit for part in chains.completions(values.loads, np.add)])
        tight = chains
        for key in keys:
            through = tight.completions(key, np.add)
            fewest = through[0].min(initial=np.inf) * (1 + _ROUNDING)
            tight = tight.only([part <= fewest for part in through])
        path = tight.lightest_path(values.loads)
        if path is None or values.loads[path].sum() > limit:  # loads forbid the least keys
            path = _within_load(chains, keys, values.loads, limit)
        unknown = path[~values.known[path]]
        if len(unknown) == 0:
            return path
        near = np.unique(np.concatenate(tight.stages))
        values.ask(np.union1d(unknown, near[~values.known[near]][:_ASKED]))
    return None


def _within_load(chains: PairChains, keys: Sequence[Floats], loads: Floats, limit: float) -> Ints:
    """The chain whose keys are least among those that keep a limit of their load.

    Of partial chains up to a node, one with larger keys is worth keeping only for a lower load.
    Where too many are, those with the least keys are kept, and one of least load.
    """
    after = _to_end(chains, loads)
    node, load = np.zeros(1, np.int64), np.zeros(1)
    sums = np.zeros((len(keys), 1))
    history: list[tuple[Ints, Ints]] = []  # for each stage, parents and pairs of its labels
    for k, stage in enumerate(chains.stages):
        rows = chains.rows[k]
        by_row = np.argsort(rows, kind="stable")
        first = np.searchsorted(rows[by_row], node)
        count = np.searchsorted(rows[by_row], node, side="right") - first
        parent = np.repeat(np.arange(len(node)), count)
        shift = np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count)
        which = by_row[np.repeat(first, count) + shift]
        end, pair = chains.columns[k][which], stage[which]
        heavier = load[parent] + loads[pair]
        good = heavier + after[k + 1][end] <= limit
        parent, pair, end, heavier = parent[good], pair[good], end[good], heavier[good]
        larger = np.stack([row[parent] + key[pair] for row, key in zip(sums, keys, strict=True)])
        place = np.lexsort((heavier, *larger[::-1], end))
        place = place[_worth_keeping(end[place], heavier[place])]
        node, load, sums = end[place], heavier[place], larger[:, place]
        history.append((parent[place], pair[place]))
        if len(node) == 0:
            raise ScheduleError(
                "A chain that keeps the limit of the load was lost. This is an error in "
                "respect_tf: please report it with the graph."
            )
    at, path = 0, []  # of the last node there may be several: the first is the best
    for parents, pairs in reversed(history):
        path.append(int(pairs[at]))
        at = int(parents[at])
    return np.array(path[::-1])


def _worth_keeping(node: Ints, load: Floats) -> Ints:
    """Of sorted labels, those with less load than all before them at their node."""
    kept: list[Ints] = []
    left = np.arange(len(node))
    while len(left):
        is_first = np.append(True, node[left][1:] != node[left][:-1])
        first = left[is_first]
        if sum(len(part) for part in kept) + len(first) > _MAX_LABELS and kept:
            order = left[np.lexsort((load[left], node[left]))]
            kept.append(order[np.append(True, node[order][1:] != node[order][:-1])])
            break
        kept.append(first)
        group = np.cumsum(is_first) - 1
        left = left[load[left] < load[first][group]]
    return np.unique(np.concatenate(kept)) if kept else left


def _to_end(chains: PairChains, loads: Floats) -> list[Floats]:
    """The least load from each node to the end, after each number of stages."""
    left = [np.full(chains.num_nodes, np.inf)]
    left[0][-1] = 0.0
    for k in reversed(range(len(chains.stages))):
        best = np.full(chains.num_nodes, np.inf)
        rest = loads[chains.stages[k]] + left[-1][chains.columns[k]]
        np.minimum.at(best, chains.rows[k], rest)
        left.append(best)
    return left[::-1]
