"""What a schedule costs: the interface of objectives, and peak memory.

A schedule costs what its dearest stage costs or, if that is more, what all stages together put on
something they share, such as a bus; or what all stages cost together.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf._reals import is_real
from respect_tf.device import EdgeTpu, Hosts
from respect_tf.scheduling._linear_bound import LOOSER, Bools, Floats, LinearBound, RoomBound

if TYPE_CHECKING:
    from respect_tf.graph import OpGraph
    from respect_tf.scheduling._schedule import Schedule
    from respect_tf.scheduling._stage_batch import StageBatch

Number = int | float


@dataclasses.dataclass(frozen=True, eq=False)
class LinearCost:
    """A stage cost that is a sum, or a lower bound of one that is not.

    stage cost = sum of `op_costs` over the stage's ops + `enter` * bytes that enter + `leave` *
    bytes that leave, bytes being those of distinct tensors.

    Attributes:
        op_costs: int64 or float64 [num_ops], 0 or more.
        enter: Cost per byte that enters, 0 or more.
        leave: Cost per byte that leaves, 0 or more.
        exact: Whether this is the stage cost itself. `False` says that it is a lower bound, which
            solvers use to discard stages before they ask for the true cost of the rest.
    """

    op_costs: npt.NDArray[Any]
    enter: float = 0.0
    leave: float = 0.0
    exact: bool = True


class Objective(abc.ABC):
    """What schedulers minimise.

    A stage has a cost that depends on its ops and on the tensors that enter and leave it; a
    schedule costs the largest of its stages' costs or their sum.
    """

    @property
    def combine(self) -> Literal["max", "sum"]:
        """Whether a schedule costs what its dearest stage costs, or what all stages cost."""
        return "max"

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What `Schedule.objective` says; all but objectives of one's own are rebuilt from it."""

    @property
    def device(self) -> EdgeTpu | Hosts | None:
        """The device that costs are about, if they are about one."""
        return None

    def for_stages(self, num_stages: int) -> Objective:
        """The objective for schedules of that many stages, where stage costs depend on it."""
        del num_stages
        return self

    @abc.abstractmethod
    def stage_cost(
        self, graph: OpGraph, ops: Sequence[int], entering: Sequence[int], leaving: Sequence[int]
    ) -> Number:
        """The cost of one stage: this method is the definition.

        Args:
            graph: The graph that is scheduled.
            ops: The stage's ops, ascending.
            entering: Distinct tensors that an op of it reads and an earlier stage or the model's
                input made, ascending.
            leaving: Distinct tensors made in it that a later stage reads or that are outputs of
                the model, ascending.

        Returns:
            A finite number, 0 or more.
        """

    def batch_costs(self, stages: StageBatch, limit: float) -> Floats:
        """The costs of many stages at once, for solvers; asked for where no sum says it all.

        Objectives that can compute them from sums and maxima over ops and from bytes that enter and
        leave, for arrays, should: this one asks `stage_cost` for each of them.

        Args:
            stages: The stages.
            limit: Stages that cost more need not be told apart: any number above it will do, so
                what is dear can be left to the others (`stages.select`).

        Returns:
            float64 [len(stages)], what `stage_cost` gives for each, up to rounding.
        """
        del limit
        costs = [self.stage_cost(stages.graph, *stages.parts(i)) for i in range(len(stages))]
        return np.array(costs, np.float64)

    @abc.abstractmethod
    def linear_cost(self, graph: OpGraph) -> LinearCost:
        """The same cost as a sum, or a lower bound of every stage's cost that is one."""

    def total_cost(self, stage_costs: Sequence[Number], loads: Sequence[Number] = ()) -> Number:
        """The cost of a schedule from the costs and the shared loads of its stages."""
        if self.combine == "sum":
            return exact_sum(stage_costs)
        return max(*stage_costs, exact_sum(loads))

    # What follows is for solvers: objectives that know more about their costs say more.

    @property
    def is_batched(self) -> bool:
        """Whether it has a way of its own to cost many stages at once."""
        return type(self).batch_costs is not Objective.batch_costs

    def batch_bounds(
        self, stages: StageBatch, *, closely: bool, num_parts: npt.NDArray[Any] | int = 1
    ) -> tuple[Floats, Floats, Floats, Bools]:
        """Lower bounds of the costs, of the shared loads and of the bytes that are streamed.

        With `combine` `"sum"` there is no shared load: the stage costs are what is added up.

        Args:
            stages: The stages.
            num_parts: What is asked about is not each stage but the sums over so many stages that
                it is cut into; a number or [len(stages)].
            closely: Whether bounds may take some time: not where all stages are asked about.

        Returns:
            Costs, loads, streamed bytes, and where they are no bounds but the values. Each
            [len(stages)].
        """
        nothing = np.zeros(len(stages))
        # Where many stages are costed at once, their values are no dearer than bounds.
        if closely and self.is_batched and np.all(np.asarray(num_parts) == 1):
            return *self.batch_values(stages), np.ones(len(stages), bool)
        linear = self.linear_cost(stages.graph)  # merged into one, stages cost no more together
        costs = stages.op_sums(linear.op_costs) + linear.enter * stages.entering_bytes
        costs += linear.leave * stages.leaving_bytes
        return LOOSER * costs, nothing, nothing.copy(), np.zeros(len(stages), bool)

    def batch_values(self, stages: StageBatch) -> tuple[Floats, Floats, Floats]:
        """Costs, shared loads and streamed bytes themselves, up to rounding. [len(stages)] each.

        Raises:
            ArgumentError: The objective gives another number of costs, or one that is negative or
                not finite.
        """
        costs = np.asarray(self.batch_costs(stages, np.inf), np.float64)
        if costs.shape != (len(stages),) or not (np.isfinite(costs) & (costs >= 0)).all():
            raise ArgumentError(
                f"The objective {self.name} must give {len(stages)} stages as many costs, finite "
                f"and 0 or more. Received: the shape {list(costs.shape)}, least "
                f"{costs.min(initial=np.inf)}, largest {costs.max(initial=-np.inf)}."
            )
        return costs, np.zeros(len(stages)), np.zeros(len(stages))

    def linear_bounds(self, graph: OpGraph) -> list[LinearBound]:
        """Sums over each stage that the cost of a schedule is not below."""
        linear, sizes = self.linear_cost(graph), graph.tensor_bytes.astype(np.float64)
        return [
            LinearBound(
                np.asarray(linear.op_costs, np.float64),
                0.0,
                float(linear.enter) * sizes,
                float(linear.leave) * sizes,
                np.ones(len(graph.reads[0]), bool),
                is_shared=self.combine == "sum",
            )
        ]

    def room_bounds(self, graph: OpGraph) -> list[RoomBound]:
        """Sums over each stage, less what caching saves, that no schedule costs less than."""
        del graph
        return []

    def tensor_weights(self, graph: OpGraph) -> Floats:
        """What a tensor that leaves a stage weighs beside its bytes: whole numbers. [num_tensors].

        `StageBatch.leaving_weights` has their sums.
        """
        return np.zeros(graph.num_tensors)

    def least_cost(self, graph: OpGraph) -> float:
        """A lower bound of every schedule's cost that needs no search, beside the linear one."""
        del graph
        return 0.0

    def schedule_cost(self, graph: OpGraph, schedule: Schedule) -> Number:
        """The cost of a valid schedule: the definition, to the last bit."""
        return self.total_cost(stage_costs(graph, schedule, self))

    def stage_value(
        self, graph: OpGraph, ops: Sequence[int], entering: Sequence[int], leaving: Sequence[int]
    ) -> tuple[Number, Number]:
        """`stage_cost`, and what the stage adds to the shared load."""
        return self.stage_cost(graph, ops, entering, leaving), 0.0


