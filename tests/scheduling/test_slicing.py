import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_reference import (
    Latency,
    Streaming,
    best_cut,
    cost_and_crossing,
    graphs,
    make_graph,
    topological_orders,
)
from slow_clock import SlowClock

from respect_tf._errors import ScheduleError
from respect_tf.graph import OpGraph
from respect_tf.scheduling import Constraints, PeakMemory, schedule, slice_order
from respect_tf.scheduling import _slicing as slicing_module
from respect_tf.scheduling import _sweep as sweep_module

OBJECTIVES = [
    PeakMemory(),
    PeakMemory(1.0),
    PeakMemory(0.5),
    Latency(),
    Latency(0.0, 3.0, combine="max"),
    Streaming(),
    Streaming(30, combine="sum"),
]


@settings(max_examples=100, deadline=None)
@given(
    graphs(max_ops=6, colocated=False),
    st.integers(1, 4),
    st.sampled_from(OBJECTIVES),
    st.data(),
)
def test_the_cut_of_any_order_agrees_with_enumeration(graph, num_stages, objective, data):
    if num_stages > graph.num_ops:
        return
    order = data.draw(st.sampled_from(list(topological_orders(graph))))
    cost, crossing, _ = best_cut(graph, order, num_stages, objective)
    found = slice_order(graph, order, num_stages, objective)
    assert found.cost == cost
    assert cost_and_crossing(graph, found.stages.tolist(), objective)[1] == crossing
    assert found.scheduler == "slicing"


def test_slicing_cuts_the_files_own_order():
    graph = make_graph([3, 1, 1, 3], [1, 1, 1, 1], [[0, 3], [1, 2]])
    found = schedule(graph, 2, "slicing", objective="memory")
    assert found.stages.tolist() == [0, 0, 1, 1]
    assert found == slice_order(graph, [0, 1, 2, 3], 2, objective="memory")
    assert slice_order(graph, [1, 0, 2, 3], 2, objective="memory").stages.tolist() == [0, 0, 1, 1]
    assert slice_order(graph, [1, 2, 0, 3], 2, objective="memory").stages.tolist() == [0, 0, 0, 1]


def test_ops_that_share_a_stage_are_moved_together():
    graph = make_graph([1] * 5, [1] * 5, [[0, 1], [2, 3], [3, 4]], colocated=[[1, 2]])
    found = slice_order(graph, [0, 2, 3, 4, 1], 3, objective="memory")
    assert found.stages[1] == found.stages[2]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 1], "each op from 0 to 2 once"),
        ([0, 1, 1], "each op from 0 to 2 once"),
        ([0, 1, 3], "each op from 0 to 2 once"),
        ([0.0, 1.0, 2.0], "float64"),
        ([0, 2, 1], "op 2 .* before op 1"),
    ],
)
def test_bad_orders_are_refused(order, message):
    graph = make_graph([1, 1, 1], [1, 1, 1], [[0, 1], [1, 2]])
    with pytest.raises(ScheduleError, match=message):
        slice_order(graph, order, 2, objective="memory")


def random_graph(num_ops, span, seed, scale=100_000):
    rng = np.random.default_rng(seed)
    makers = rng.integers(0, num_ops - 1, 2 * num_ops)
    readers = np.minimum(makers + 1 + rng.integers(0, span, 2 * num_ops), num_ops - 1)
    sizes = rng.integers(0, scale, (2, num_ops))
    return make_graph(sizes[0], sizes[1], np.stack([makers, readers], axis=1))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_hundred_thousand_ops_are_cut_well(weight):
    graph = random_graph(100_000, 20, seed=0)
    found = schedule(graph, 8, "slicing", objective=PeakMemory(weight))
    assert found.gap < 0.01


@pytest.mark.parametrize("objective", [*OBJECTIVES[:5], Latency(2.0, 1.0, combine="max")])
@pytest.mark.slow
def test_narrowing_by_sweeps_finds_the_same_cost(objective, monkeypatch):
    for seed in range(15):
        graph = random_graph(40, 30, seed, scale=[3, 1000][seed % 2])
        expected = schedule(graph, 5, "slicing", objective=objective)
        for limit in (10, 100, 400):
            monkeypatch.setattr(slicing_module, "SWEPT", 0)
            monkeypatch.setattr(sweep_module, "_MAX_STEPS", limit)
            found = schedule(graph, 5, "slicing", objective=objective)
            assert found.cost == expected.cost
            monkeypatch.undo()


@pytest.mark.slow
def test_tensors_that_live_long_can_be_cut_in_a_large_graph():
    graph = random_graph(20_000, 20_000, seed=0)
    found = schedule(graph, 4, "slicing", objective=PeakMemory(1.0))
    for seed in range(3):  # no cut nearby is better
        rng = np.random.default_rng(seed)
        cut = np.flatnonzero(np.diff(found.stages)) + 1
        moved = cut + rng.integers(-50, 51, len(cut))
        stages = np.searchsorted(moved, np.arange(20_000), side="right")
        costs = peak(graph, stages)
        assert costs >= found.cost


def peak(graph, stages):
    producer, (ops, tensors) = graph.producer, graph.reads
    costs = np.bincount(stages, weights=graph.parameter_bytes)
    crossing = stages[producer[tensors]] < stages[ops]
    entering = np.unique(np.stack([stages[ops], tensors])[:, crossing], axis=1)
    np.add.at(costs, entering[0], graph.tensor_bytes[entering[1]])
    leaving = np.union1d(tensors[crossing], graph.model_outputs)
    np.add.at(costs, stages[producer[leaving]], graph.tensor_bytes[leaving])
    return costs.max()


def test_massive_ties_stay_within_memory():
    # Every position is as good as any other but for the heavy op.
    sizes = np.zeros(30_000, int)
    sizes[15_000] = 7
    edges = np.stack([np.arange(29_999), np.arange(1, 30_000)], axis=1)
    graph = make_graph(sizes, np.zeros(30_000, int), edges)
    found = schedule(graph, 2, "slicing", objective="memory")
    assert found.cost == 7


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_time_limit_cuts_large_graphs_short(weight, monkeypatch):
    rng = np.random.default_rng(0)
    num_ops = 50_000
    edges = np.stack([np.arange(num_ops - 1), np.arange(1, num_ops)], axis=1)
    graph = OpGraph.from_arrays(*rng.integers(0, 1000, (2, num_ops)), edges)
    clock = SlowClock(monkeypatch, 0.01)
    found = schedule(graph, 8, "slicing", objective=PeakMemory(weight), time_limit=0)
    assert clock.readings < 25
    assert found.cost >= found.lower_bound


@pytest.mark.parametrize("objective", [PeakMemory(1.0), Latency()])
def test_sweeps_keep_constraints(objective, monkeypatch):
    for seed in range(6):
        graph = random_graph(40, 30, seed, scale=1000)
        room = float(graph.parameter_bytes.sum() / 5 + graph.parameter_bytes.max())
        constraints = Constraints(stage_bytes=room, pinned={12: 1, 30: 3})
        expected = schedule(graph, 5, "slicing", objective=objective, constraints=constraints)
        for limit in (10, 100):
            monkeypatch.setattr(slicing_module, "SWEPT", 0)
            monkeypatch.setattr(sweep_module, "_MAX_STEPS", limit)
            found = schedule(graph, 5, "slicing", objective=objective, constraints=constraints)
            assert found.cost == expected.cost
            monkeypatch.undo()
