import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_reference import Latency, Streaming, cost_and_crossing, graphs, make_graph

from respect_tf._errors import ScheduleError
from respect_tf.graph import OpGraph
from respect_tf.scheduling import PeakMemory, check_schedule, schedule
from respect_tf.scheduling._answers import answer_of
from respect_tf.scheduling._compiler import partition_order
from respect_tf.scheduling._items import merge_colocated
from respect_tf.scheduling._problem import build_problem


def chain(parameters):
    count = len(parameters)
    return make_graph(parameters, [1] * count, [[op, op + 1] for op in range(count - 1)])


def cut(graph, num_stages):
    return schedule(graph, num_stages, "compiler", objective="memory").stages.tolist()


def test_it_cuts_the_real_model_where_the_real_compiler_did(data_folder):
    folder = data_folder / "compiled" / "Segments-Runner"
    name = "mobilenet_v2_1.0_224_inat_bird_quant"
    graph = OpGraph.from_tflite(folder / f"{name}.tflite")
    stage_of = {}
    for stage in range(3):
        part = OpGraph.from_tflite(folder / f"{name}_segment_{stage}_of_3.tflite")
        stage_of |= {part.tensor_names[tensor]: stage for tensor in part.output_tensors}
    expected = [stage_of[graph.tensor_names[tensor]] for tensor in graph.output_tensors]
    assert len(expected) == graph.num_ops
    assert cut(graph, 3) == expected
    assert np.bincount(expected).tolist() == [54, 7, 4]


def test_a_stage_ends_before_the_op_that_would_pass_the_target():
    # Target 12 // 2 + 1 = 7: the third op fits exactly, then the next one does not.
    assert cut(chain([3, 3, 1, 1, 4]), 2) == [0, 0, 0, 1, 1]
    # Target 13 // 2 + 1 = 7: one byte more is too much, though 8 against 5 is no worse balanced.
    assert cut(chain([3, 3, 2, 1, 4]), 2) == [0, 0, 1, 1, 1]


def test_the_last_stage_takes_the_rest_and_may_be_the_heaviest():
    found = schedule(chain([4, 4, 4, 5, 5, 5]), 3, "compiler", objective="memory")
    assert found.stages.tolist() == [0, 0, 1, 1, 2, 2]
    assert schedule(
        chain([5, 5, 5, 4, 4, 4]), 3, "compiler", objective="memory"
    ).stages.tolist() == [0, 0, 1, 1, 2, 2]
    assert schedule(chain([6, 6, 6, 6, 6]), 3, "compiler", objective="memory").cost == 18


def test_each_later_stage_keeps_an_op():
    assert cut(chain([1, 0, 0, 0]), 3) == [0, 0, 1, 2]
    assert cut(chain([0, 0, 0, 0]), 4) == [0, 1, 2, 3]


def test_ops_above_the_target_get_a_stage_of_their_own():
    assert cut(chain([100, 1, 1, 1]), 3) == [0, 1, 1, 2]
    assert cut(chain([1, 100, 1, 1]), 3) == [0, 1, 2, 2]


def test_all_outputs_stay_in_the_last_stage():
    # Op 1 is read by nobody, so everything from it on is the last stage's; it waits until then.
    graph = make_graph([5, 5, 5, 5], [1] * 4, [[0, 1], [0, 2], [2, 3]])
    assert cut(graph, 2) == [0, 1, 0, 1]
    early = make_graph([5] * 6, [1] * 6, [[op, op + 1] for op in range(5)], more_outputs=[2])
    assert cut(early, 3) == [0, 1, 2, 2, 2, 2]


def test_outputs_that_come_too_early_get_stages_all_the_same():
    early = make_graph([5] * 4, [1] * 4, [[0, 1], [1, 2], [2, 3]], more_outputs=[0])
    assert cut(early, 3) == [0, 1, 2, 2]
    assert cut(make_graph([1] * 4, [1] * 4, np.zeros((0, 2), int)), 3) == [2, 2, 1, 0]


def test_branches_are_followed_depth_first_the_last_one_first():
    #     1 - 2 - 3
    #  0              6
    #     4 - 5
    graph = make_graph([1] * 7, [1] * 7, [[0, 1], [1, 2], [2, 3], [3, 6], [0, 4], [4, 5], [5, 6]])
    order, first_output = partition_order(build_problem(graph, 2, PeakMemory()))
    assert (order.tolist(), first_output) == ([0, 4, 5, 1, 2, 3, 6], 6)


