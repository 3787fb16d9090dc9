"""What each item of a problem needs."""

from __future__ import annotations

import numpy as np

from respect_tf.scheduling._problem import Bools, Problem


def closure_of(problem: Problem) -> Bools:
    """The items that each needs, itself too. bool [num_items, num_items]."""
    needs = np.eye(problem.num_items, dtype=bool)
    for item, before in enumerate(problem.predecessors):
        if before:
            needs[item] |= needs[before].any(axis=0)
    return needs
