"""Ties among the chains of least cost: fewest streamed bytes, then fewest crossing bytes.

Bounds of streamed bytes do until a chain turns out to be the best one: its stages have to be known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from respect_tf.scheduling._chain import Budget, BudgetExceededError
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._pair_chains import PairChains
from respect_tf.scheduling._pair_values import PairValues
from respect_tf.scheduling._problem import Floats

# True values asked for at once.
# benchmarks constants: half and twice the same.
_ASKED = 100

# Sums of bytes are told apart down to this part of them.
_ROUNDING = 1e-12


def best_pairs(
    chains: PairChains, values: PairValues, limit: float, num_rounds: int, budget: Budget
) -> Ints:
    """The best chain of all that keep a limit, which some chain keeps. int64 [num_stages], pairs.

    So many rounds, values may be asked for to find the fewest streamed bytes; where that is not
    enough, the chain with fewest crossing bytes is the best.
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
        if path is None or values.loads[path].sum() > limit:
            # Loads forbid the least keys, as in none of 691 ties (107 graphs on nine hosts and
            # links): the chain of least load has to do.
            path = chains.lightest_path(values.loads)
            if path is None:
                raise BudgetExceededError
        unknown = path[~values.known[path]]
        if len(unknown) == 0:
            return path
        near = np.unique(np.concatenate(tight.stages))
        values.ask(np.union1d(unknown, near[~values.known[near]][:_ASKED]))
    return None
