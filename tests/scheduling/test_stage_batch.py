import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_reference import Batched, graphs, make_graph, stage_parts

from respect_tf._errors import ArgumentError, ScheduleError
from respect_tf.scheduling import PeakMemory, schedule
from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._ideals import IdealNodes
from respect_tf.scheduling._intervals import IntervalNodes
from respect_tf.scheduling._pairs import list_ideals
from respect_tf.scheduling._problem import build_problem


def check_batch(problem, nodes, values):
    """Sums, maxima and parts of all stages between nodes, against plain loops."""
    pairs = nodes.pairs(np.ones((len(nodes), len(nodes)), bool), Budget())
    batch, held = nodes.batch(pairs), nodes.members(np.arange(len(nodes)))
    sums, maxima = batch.op_sums(values), batch.op_maxima(values)
    for index, (row, column) in enumerate(zip(pairs.rows, pairs.columns, strict=True)):
        stages = (~held[row]).astype(int) + ~held[column]
        parts = stage_parts(problem.graph, stages[problem.item_of].tolist(), 1)
        ops, entering, leaving = batch.parts(index)
        assert (ops, entering, leaving) == parts
        assert sums[index] == values[ops].sum()
        assert maxima[index] == values[ops].max()
        assert batch.entering_bytes[index] == problem.graph.tensor_bytes[entering].sum()
        assert batch.leaving_bytes[index] == problem.graph.tensor_bytes[leaving].sum()
    some = np.arange(len(batch)) % 2 == 0
    assert np.array_equal(batch.select(some).op_maxima(values), maxima[some])
    assert np.array_equal(batch.select(some).op_sums(values), sums[some])


@settings(max_examples=60, deadline=None)
@given(st.data(), graphs(max_ops=6))
def test_batches_agree_with_the_definitions(data, graph):
    problem = build_problem(graph, 1, PeakMemory(1.0))
    size = graph.num_ops
    values = np.array(data.draw(st.lists(st.integers(0, 9), min_size=size, max_size=size)))
    check_batch(problem, IdealNodes.of_rows(problem, list_ideals(problem, 1000, Budget())), values)
    check_batch(problem, IntervalNodes(problem, np.arange(problem.num_items)), values)


def test_costs_that_contradict_the_definition_are_an_error():
    graph = make_graph([1, 2, 3], [1, 1, 1], [(0, 1), (1, 2)])
    with pytest.raises(ScheduleError, match=r"batch_values.*stage_cost"):
        schedule(graph, 2, objective=Batched(wrong=1.0))
    with pytest.raises(ArgumentError, match="finite and 0 or more"):
        schedule(graph, 2, objective=Batched(wrong=-100.0))


def test_a_graph_of_the_size_of_the_models_is_proved_at_once():
    rng = np.random.default_rng(0)
    edges, last = [], 0
    for op in range(1, 698, 3):  # diamonds
        edges += [(last, op), (last, op + 1), (op, op + 2), (op + 1, op + 2)]
        last = op + 2
    graph = make_graph(*rng.integers(0, 100_000, (2, last + 1)), edges)
    found = schedule(graph, 6, objective=Batched(room=5_000_000))
    assert found.status == "optimal"
