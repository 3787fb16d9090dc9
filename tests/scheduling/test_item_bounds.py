"""What the stage that holds a certain item costs at least."""

import itertools

import numpy as np
import pytest
from schedule_reference import make_graph

from respect_tf import PeakMemory, schedule
from respect_tf.scheduling import LinearCost, Objective
from respect_tf.scheduling._item_bounds import item_bound
from respect_tf.scheduling._objective import exact_sum
from respect_tf.scheduling._problem import build_problem


class Sums(Objective):
    """Parameters, and other prices for bytes that enter and that leave."""

    combine, name, device = "max", "sums", None

    def stage_cost(self, graph, ops, entering, leaving):
        enters, leaves = (graph.tensor_bytes[list(part)].tolist() for part in (entering, leaving))
        return exact_sum(
            [*graph.parameter_bytes[list(ops)].tolist(), *(2 * size for size in enters), *leaves]
        )

    def linear_cost(self, graph):
        return LinearCost(graph.parameter_bytes, 2, 1, exact=True)


def draw(seed):
    rng = np.random.default_rng(seed)
    pairs = itertools.combinations(range(7), 2)
    edges = [pair for pair in pairs if rng.random() < 0.4]
    return make_graph(
        rng.integers(0, 50, 7).tolist(),
        rng.integers(0, 50, 7).tolist(),
        edges,
        model_inputs=[(int(rng.integers(1, 40)), [0, 3])],
        more_outputs=[2],
    )


def cheapest_with(problem, objective, item):
    """Of all sets of ops that hold one: what enters, leaves and is held, by the definition."""
    graph, best = problem.graph, np.inf
    for flags in itertools.product([False, True], repeat=graph.num_ops):
        if not flags[item]:
            continue
        inside = np.array(flags)
        entering, leaving = set(), set()
        for op, tensor in zip(*graph.reads, strict=True):
            maker = graph.producer[tensor]
            is_input = tensor in graph.model_inputs
            if inside[op] and (is_input or (maker >= 0 and not inside[maker])):
                entering.add(int(tensor))
            if maker >= 0 and inside[maker] and not inside[op]:
                leaving.add(int(tensor))
        for tensor in graph.model_outputs.tolist():
            if inside[graph.producer[tensor]]:
                leaving.add(tensor)
        ops = np.flatnonzero(inside).tolist()
        best = min(best, objective.stage_cost(graph, ops, sorted(entering), sorted(leaving)))
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("objective", [PeakMemory(1.0), Sums()])
def test_it_is_the_cheapest_set_with_the_item(seed, objective):
    problem = build_problem(draw(seed), 3, objective)
    expected = max(cheapest_with(problem, objective, item) for item in range(7))
    assert item_bound(problem, 0.0) == expected
    assert item_bound(problem, expected + 5.0) == expected + 5.0
    assert schedule(problem.graph, 3, objective=objective).cost >= expected


def test_many_stages_are_proved_by_one_item():
    """One heavy op with large tensors around: no other stage matters."""
    rng = np.random.default_rng(0)
    sizes, outputs = rng.integers(1, 9, 120), rng.integers(50, 90, 120)
    sizes[60], outputs[59:62] = 500, (300, 280, 310)
    edges = [(op, op + 1) for op in range(119)] + [(op, op + 2) for op in range(0, 118, 2)]
    graph = make_graph(sizes.tolist(), outputs.tolist(), sorted(set(edges) - {(59, 60)}))
    found = schedule(graph, 40, objective=PeakMemory(1.0))
    problem = build_problem(graph, 40, PeakMemory(1.0))
    assert problem.lower_bound() < item_bound(problem, 0.0) <= found.cost


def test_without_transfers_it_is_the_largest_item():
    problem = build_problem(draw(0), 3, PeakMemory())
    assert item_bound(problem, 1.0) == max(1.0, float(problem.graph.parameter_bytes.max()))
