"""The search: valid, never worse than its orders, bounds that hold, the same for the same seed."""

import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_reference import Batched, Latency, Streaming, best_stages, graphs
from slow_clock import SlowClock

from respect_tf import OpGraph, PeakMemory, schedule
from respect_tf._errors import ArgumentError, ScheduleError
from respect_tf.scheduling import Constraints, _search_linear, check_schedule, slice_order
from respect_tf.scheduling._orders import distinct_orders
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._search import search
from respect_tf.training import random_graph


def hard_way():
    """Have small graphs searched like large ones: without a proof before the moves."""
    return mock.patch.object(_search_linear, "_FIRST_WORK", 0)


def easy_way():
    return mock.patch.object(_search_linear, "_FIRST_WORK", 600_000)


_FEW_READINGS = 25  # of the clock, before a limit is set and after it has run out


OBJECTIVES = (PeakMemory(), PeakMemory(1.0), PeakMemory(0.37), Latency(), Streaming(), Batched())


@settings(max_examples=120, deadline=None)
@given(
    graph=graphs(max_ops=6),
    num_stages=st.integers(1, 4),
    objective=st.sampled_from(OBJECTIVES),
    is_hard=st.booleans(),
)
def test_small_graphs_get_valid_schedules_and_bounds_that_hold(
    graph, num_stages, objective, is_hard
):
    best = best_stages(graph, num_stages, objective)
    if best is None:
        with pytest.raises(ScheduleError):
            search(graph, num_stages, objective=objective)
        return
    with hard_way() if is_hard else easy_way():
        found = search(graph, num_stages, objective=objective, budget=200)
    check_schedule(graph, found, objective)
    assert found.cost >= best[0] - 1e-9 * abs(best[0])
    assert found.lower_bound <= best[0] + 1e-9 * abs(best[0])
    if found.status == "optimal":
        assert math.isclose(found.cost, best[0], rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("family", ["levels", "wide", "towers", "nasnet", "randwire"])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_it_finds_the_optimum_of_30_ops(family, weight):
    graph, objective = random_graph(family, 30, seed=5), PeakMemory(weight)
    best = schedule(graph, 4, "exact", objective=objective)
    assert best.status == "optimal"
    with hard_way():
        found = search(graph, 4, objective=objective)
    assert found.cost == best.cost
    assert found.lower_bound <= best.cost


def test_few_ideals_are_solved_like_exact():
    graph = random_graph("unet", 150, seed=0)
    found = search(graph, 4, objective=PeakMemory(1.0))
    exact = schedule(graph, 4, "exact", objective=PeakMemory(1.0))
    assert found.status == "optimal"
    assert np.array_equal(found.stages, exact.stages)


def test_the_bound_is_reported_and_proofs_are_found_on_the_hard_way():
    graph = random_graph("levels", 40, seed=2)
    with hard_way():
        found = search(graph, 3, objective=PeakMemory(), budget=2000)
    assert found.status == "optimal"
    assert found.lower_bound == found.cost


def test_the_same_seed_gives_the_same_schedule():
    graph = random_graph("towers", 150, seed=4)
    first = search(graph, 4, objective=PeakMemory(1.0), budget=100, seed=7)
    search(random_graph("wide", 60, seed=1), 3, budget=50, seed=1)
    again = search(graph, 4, objective=PeakMemory(1.0), budget=100, seed=7)
    assert first.stages.tobytes() == again.stages.tobytes()
    assert (first.cost, first.lower_bound) == (again.cost, again.lower_bound)


def test_more_work_is_never_worse():
    graph, objective = random_graph("towers", 120, seed=9), PeakMemory(1.0)
    costs = [search(graph, 5, objective=objective, budget=budget).cost for budget in (0, 60, 600)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


def test_without_a_budget_orders_are_cut_and_nothing_else():
    graph, objective = random_graph("wide", 80, seed=0), PeakMemory(1.0)
    order = graph.topological_order
    orders = [order, *distinct_orders(build_problem(graph, 4, objective))]
    found = search(graph, 4, [order], objective=objective, budget=0)
    assert found.cost == min(slice_order(graph, order, 4, objective).cost for order in orders)


def test_it_is_no_worse_than_the_best_of_its_orders():
    graph, objective = random_graph("nasnet", 200, seed=1), PeakMemory(1.0)
    known = schedule(graph, 4, "exact", objective=objective, time_limit=2)
    order = np.lexsort((np.arange(graph.num_ops), known.stages))
    found = search(graph, 4, [order], objective=objective, budget=0)
    assert found.cost <= known.cost


def test_a_time_limit_is_kept(monkeypatch):
    graph = random_graph("towers", 400, seed=0)
    clock = SlowClock(monkeypatch, 0.02)
    found = search(graph, 4, objective=PeakMemory(1.0), time_limit=0.5)
    assert clock.readings < 25 + _FEW_READINGS
    check_schedule(graph, found, PeakMemory(1.0))
    check_schedule(graph, search(graph, 4, time_limit=0), PeakMemory())


@pytest.mark.parametrize("objective", [Latency(), Streaming(3_000_000), Batched(3_000_000)])
def test_other_objectives_are_searched_too(objective):
    graph = random_graph("towers", 60, seed=2)
    cut = slice_order(graph, graph.topological_order, 3, objective)
    found = search(graph, 3, objective=objective, budget=100)
    check_schedule(graph, found, objective)
    assert found.cost <= cut.cost


def test_constraints_are_kept():
    graph, objective = random_graph("wide", 40, seed=3), PeakMemory(1.0)
    free = search(graph, 4, objective=objective)
    last = int(np.flatnonzero(free.stages == 3)[-1])
    first = int(np.flatnonzero(free.stages == 0)[0])
    held = np.bincount(free.stages, graph.parameter_bytes, 4)
    constraints = Constraints(
        pinned={first: 0, last: 3}, stage_bytes=[int(size) for size in held + 1]
    )
    found = search(graph, 4, objective=objective, constraints=constraints, budget=300)
    check_schedule(graph, found, objective, constraints)
    assert found.cost >= free.lower_bound


@settings(max_examples=60, deadline=None)
@given(graph=graphs(max_ops=6), num_stages=st.integers(2, 3), data=st.data())
def test_constraints_of_small_graphs_agree_with_exact(graph, num_stages, data):
    ops = st.integers(0, graph.num_ops - 1)
    constraints = Constraints(
        pinned=data.draw(st.dictionaries(ops, st.integers(0, num_stages - 1), max_size=2)),
        stage_bytes=data.draw(st.none() | st.integers(0, 2 * int(graph.parameter_bytes.sum()) + 1)),
    )

    def cost_of(solve):
        try:
            return solve().cost
        except ScheduleError:
            return None

    best = cost_of(
        lambda: schedule(graph, num_stages, "exact", objective="memory", constraints=constraints)
    )
    with hard_way():
        found = cost_of(lambda: search(graph, num_stages, constraints=constraints, budget=300))
    assert (found is None) == (best is None)
    assert found is None or found >= best


@pytest.mark.parametrize("num_stages", [1, 2, 39, 40])
def test_any_number_of_stages(num_stages):
    graph = random_graph("wide", 40, seed=0)
    found = search(graph, num_stages, objective=PeakMemory(1.0), budget=100)
    check_schedule(graph, found, PeakMemory(1.0))


def test_one_op_and_no_bytes():
    alone = OpGraph.from_arrays([5], [1], np.zeros((0, 2), int))
    assert search(alone, 1).cost == 5
    edges = [(u, v) for u in range(8) for v in range(8, 16)]
    empty = OpGraph.from_arrays(np.zeros(16, int), np.zeros(16, int), edges)
    with hard_way():
        found = search(empty, 3, objective=PeakMemory(1.0))
    assert (found.cost, found.status) == (0, "optimal")


def test_many_ops_without_edges():
    sizes = np.random.default_rng(0).integers(1, 1000, 300)
    graph = OpGraph.from_arrays(sizes, np.zeros(300, int), np.zeros((0, 2), int))
    found = search(graph, 6, budget=100)
    assert found.cost <= math.ceil(sizes.sum() / 6) * 1.005


@pytest.mark.slow
def test_5000_ops():
    graph = random_graph("wide", 5000, seed=0)
    found = search(graph, 4, objective=PeakMemory(1.0), budget=50)
    check_schedule(graph, found, PeakMemory(1.0))
    assert found.cost <= slice_order(graph, graph.topological_order, 4, PeakMemory(1.0)).cost


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": -1}, "budget"),
        ({"budget": 0.5}, "budget"),
        ({"seed": -1}, "seed"),
        ({"time_limit": -1}, "time_limit"),
        ({"objective": "fastest"}, "fastest"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        search(random_graph("wide", 40, seed=0), 2, **arguments)


def test_an_order_that_is_none_is_refused():
    graph = random_graph("wide", 40, seed=0)
    with pytest.raises(ScheduleError, match="topological"):
        search(graph, 2, [np.arange(40)[::-1]])
