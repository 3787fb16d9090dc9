"""`Problem`: what the solvers see of a graph, an objective and a number of stages."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError, ScheduleError
from respect_tf._exact_sums import EXACT, on_grid
from respect_tf.graph import Links, OpGraph, links_of
from respect_tf.scheduling._arguments import checked_count
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._items import (
    Ints,
    Restrictions,
    merge_colocated,
    restrict,
    topological_items,
)
from respect_tf.scheduling._objective import LinearCost, Objective

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """A graph whose ops that must share a stage are merged into items.

    Items are numbered in a topological order. All amounts are float64 on a grid on which their
    sums are exact: whole numbers below 2**53, or, where the graph has fractions, multiples of a
    power of two some 2**-50 of their sum. Equal costs are therefore equal numbers, whatever the
    order of the additions.

    Attributes:
        linear: The linear form of the objective.
        integral: Whether all costs are whole numbers.
        item_of: int64 [num_ops], the item of each op.
        edges: int64 [num_edges, 2], distinct pairs of items, the first smaller than the second,
            sorted.
        op_costs: [num_items], linear cost of the items' ops.
        output_bytes: [num_items], outputs of the model made in each item: they leave any stage.
        tensor_items: int64 [num_tensors], the item that makes each tensor that is read outside
            the item that makes it; -1 for inputs of the model.
        tensor_bytes: [num_tensors].
        tensor_weights: [num_tensors], what a tensor that leaves weighs beside its bytes, as
            `Objective.tensor_weights` has it.
        output_weights: [num_items], the same of the model's outputs made in each item.
        tensor_leaves: bool [num_tensors], whether it leaves the stage that makes it because a
            later stage reads it: not so for the model's inputs, and the model's outputs leave in
            any case.
        reader_offsets: int64 [num_tensors + 1], rows of `reader_items`.
        reader_items: int64 [num_reads], items that read each tensor, ascending in each row.
        constraints: What schedules have to keep; `None` where there is nothing.
        restrictions: The same for items.
    """

    graph: OpGraph
    num_stages: int
    objective: Objective
    linear: LinearCost
    integral: bool
    item_of: Ints
    edges: Ints
    op_costs: Floats
    output_bytes: Floats
    tensor_items: Ints
    tensor_bytes: Floats
    tensor_weights: Floats
    output_weights: Floats
    tensor_leaves: Bools
    reader_offsets: Ints
    reader_items: Ints
    constraints: Constraints | None = None
    restrictions: Restrictions | None = None

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.op_costs)

    @property
    def combine(self) -> str:
        """`"max"` or `"sum"`, as the objective has it."""
        return self.objective.combine

    @functools.cached_property
    def weights(self) -> Floats:
        """What an item adds to the cost of any stage that holds it. [num_items]."""
        return self.op_costs + self.linear.leave * self.output_bytes

    @functools.cached_property
    def slack(self) -> float:
        """How much bounds are loosened against rounding; 0 where costs are whole numbers."""
        if self.integral:
            return 0.0
        moved = self.tensor_bytes.sum()
        return 1e-12 * float(self.cost(self.op_costs.sum(), moved, moved + self.output_bytes.sum()))

    @functools.cached_property
    def has_one_order(self) -> bool:
        """Whether each item needs the one before it: then every schedule is a cut of one order."""
        before, after = self.edges.T
        return int((after - before == 1).sum()) == self.num_items - 1

    @functools.cached_property
    def stage_order(self) -> Ints:
        """Items by the first op that they hold: schedules compare in this order. [num_items]."""
        first = np.full(self.num_items, self.graph.num_ops, np.int64)
        np.minimum.at(first, self.item_of, np.arange(self.graph.num_ops))
        return np.argsort(first)

    @functools.cached_property
    def predecessors(self) -> list[list[int]]:
        """Items that each item needs, ascending."""
        rows: list[list[int]] = [[] for _ in range(self.num_items)]
        for before, after in self.edges.tolist():
            rows[after].append(before)
        return rows

    @functools.cached_property
    def links(self) -> Links:
        """The edges of items, as compressed rows both ways."""
        return links_of(self.edges, self.num_items)

    def readers_of(self, tensors: Ints) -> tuple[Ints, Ints]:
        """The readers of some tensors, one after the other, and where each tensor's begin."""
        counts = self.reader_offsets[tensors + 1] - self.reader_offsets[tensors]
        starts = np.cumsum(counts) - counts
        shift = np.repeat(self.reader_offsets[tensors] - starts, counts)
        return self.reader_items[shift + np.arange(len(shift))], starts

    def cost(self, op_costs: Any, entering: Any, leaving: Any) -> Any:
        """Linear stage cost from sums over its ops and tensors; numbers or arrays.

        One formula for all solvers, so that equal schedules get equal costs to the last bit.
        """
        linear = self.linear
        if linear.enter == linear.leave:
            return op_costs if linear.enter == 0 else op_costs + linear.enter * (entering + leaving)
        return op_costs + linear.enter * entering + linear.leave * leaving

    @property
    def rooms(self) -> Floats | None:
        """The most parameter bytes of each stage; `None` for no limits. [num_stages]."""
        return self.restrictions.rooms if self.restrictions else None

    def lower_bound(self) -> float:
        """A bound that needs no search.

        Merging stages never adds up to more than they cost apart, so all of them together cost at
        least what the whole graph costs as one stage; the dearest costs at least its share. Of the
        `m * num_stages + 1` heaviest items, some stage holds `m + 1` or more.
        """
        entering = self.tensor_bytes[self.tensor_items < 0].sum()
        merged = float(self.cost(self.op_costs.sum(), entering, self.output_bytes.sum()))
        if not self.linear.exact:
            least = self.objective.least_cost(self.graph)
            return max(least, merged if self.combine == "sum" else merged / self.num_stages)
        if self.combine == "sum":
            return merged
        share = math.ceil(merged / self.num_stages) if self.integral else merged / self.num_stages
        sums = np.concatenate([[0.0], np.cumsum(np.sort(self.weights)[::-1])])
        last = np.arange(0, self.num_items, self.num_stages)
        crowded = sums[last + 1] - sums[last - last // self.num_stages]
        return max(float(share), float(crowded.max()))

    def stages_of_ops(self, stages_of_items: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Stages of ops from stages of items. int32 [num_ops]."""
        return stages_of_items[self.item_of].astype(np.int32)

    def item_order(self, op_order: npt.ArrayLike) -> Ints:
        """A topological order of items that follows one of ops, int [num_ops], where it can."""
        order = np.array(op_order)
        num_ops = self.graph.num_ops
        if (
            order.shape != (num_ops,)
            or order.dtype.kind not in "iu"
            or not np.array_equal(np.sort(order), np.arange(num_ops))
        ):
            raise ScheduleError(
                f"An order must list each op from 0 to {num_ops - 1} once. "
                f"Received: {order.dtype} {list(order.shape)}."
            )
        position = np.empty(num_ops, np.int64)
        position[order] = np.arange(num_ops)
        edges = self.graph.edges
        broken = np.flatnonzero(position[edges[:, 0]] > position[edges[:, 1]])
        if len(broken):
            maker, reader = edges[broken[0]].tolist()
            raise ScheduleError(
                f"The order has {self.graph.describe_op(reader)} before "
                f"{self.graph.describe_op(maker)}, which it reads from. Expected a topological "
                "order."
            )
        if self.num_items == num_ops:
            items: Ints = self.item_of[order]
            return items
        first = np.full(self.num_items, num_ops, np.int64)
        np.minimum.at(first, self.item_of, position)
        return topological_items(self.edges, first)


def build_problem(
    graph: OpGraph,
    num_stages: int,
    objective: Objective,
    constraints: Constraints | None = None,
) -> Problem:
    """Merge ops that must share a stage, and bring amounts to a grid with exact sums.

    Raises what `schedule` says of numbers of stages, amounts and constraints.
    """
    num_stages = checked_count("num_stages", num_stages)
    if num_stages > graph.num_ops:
        raise ScheduleError(
            f"{num_stages} stages need {num_stages} ops, one each. The graph has {graph.num_ops}: "
            f"ask for {graph.num_ops} stages or fewer."
        )
    objective = objective.for_stages(num_stages)
    groups = []
    if constraints:
        constraints.check(graph, num_stages)
        groups = constraints.shared(graph)
    item_of, edges = merge_colocated(graph, [ops for ops, _ in groups])
    num_items = int(item_of.max()) + 1
    if num_stages > num_items:
        reason = max(groups, key=lambda group: len(group[0]), default=None)
        example = ""
        if reason is not None:
            shown = ", ".join(map(graph.describe_op, reason[0][:4]))
            more = ", ..." if len(reason[0]) > 4 else ""
            example = f" For example, {shown}{more} are together because {reason[1]}."
        raise ScheduleError(
            f"The graph's {graph.num_ops} ops form {num_items} groups that each must stay in one "
            f"stage. Received: {num_stages} stages; ask for {num_items} or fewer.{example}"
        )
    restrictions = None
    if constraints:
        op_bytes = on_grid("parameter bytes", graph.parameter_bytes, 1)
        restrictions = restrict(graph, num_stages, constraints, item_of, edges, op_bytes)
    linear = _checked_linear(graph, objective)
    op_costs = on_grid("op costs", linear.op_costs, 1)
    # A tensor counts at most twice per stage, and a few times more in the solvers' partial sums.
    tensor_bytes = on_grid("tensor bytes", graph.tensor_bytes, 4 * (num_stages + 1))
    rate = float(linear.enter) + float(linear.leave)
    most = float(op_costs.sum() + rate * num_stages * tensor_bytes.sum())

    producer = graph.producer
    made = np.unique(graph.model_outputs[producer[graph.model_outputs] >= 0])
    weights = objective.tensor_weights(graph)
    is_source = producer >= 0
    is_source[graph.model_inputs] = True
    maker = np.where(producer >= 0, item_of[producer], -1)
    read_ops, read_tensors = graph.reads
    outside = is_source[read_tensors] & (maker[read_tensors] != item_of[read_ops])
    keys = np.unique(
        read_tensors[outside].astype(np.int64) * num_items + item_of[read_ops[outside]]
    )
    tensors, starts = np.unique(keys // num_items, return_index=True)
    return Problem(
        graph=graph,
        num_stages=num_stages,
        objective=objective,
        linear=linear,
        integral=linear.exact
        and linear.op_costs.dtype.kind in "iu"
        and (graph.tensor_bytes.dtype.kind in "iu" or rate == 0)
        and float(linear.enter).is_integer()
        and float(linear.leave).is_integer()
        and most < EXACT,
        item_of=item_of,
        edges=edges,
        op_costs=_item_sums(item_of, op_costs, num_items),
        output_bytes=_item_sums(item_of[producer[made]], tensor_bytes[made], num_items),
        tensor_items=maker[tensors],
        tensor_bytes=tensor_bytes[tensors],
        tensor_weights=weights[tensors],
        output_weights=_item_sums(item_of[producer[made]], weights[made], num_items),
        tensor_leaves=(maker[tensors] >= 0) & ~graph.is_model_output[tensors],
        reader_offsets=np.append(starts, len(keys)).astype(np.int64),
        reader_items=keys % num_items,
        constraints=constraints,
        restrictions=restrictions,
    )


def _item_sums(items: Ints, values: Floats, num_items: int) -> Floats:
    sums: npt.NDArray[Any] = np.bincount(items, weights=values, minlength=num_items)
    return sums


def _checked_linear(graph: OpGraph, objective: Objective) -> LinearCost:
    linear = objective.linear_cost(graph)
    op_costs = np.asarray(linear.op_costs)
    if op_costs.shape != (graph.num_ops,) or op_costs.dtype.kind not in "iuf":
        raise ArgumentError(
            f"op_costs of the objective {objective.name} must be numbers of the shape "
            f"[{graph.num_ops}]. Received: {op_costs.dtype} {list(op_costs.shape)}."
        )
    bad = np.flatnonzero(~np.isfinite(op_costs) | (op_costs < 0))
    if len(bad):
        raise ArgumentError(
            f"The objective {objective.name} gives {graph.describe_op(int(bad[0]))} the cost "
            f"{op_costs[bad[0]]}. Expected a finite number, 0 or more."
        )
    for name in ("enter", "leave"):
        value = getattr(linear, name)
        if not (math.isfinite(value) and value >= 0):
            raise ArgumentError(
                f"The objective {objective.name} has the cost per byte {name}={value!r}. Expected "
                "a finite number, 0 or more."
            )
    return linear
