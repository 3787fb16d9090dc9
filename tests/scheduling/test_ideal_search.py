import math

import numpy as np
import pytest
from constraint_reference import all_stages, best_of, constraints_for, keeping
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_reference import Latency, best_stages, graphs, make_graph

from respect_tf._errors import ScheduleError
from respect_tf.scheduling import PeakMemory, schedule
from respect_tf.scheduling._answers import answer_of
from respect_tf.scheduling._chain import Budget, BudgetExceededError
from respect_tf.scheduling._ideal_search import IdealSearch
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._slicing import slice_items
from respect_tf.training import random_graph

OBJECTIVES = [PeakMemory(), PeakMemory(1.0), PeakMemory(3.0), Latency(0.0, 3.0, combine="max")]


@settings(max_examples=150, deadline=None)
@given(st.data(), graphs(max_ops=7), st.integers(2, 4), st.sampled_from(OBJECTIVES))
def test_the_best_within_a_limit_is_that_of_enumeration(data, graph, num_stages, objective):
    num_stages = min(num_stages, graph.num_ops)
    constraints = data.draw(constraints_for(graph, num_stages))
    rows = keeping(graph, all_stages(graph, num_stages), num_stages, constraints)
    expected = best_of(graph, rows, num_stages, objective)
    try:
        problem = build_problem(graph, num_stages, objective, constraints)
    except ScheduleError:
        assert expected is None
        return
    search = IdealSearch(problem)
    found = search.best_within(1e9, Budget(), ties=math.inf)
    if expected is None:
        assert found is None
        return
    cost, crossing, _ = expected
    assert (found.cost, found.crossing) == (cost, crossing)
    assert search.best_within(cost - 1, Budget()) is None
    assert search.best_within(cost, Budget()).cost == cost


@settings(max_examples=60, deadline=None)
@given(graphs(max_ops=7), st.integers(2, 4))
def test_costs_that_add_up_agree_with_enumeration(graph, num_stages):
    best = best_stages(graph, num_stages, Latency())
    if best is None:
        return
    problem = build_problem(graph, num_stages, Latency())
    found = IdealSearch(problem).best_within(best[0] * 2, Budget())
    assert found.cost == best[0]
    assert answer_of(problem, found.stages).chain.cost == best[0]


def test_ties_are_found_where_differences_of_sums_are_rounded():
    # What is left of 1518.22 without 759.11 is a little more than 759.11.
    graph = make_graph([0, 0, 0, 265, 758, 493], [0, 0, 0, 0, 3, 3], [])
    problem = build_problem(graph, 2, PeakMemory(0.37))
    known = slice_items(problem, np.arange(problem.num_items))
    chain, low = IdealSearch(problem).raise_bound(known, problem.lower_bound(), Budget())
    assert chain.cost == low == pytest.approx(759.11)


@pytest.mark.parametrize("family", ["levels", "inception", "randwire", "nasnet"])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_graphs_of_many_items_agree_with_the_exact_scheduler(family, weight):
    graph = random_graph(family, 140, seed=3)
    exact = schedule(graph, 4, "exact", objective=PeakMemory(weight))
    assert exact.status == "optimal"
    problem = build_problem(graph, 4, PeakMemory(weight))
    known = slice_items(problem, np.arange(problem.num_items))
    search = IdealSearch(problem)
    chain, low = search.raise_bound(known, problem.lower_bound(), Budget())
    assert low == chain.cost == exact.cost
    found = search.best_within(low, Budget(), math.inf)
    assert found.cost == exact.cost
    assert found.crossing <= IdealSearch(problem).best_within(exact.cost, Budget()).crossing


def test_bounds_rise_as_far_as_the_budget_goes():
    problem = build_problem(random_graph("wide", 60, seed=2), 4, PeakMemory(1.0))
    search, low = IdealSearch(problem), problem.lower_bound()
    known = slice_items(problem, np.arange(problem.num_items))
    bounds = []
    for work in (0, 100_000, 3_000_000):
        budget = Budget(work=work)
        chain, bound = search.raise_bound(known, low, budget)
        assert low <= bound <= chain.cost <= known.cost
        bounds.append(bound)
    assert bounds[0] == low
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[2]


def test_a_search_goes_on_where_the_last_budget_ended():
    problem = build_problem(random_graph("wide", 50, seed=2), 4, PeakMemory(1.0))
    known = slice_items(problem, np.arange(problem.num_items))
    chain, low = known, problem.lower_bound()
    search, bounds = IdealSearch(problem), [low]
    for _ in range(5):  # none of them lasts
        chain, low = search.raise_bound(chain, low, Budget(work=300_000))
        bounds.append(low)
    assert sorted(set(bounds)) == bounds
    assert low < chain.cost
    chain, low = search.raise_bound(chain, low, Budget())
    assert low == chain.cost == IdealSearch(problem).best_within(low, Budget()).cost


def test_a_passed_deadline_and_little_memory_end_the_search():
    problem = build_problem(random_graph("wide", 60, seed=2), 4, PeakMemory(1.0))
    search, limit = IdealSearch(problem), problem.lower_bound() * 2
    for budget in (Budget(deadline=0.0), Budget(cells=100)):
        with pytest.raises(BudgetExceededError):
            search.best_within(limit, budget)
        known = slice_items(problem, np.arange(problem.num_items))
        assert search.raise_bound(known, 0.0, budget)[0] is known


@settings(max_examples=150, deadline=None)
@given(st.data(), graphs(max_ops=6, colocated=False), st.sampled_from(OBJECTIVES))
def test_ranges_of_stages_hold_whether_edges_allow_them_or_not(data, graph, objective):
    num_stages = min(3, graph.num_ops)
    ranges = st.lists(
        st.integers(0, num_stages - 1), min_size=graph.num_ops, max_size=graph.num_ops
    )
    first, last = np.array(data.draw(ranges)), np.array(data.draw(ranges))
    rows = all_stages(graph, num_stages)
    rows = rows[((first <= rows) & (rows <= last)).all(axis=1)]
    expected = best_of(graph, rows, num_stages, objective)
    problem = build_problem(graph, num_stages, objective)
    items = problem.item_of.argsort()  # one op each
    search = IdealSearch(problem).within_stages(first[items], last[items])
    found = search.best_within(1e9, Budget(), ties=math.inf)
    if expected is None:
        assert found is None
        return
    assert (found.cost, found.crossing) == expected[:2]


@settings(max_examples=100, deadline=None)
@given(graphs(max_ops=8, colocated=False), st.integers(2, 5))
def test_pruned_search_finds_the_least_peak_memory(graph, num_stages):
    num_stages = min(num_stages, graph.num_ops)
    best = best_stages(graph, num_stages, PeakMemory())
    problem = build_problem(graph, num_stages, PeakMemory())
    known = slice_items(problem, np.arange(problem.num_items))
    chain, low = IdealSearch(problem).raise_bound(known, problem.lower_bound(), Budget())
    assert chain.cost == low == best[0]
    assert answer_of(problem, chain.stages).chain.cost == best[0]
