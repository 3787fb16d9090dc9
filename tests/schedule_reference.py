"""Slow, plain code that tests compare the solvers with, and graphs for them."""

import dataclasses
import itertools

import numpy as np
from hypothesis import strategies as st

from respect_tf.graph import OpGraph
from respect_tf.scheduling import LinearCost, Objective
from respect_tf.scheduling._objective import exact_sum


def make_graph(parameters, outputs, edges, *, colocated=(), model_inputs=(), more_outputs=()):
    """A graph like from_arrays, with shared stages, model inputs and outputs that have readers.

    model_inputs: pairs (bytes, reading ops).
    """
    graph = OpGraph.from_arrays(parameters, outputs, edges)
    fields = {}
    if model_inputs:
        first = graph.num_tensors
        reads = [[] for _ in range(graph.num_ops)]
        for op in range(graph.num_ops):
            reads[op] = graph.inputs_of(op).tolist()
        for index, (_, readers) in enumerate(model_inputs):
            for op in readers:
                reads[op].append(first + index)
        count = len(model_inputs)
        fields |= {
            "input_offsets": np.cumsum([0, *map(len, reads)]),
            "input_tensors": np.array(list(itertools.chain(*reads)), np.int32),
            "tensor_names": (*graph.tensor_names, *(f"input_{i}" for i in range(count))),
            "tensor_bytes": np.append(graph.tensor_bytes, [size for size, _ in model_inputs]),
            "tensor_shapes": graph.tensor_shapes + ((),) * count,
            "tensor_dtypes": graph.tensor_dtypes + ("uint8",) * count,
            "tensor_quantization": graph.tensor_quantization + (None,) * count,
            "is_constant": np.append(graph.is_constant, np.zeros(count, bool)),
            "model_inputs": np.arange(first, first + count, dtype=np.int32),
        }
    if len(more_outputs):
        fields["model_outputs"] = np.union1d(graph.model_outputs, more_outputs).astype(np.int32)
    if len(colocated):
        fields["colocated"] = np.array(colocated, np.int32).reshape(-1, 2)
    return dataclasses.replace(graph, **fields)


def valid_stages(graph, num_stages):
    """All valid schedules, as tuples of stages in lexicographic order."""
    edges = graph.edges.tolist()
    pairs = graph.colocated.tolist()
    for stages in itertools.product(range(num_stages), repeat=graph.num_ops):
        if (
            len(set(stages)) == num_stages
            and all(stages[u] <= stages[v] for u, v in edges)
            and all(stages[u] == stages[v] for u, v in pairs)
        ):
            yield stages


def stage_parts(graph, stages, stage):
    """Ops of a stage and the tensors that enter and leave it, from the definitions."""
    ops = [op for op, own in enumerate(stages) if own == stage]
    entering, leaving = set(), set()
    for op in ops:
        for tensor in graph.inputs_of(op).tolist():
            maker = graph.producer[tensor]
            if tensor in graph.model_inputs or (maker >= 0 and stages[maker] < stage):
                entering.add(tensor)
        for tensor in graph.outputs_of(op).tolist():
            later = any(
                stages[other] > stage and tensor in graph.inputs_of(other)
                for other in range(graph.num_ops)
            )
            if later or tensor in graph.model_outputs:
                leaving.add(tensor)
    return ops, sorted(entering), sorted(leaving)


def cost_and_crossing(graph, stages, objective):
    """Cost of a schedule, and its crossing bytes."""
    costs, crossing = [], 0
    for stage in range(max(stages) + 1):
        ops, entering, leaving = stage_parts(graph, stages, stage)
        costs.append(objective.stage_cost(graph, ops, entering, leaving))
        crossing += sum(graph.tensor_bytes[[*entering, *leaving]].tolist())
    return objective.total_cost(costs), crossing


def best_stages(graph, num_stages, objective):
    """The best schedule by enumeration: (cost, crossing bytes, stages), or None."""
    return min(
        (
            (*cost_and_crossing(graph, stages, objective), stages)
            for stages in valid_stages(graph, num_stages)
        ),
        default=None,
    )


def topological_orders(graph):
    """All topological orders, as lists."""
    edges = graph.edges.tolist()
    for order in itertools.permutations(range(graph.num_ops)):
        place = {op: index for index, op in enumerate(order)}
        if all(place[u] < place[v] for u, v in edges):
            yield list(order)