@dataclasses.dataclass(frozen=True)
class PeakMemory(Objective):
    """The largest stage: parameter bytes + weight * (bytes that enter + bytes that leave).

    Costs are whole bytes, as `int`, where the graph's bytes and the weight are whole numbers.

    Attributes:
        communication_weight: 0 or more; 0 counts parameter bytes only.

    Raises:
        ArgumentError: The weight is negative, NaN or infinite.
    """

    communication_weight: float = 0.0

    def __post_init__(self) -> None:
        weight = self.communication_weight
        if not is_real(weight) or not math.isfinite(weight) or weight < 0:
            raise ArgumentError(
                f"communication_weight must be a finite number, 0 or more. Received: {weight!r}."
            )
        object.__setattr__(self, "communication_weight", float(weight))

    @property
    def name(self) -> str:
        """`"memory"`, or `"memory(communication_weight=W)"`."""
        if self.communication_weight == 0:
            return "memory"
        return f"memory(communication_weight={self.communication_weight!r})"

    def stage_cost(
        self, graph: OpGraph, ops: Sequence[int], entering: Sequence[int], leaving: Sequence[int]
    ) -> Number:
        """Parameter bytes of the ops + weight * bytes of the tensors that enter or leave."""
        parameters = exact_sum(graph.parameter_bytes[list(ops)].tolist())
        weight = self.communication_weight
        if weight == 0:
            return parameters
        moved = exact_sum(graph.tensor_bytes[[*entering, *leaving]].tolist())
        return parameters + (int(weight) if weight.is_integer() else weight) * moved

    def linear_cost(self, graph: OpGraph) -> LinearCost:
        """The definition itself: it is a sum already."""
        weight = self.communication_weight
        return LinearCost(graph.parameter_bytes, enter=weight, leave=weight)


def exact_sum(values: Sequence[Number]) -> Number:
    """A sum that does not depend on the order: of `int` exactly, else rounded once."""
    return sum(values) if all(isinstance(value, int) for value in values) else math.fsum(values)


def stage_costs(graph: OpGraph, schedule: Schedule, objective: Objective) -> list[Number]:
    """The cost of each stage of a valid schedule, straight from the definitions.

    Args:
        graph: The graph.
        schedule: A valid schedule for it.
        objective: Whose costs to compute.

    Returns:
        One number per stage; 0 for CPU stages.
    """
    objective = objective.for_stages(schedule.num_stages)
    stages: list[int] = schedule.stages.tolist()
    ops: list[list[int]] = [[] for _ in range(schedule.num_stages)]
    entering: list[set[int]] = [set() for _ in range(schedule.num_stages)]
    leaving: list[set[int]] = [set() for _ in range(schedule.num_stages)]
    producer = graph.producer.tolist()
    model_inputs = set(graph.model_inputs.tolist())
    for op, stage in enumerate(stages):
        ops[stage].append(op)
    for reader, tensor in zip(*(array.tolist() for array in graph.reads), strict=True):
        maker = producer[tensor]
        if maker < 0:
            if tensor in model_inputs:
                entering[stages[reader]].add(tensor)
        elif stages[maker] < stages[reader]:
            entering[stages[reader]].add(tensor)
            leaving[stages[maker]].add(tensor)
    for tensor in graph.model_outputs.tolist():
        if producer[tensor] >= 0:
            leaving[stages[producer[tensor]]].add(tensor)
    return [
        0
        if stage in schedule.cpu_stages
        else objective.stage_cost(
            graph, ops[stage], sorted(entering[stage]), sorted(leaving[stage])
        )
        for stage in range(schedule.num_stages)
    ]