def test_custom_ops_weigh_nothing():
    graph = dataclasses.replace(chain([4, 4, 4, 100]), op_types=("OP", "OP", "OP", "CUSTOM:x"))
    assert cut(graph, 2) == [0, 1, 1, 1]
    assert cut(chain([4, 4, 4, 100]), 2) == [0, 0, 0, 1]


def plain_rule(graph, num_stages):
    """The partitioner of libcoral, op by op; None where it aborts."""
    children = [[] for _ in range(graph.num_ops)]
    in_degree = [0] * graph.num_ops
    for op in range(graph.num_ops):
        for tensor in graph.outputs_of(op).tolist():
            for reader in range(graph.num_ops):
                times = graph.inputs_of(reader).tolist().count(tensor)
                children[op] += [reader] * times
                in_degree[reader] += times
    stack = [op for op in range(graph.num_ops) if in_degree[op] == 0]
    order = []
    while stack:
        op = stack.pop()
        order.append(op)
        for child in children[op]:
            in_degree[child] -= 1
            if in_degree[child] == 0:
                stack.insert(len(stack) if children[child] else 0, child)
    first_output = next(place for place, op in enumerate(order) if not children[op])
    sizes = graph.parameter_bytes.tolist()
    average = sum(sizes) // num_stages + 1
    counts, place = [], 0
    for segment in range(num_stages - 1):
        last = first_output - (num_stages - segment - 1)
        if last < place:
            return None
        counts.append(0)
        filled = 0
        while place <= last and filled + sizes[order[place]] <= average:
            filled += sizes[order[place]]
            counts[-1] += 1
            place += 1
    counts.append(graph.num_ops - place)
    if 0 in counts:
        return None
    stages = [0] * graph.num_ops
    for place, op in enumerate(order):
        stages[op] = int(np.searchsorted(np.cumsum(counts), place, side="right"))
    return stages


@st.composite
def plain_graphs(draw):
    num_ops = draw(st.integers(2, 12))
    seeds = np.random.default_rng(draw(st.integers(0, 10**6)))
    edges = [
        (before, op)
        for op in range(1, num_ops)
        for before in range(max(0, op - 4), op)
        if seeds.integers(0, 3) == 0 or (before == op - 1 and seeds.integers(0, 4))
    ]
    high = draw(st.sampled_from([1, 5, 100]))
    sizes = seeds.integers(0, high, num_ops, endpoint=True)
    return make_graph(sizes, [1] * num_ops, np.array(edges).reshape(-1, 2))


@given(plain_graphs(), st.integers(1, 5))
@settings(max_examples=300, deadline=None)
def test_it_is_the_rule_of_the_public_partitioner(graph, num_stages):
    if num_stages > graph.num_ops:
        return
    expected = plain_rule(graph, num_stages)
    if expected is not None:
        assert cut(graph, num_stages) == expected


@given(graphs(), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_every_graph_gets_a_valid_schedule_with_its_true_cost(graph, num_stages):
    num_stages = min(num_stages, int(merge_colocated(graph)[0].max()) + 1)
    for objective in (PeakMemory(), PeakMemory(1.5), Latency(), Streaming()):
        found = schedule(graph, num_stages, "compiler", objective=objective)
        check_schedule(graph, found, objective)
        cost, crossing = cost_and_crossing(graph, found.stages.tolist(), objective)
        assert found.cost == cost
        problem = build_problem(graph, num_stages, objective)
        stages = np.zeros(problem.num_items, np.int64)
        stages[problem.item_of] = found.stages
        assert answer_of(problem, stages).chain.crossing == crossing
        best = schedule(graph, num_stages, "exact", objective=objective)
        assert found.lower_bound <= best.cost <= found.cost


def test_large_graphs_are_no_problem():
    count = 100_000
    graph = make_graph([1] * count, [1] * count, [[op, op + 1] for op in range(count - 1)])
    found = schedule(graph, 4, "compiler", objective="memory")
    assert np.bincount(found.stages).tolist() == [25_001, 25_001, 25_001, 24_997]


def test_whole_stages_are_needed():
    with pytest.raises(ScheduleError, match="5 stages"):
        cut(chain([1, 1]), 5)
