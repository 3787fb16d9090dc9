import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_reference import Latency, Streaming, cost_and_crossing, graphs, make_graph
from slow_clock import SlowClock

from respect_tf._errors import ArgumentError, ScheduleError
from respect_tf.device import resolve_device
from respect_tf.scheduling import (
    PeakMemory,
    Schedule,
    check_schedule,
    improve,
    schedule,
    slice_order,
)
from respect_tf.scheduling._answers import stage_sums
from respect_tf.scheduling._arguments import resolve_objective
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._items import merge_colocated
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._search import search
from respect_tf.training import FAMILIES, random_graph

CHAIN = make_graph([4, 1, 1, 4], [1, 1, 1, 1], [[0, 1], [1, 2], [2, 3]])


OBJECTIVES = [PeakMemory(), PeakMemory(1.5), Latency(), Streaming()]


@given(graphs(), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_stage_sums_are_those_of_the_definitions(graph, num_stages):
    num_stages = min(num_stages, int(merge_colocated(graph)[0].max()) + 1)
    problem = build_problem(graph, num_stages, PeakMemory(1.0))
    stages = np.minimum(np.arange(problem.num_items), num_stages - 1)
    op_costs, entering, leaving = stage_sums(problem, stages)
    of_ops = problem.stages_of_ops(stages).tolist()
    cost, crossing = cost_and_crossing(graph, of_ops, PeakMemory(1.0))
    assert (op_costs + entering + leaving).max() == cost
    assert entering.sum() + leaving.sum() == crossing


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.name)
def test_small_graphs_mostly_end_at_the_optimum(objective):
    random = np.random.default_rng(0)
    reached = 0
    num_graphs = 20 if objective.linear_cost(CHAIN).exact else 6
    for seed in range(num_graphs):
        graph = random_graph("levels", 9, seed)
        graph = make_graph(
            random.integers(0, 20, 9), random.integers(0, 9, 9), graph.edges, colocated=[[3, 4]]
        )
        start = schedule(graph, 3, "compiler", objective=objective)
        found = improve(graph, start, objective=objective, seed=seed)
        check_schedule(graph, found, objective)
        best = schedule(graph, 3, "exact", objective=objective)
        assert best.cost <= found.cost <= start.cost
        reached += math.isclose(found.cost, best.cost)
    assert reached >= 0.8 * num_graphs


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_at_least_as_good_as_what_it_begins_with(family):
    graph = random_graph(family, 40, 2)
    start = schedule(graph, 4, "slicing", objective=PeakMemory(1.0))
    found = improve(graph, start)
    assert start.lower_bound <= found.cost <= start.cost
    assert (found.scheduler, found.objective) == ("slicing+local", start.objective)
    assert found.solve_seconds > start.solve_seconds


def test_equal_costs_are_decided_by_crossing_bytes():
    # The heavy op is the cost; only the cut before the light one crosses few bytes.
    graph = make_graph([9, 1, 1, 1], [7, 1, 5, 5], [[0, 1], [1, 2], [2, 3]])
    start = Schedule([0, 1, 1, 1], objective="memory", cost=9, lower_bound=3)
    found = improve(graph, start)
    assert found.cost == 9
    crossing = [
        cost_and_crossing(graph, s.stages.tolist(), PeakMemory())[1] for s in (start, found)
    ]
    assert crossing[1] <= crossing[0]


def test_the_seed_decides():
    graph = random_graph("towers", 120, 0)
    start = schedule(graph, 4, "slicing", objective=PeakMemory(1.0))
    assert improve(graph, start, seed=0) == improve(graph, start, seed=0)


def test_bounds_and_proofs_are_carried_over():
    start = schedule(CHAIN, 2, "exact", objective="memory")
    found = improve(CHAIN, start)
    assert (found.cost, found.lower_bound, found.status) == (5, 5, "optimal")
    assert found.stages.tolist() == start.stages.tolist()
    guess = Schedule([0, 1, 1, 1], cost=6, lower_bound=4, objective="memory")
    found = improve(CHAIN, guess)
    assert (found.cost, found.lower_bound, found.status) == (5, 5, "optimal")