def best_cut(graph, order, num_stages, objective):
    """The best cut of an order by enumeration, as `best_stages`."""
    found = []
    for cut in itertools.combinations(range(1, len(order)), num_stages - 1):
        stages = [0] * len(order)
        for place, op in enumerate(order):
            stages[op] = sum(place >= position for position in cut)
        found.append((*cost_and_crossing(graph, stages, objective), tuple(stages)))
    return min(found)


@st.composite
def graphs(draw, max_ops=7, colocated=True, sizes=None):
    """Small graphs with everything that matters to a schedule: ties, zeros, inputs, outputs."""
    num_ops = draw(st.integers(1, max_ops))
    largest = draw(st.sampled_from([1, 3, 20, 1000]))
    amounts = st.integers(0, largest) if sizes is None else sizes
    pairs = list(itertools.combinations(range(num_ops), 2))
    edges = draw(st.lists(st.sampled_from(pairs), max_size=2 * num_ops)) if pairs else []
    relabel = draw(st.permutations(range(num_ops)))
    edges = [(relabel[u], relabel[v]) for u, v in edges]
    ops = st.integers(0, num_ops - 1)
    return make_graph(
        draw(st.lists(amounts, min_size=num_ops, max_size=num_ops)),
        draw(st.lists(amounts, min_size=num_ops, max_size=num_ops)),
        np.array(edges, np.int64).reshape(-1, 2),
        colocated=draw(st.lists(st.tuples(ops, ops), max_size=2)) if colocated else (),
        model_inputs=draw(
            st.lists(st.tuples(amounts, st.lists(ops, min_size=1, max_size=3)), max_size=2)
        ),
        more_outputs=draw(st.lists(ops, max_size=2)),
    )


@dataclasses.dataclass(frozen=True)
class Latency(Objective):
    """A sum over stages, with different costs for bytes that enter and leave."""

    enter: float = 2.0
    leave: float = 1.0
    combine: str = "sum"
    name: str = "latency of a test"

    def stage_cost(self, graph, ops, entering, leaving):
        moved = self.enter * exact_sum(graph.tensor_bytes[list(entering)].tolist())
        moved += self.leave * exact_sum(graph.tensor_bytes[list(leaving)].tolist())
        return exact_sum(graph.parameter_bytes[list(ops)].tolist()) + moved

    def linear_cost(self, graph):
        return LinearCost(graph.parameter_bytes, enter=self.enter, leave=self.leave)


@dataclasses.dataclass(frozen=True)
class Streaming(Objective):
    """No sum: parameters that do not fit are loaded again, whole ops at a time."""

    room: int = 10
    combine: str = "max"
    name: str = "streaming of a test"

    def stage_cost(self, graph, ops, entering, leaving):
        sizes = graph.tensor_bytes[[*entering, *leaving]].tolist()
        room = self.room - max(sizes, default=0)
        cost = len(ops) + sum(sizes) / 2
        for op in ops:
            size = int(graph.parameter_bytes[op])
            room -= size
            cost += 3 * size if room < 0 else 0
        return cost

    def linear_cost(self, graph):
        return LinearCost(np.ones(graph.num_ops), enter=0.5, leave=0.5, exact=False)


@dataclasses.dataclass(frozen=True)
class Batched(Objective):
    """No sum either; costs come from sums and maxima, for many stages at once."""

    room: int = 10
    combine: str = "max"
    name: str = "streaming in batches of a test"
    wrong: float = 0.0

    def stage_cost(self, graph, ops, entering, leaving):
        room = self.room - max(int(graph.activation_bytes[op]) for op in ops)
        over = max(0, int(graph.parameter_bytes[ops].sum()) - max(0, room))
        moved = int(graph.tensor_bytes[entering].sum()) + 2 * int(graph.tensor_bytes[leaving].sum())
        return len(ops) + moved + 3 * over

    def batch_costs(self, stages, limit):
        graph = stages.graph
        cost = stages.op_sums(np.ones(graph.num_ops)) + stages.entering_bytes
        cost += 2 * stages.leaving_bytes + self.wrong
        stored = stages.op_sums(graph.parameter_bytes)
        near = cost + 3 * np.maximum(0, stored - self.room) <= limit
        room = np.maximum(0, self.room - stages.select(near).op_maxima(graph.activation_bytes))
        cost[near] += 3 * np.maximum(0, stored[near] - room)
        cost[~near] = limit + 1
        return cost

    def linear_cost(self, graph):
        return LinearCost(np.ones(graph.num_ops), enter=1.0, leave=2.0, exact=False)
