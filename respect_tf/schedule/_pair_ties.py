"""Ties among the chains of least cost, of which bounds are known, and values where it matters."""

from __future__ import annotations

import numpy as np

from respect_tf.schedule._chain import Budget
from respect_tf.schedule._items import Ints
from respect_tf.schedule._pair_chains import PairChains
from respect_tf.schedule._pair_values import PairValues
from respect_tf.schedule._pairs import Nodes
from respect_tf.schedule._problem import Floats
from respect_tf.schedule._tie_break import StagePairs, best_path

# True values asked for at once.
_ASKED = 100


def best_pairs(
    nodes: Nodes, chains: PairChains, values: PairValues, limit: float, budget: Budget
) -> Ints:
    """The best chain of all that keep a limit. int64 [num_stages], pairs.

    Bounds do until a chain turns out to be the best one: its stages have to be known.

    Args:
        nodes: The nodes.
        chains: The chains; those that do not keep the limit are left out.
        values: What pairs cost; some more are asked for.
        limit: What stages may cost, and put on what they share, together; some chain keeps it.
        budget: What may be used.

    Raises:
        BudgetExceededError: It takes too long.
    """
    crossing = values.pairs.entering + values.pairs.leaving
    while True:
        budget.check_time()
        chains.keep([values.costs[stage] <= limit for stage in chains.stages])
        if values.loads.any():
            chains.keep([part <= limit for part in chains.completions(values.loads, np.add)])
        through = chains.completions(crossing, np.add)
        fewest = through[0].min()
        parts = zip(chains.stages, through, strict=True)
        tight = [stage[part <= fewest] for stage, part in parts]
        if values.known[np.concatenate(tight)].all():
            path = best_path(nodes, _described(values, tight), limit)
            if path is None:  # loads forbid the fewest crossing bytes
                path = best_path(nodes, _described(values, chains.stages), limit)
            if path is None:
                raise AssertionError("A chain that keeps the limit was lost.")
            used = chains.pairs_of(path)
            if values.known[used].all():
                return used
            values.ask(used)
            continue
        least: Floats = np.full(len(values.pairs), np.inf)
        for stage, part in zip(chains.stages, through, strict=True):
            least[stage] = np.minimum(least[stage], part)
        asked = np.flatnonzero(np.isfinite(least) & ~values.known)
        values.ask(asked[np.argsort(least[asked], kind="stable")[:_ASKED]])


def _described(values: PairValues, stages: list[Ints]) -> list[StagePairs]:
    pairs = values.pairs
    return [
        (
            pairs.rows[stage],
            pairs.columns[stage],
            pairs.entering[stage] + pairs.leaving[stage],
            values.loads[stage],
        )
        for stage in stages
    ]