def test_a_bound_for_another_objective_does_not_count():
    start = Schedule([0, 1, 1, 1], cost=6, lower_bound=6, status="optimal", objective="memory")
    found = improve(CHAIN, start, objective=PeakMemory(1.0))
    assert (found.cost, found.lower_bound, found.status) == (7, 7, "optimal")


def test_a_bound_that_is_found_to_be_wrong_is_an_error():
    # Nothing is searched once the bound is reached: 6 is taken on trust.
    trusted = Schedule([0, 1, 1, 1], cost=6, lower_bound=6, status="optimal", objective="memory")
    assert improve(CHAIN, trusted).cost == 6
    wrong = Schedule([0, 0, 0, 1], cost=6, lower_bound=5.5, objective="memory")
    with pytest.raises(ScheduleError, match=r"below the lower bound 5.5 that scheduler 'user'"):
        improve(CHAIN, wrong)


def test_time_limits_are_kept(monkeypatch):
    graph = random_graph("wide", 200, 0)
    start = schedule(graph, 4, "slicing", objective=PeakMemory(1.0))
    improve(graph, start)
    none = improve(graph, start, time_limit=0)
    assert none.stages.tolist() == start.stages.tolist()
    clock = SlowClock(monkeypatch, 0.01)
    some = improve(graph, start, time_limit=0.3)
    assert 30 <= clock.readings < 30 + 25  # some before the limit is set and after it has run out
    assert some.cost < start.cost


@given(graphs(max_ops=8), st.integers(2, 3), st.data())
@settings(max_examples=60, deadline=None)
def test_constraints_are_kept(graph, num_stages, data):
    num_stages = min(num_stages, int(merge_colocated(graph)[0].max()) + 1)
    start = schedule(graph, num_stages, "slicing", objective="memory")
    pinned = data.draw(st.sets(st.integers(0, graph.num_ops - 1), max_size=3))
    room = max(int(graph.parameter_bytes[start.stages == k].sum()) for k in range(num_stages))
    constraints = Constraints(pinned={op: int(start.stages[op]) for op in pinned}, stage_bytes=room)
    for objective in (PeakMemory(1.0), Streaming()):
        found = improve(graph, start, objective=objective, constraints=constraints, time_limit=0.02)
        check_schedule(graph, found, objective, constraints)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"schedule": Schedule([0, 1])}, ScheduleError, "2 ops"),
        ({"schedule": Schedule([1, 0, 0, 0])}, ScheduleError, "later"),
        ({"objective": None}, ArgumentError, "Unknown objective"),
        ({"time_limit": -1}, ArgumentError, "time_limit"),
        ({"seed": -1}, ArgumentError, "seed"),
        ({"seed": True}, ArgumentError, "seed"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    given_arguments = {"schedule": Schedule([0, 0, 1, 1]), "objective": "memory", **arguments}
    with pytest.raises(error, match=message):
        improve(CHAIN, **given_arguments)


@pytest.mark.slow
def test_large_wide_graphs_get_much_better():
    objective = PeakMemory(1.0)
    graph = random_graph("towers", 300, 1)
    start = schedule(graph, 4, "slicing", objective=objective)
    found = improve(graph, start)
    assert found.gap < 0.5 * start.gap


@pytest.mark.parametrize("objective", ["throughput", "latency"])
def test_schedules_for_several_hosts_are_judged_by_the_worst_of_them(objective):
    """Solvers add up the mean of their latencies, which may fall where the worst one rises."""
    graph = random_graph("towers", 100, 804)
    start = slice_order(graph, graph.topological_order, 4, objective, device="usb3")
    found = improve(graph, start)
    check_schedule(graph, found)
    assert found.optima == start.optima
    assert found.cost < start.cost
    again = improve(graph, found, seed=1)
    assert again.cost <= found.cost
    named = resolve_objective(objective, resolve_device("usb3"))
    check_schedule(graph, search(graph, 4, objective=named, budget=20))
