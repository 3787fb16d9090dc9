"""What plans build on: boundaries as nodes, stages as pairs of them, chains, and their costs."""

from respect_tf.scheduling._arguments import checked_count, deadline_after
from respect_tf.scheduling._chain import MAX_WORK, Budget, BudgetExceededError
from respect_tf.scheduling._device_objectives import (
    DeviceObjective,
    ReplicatedThroughput,
    stage_device,
)
from respect_tf.scheduling._intervals import IntervalNodes
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._linear_bound import LOOSER
from respect_tf.scheduling._orders import distinct_orders
from respect_tf.scheduling._pair_chains import PairChains, best_pairs
from respect_tf.scheduling._pair_values import PairValues
from respect_tf.scheduling._pairs import find_nodes, some_nodes
from respect_tf.scheduling._problem import Bools, Floats, build_problem
from respect_tf.scheduling._stage_batch import Nodes
from respect_tf.scheduling._under_load import NUM_LIMITS

__all__ = [
    "LOOSER",
    "MAX_WORK",
    "NUM_LIMITS",
    "Bools",
    "Budget",
    "BudgetExceededError",
    "DeviceObjective",
    "Floats",
    "IntervalNodes",
    "Ints",
    "Nodes",
    "PairChains",
    "PairValues",
    "ReplicatedThroughput",
    "best_pairs",
    "build_problem",
    "checked_count",
    "deadline_after",
    "distinct_orders",
    "find_nodes",
    "some_nodes",
    "stage_device",
]
