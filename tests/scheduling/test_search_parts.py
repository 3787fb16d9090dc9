"""The parts of the search, each against plain code."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_reference import Latency, best_stages, graphs

from respect_tf import OpGraph, PeakMemory
from respect_tf._errors import ScheduleError
from respect_tf.graph import ready_orders
from respect_tf.scheduling import Constraints
from respect_tf.scheduling._answers import answer_of
from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._compiled_search import anneal, cut_order, search_ideals
from respect_tf.scheduling._ideal_search import IdealSearch
from respect_tf.scheduling._pairs import list_ideals, neighbours
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._search_rounds import Rounds
from respect_tf.scheduling._slicing import slice_items
from respect_tf.training import random_graph


def random_order(problem, seed):
    keys = np.random.default_rng(seed).random((1, problem.num_items))
    return ready_orders(problem.links.after, problem.links.waiting, keys)[0]


def is_valid(problem, stages):
    before, after = problem.edges.T
    return (stages[before] <= stages[after]).all() and len(set(stages)) == problem.num_stages


def best_cut(problem, order):
    """Cost and crossing bytes of the best cut, by looking at all of them."""
    found = []
    for cut in itertools.combinations(range(1, problem.num_items), problem.num_stages - 1):
        stages = np.zeros(problem.num_items, np.int64)
        for place in cut:
            stages[order[place:]] += 1
        chain = answer_of(problem, stages).chain
        found.append((chain.cost, chain.crossing))
    return min(found)


@settings(max_examples=150, deadline=None)
@given(
    graph=graphs(max_ops=9),
    num_stages=st.integers(1, 4),
    objective=st.sampled_from([PeakMemory(), PeakMemory(1.0), PeakMemory(0.37), Latency()]),
    seed=st.integers(0, 99),
)
def test_cuts_of_orders_are_the_best_of_all_cuts(graph, num_stages, objective, seed):
    try:
        problem = build_problem(graph, num_stages, objective)
    except ScheduleError:
        return
    order = random_order(problem, seed)
    cost, crossing = best_cut(problem, order)
    found = cut_order(problem, order)
    assert found.cost == pytest.approx(cost, rel=1e-12)
    counted = answer_of(problem, found.stages).chain
    assert (counted.cost, counted.crossing) == (found.cost, found.crossing)
    assert (np.diff(found.stages[order]) >= 0).all()
    assert cut_order(problem, order, cost * (1 + 1e-9)) is not None
    assert cost == 0 or cut_order(problem, order, cost * 0.999) is None
    sliced = slice_items(problem, order)
    assert sliced.cost == pytest.approx(cost, rel=1e-12)
    assert problem.combine == "sum" or sliced.crossing == crossing


def test_cuts_that_cost_the_same_but_for_rounding_are_told_apart_by_crossing_bytes():
    graph = OpGraph.from_arrays([0, 6, 0], [2, 3, 1], [(0, 1), (1, 2)])
    problem = build_problem(graph, 2, PeakMemory(0.37))
    order = np.arange(3)
    assert slice_items(problem, order).crossing == best_cut(problem, order)[1]


def test_compiled_cuts_keep_constraints_as_slicing_does():
    graph = random_graph("wide", 40, seed=2)
    total = int(graph.parameter_bytes.sum())
    found = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        constraints = Constraints(
            pinned={0: 0, 39: int(rng.integers(1, 3))},
            stage_bytes=[int(total * rng.uniform(0.2, 0.6)) for _ in range(3)],
        )
        try:
            problem = build_problem(graph, 3, PeakMemory(1.0), constraints)
        except ScheduleError:
            continue
        order = random_order(problem, seed)
        chain = cut_order(problem, order)
        try:
            expected = slice_items(problem, order).cost
        except ScheduleError:
            assert chain is None
            continue
        assert chain.cost == expected
        found += 1
    assert found > 3


@pytest.mark.parametrize("family", ["wide", "towers", "randwire"])
@pytest.mark.parametrize("is_sum", [False, True])
def test_annealing_keeps_its_sums_and_counts_right(family, is_sum):
    graph = random_graph(family, 60, seed=1)
    objective = Latency(enter=2.0, leave=1.0) if is_sum else PeakMemory(1.0)
    problem = build_problem(graph, 4, objective)
    start = slice_items(problem, np.arange(problem.num_items))
    draws = np.round(-np.log((np.arange(4096) + 0.5) / 4096), 6)
    stages, seen = start.stages, set()
    for random in range(1, 40):
        # So hot that nearly everything is accepted: what is counted wrong shows in the end.
        found = anneal(
            problem, stages, scale=start.cost, bound=-1.0, num_steps=5, moves_per_step=400,
            heats=(3.0, 1.0), powers=(0, 0), draws=draws, random=random * 10_000,
        )  # fmt: skip
        assert is_valid(problem, found.stages)
        counted = answer_of(problem, found.stages).chain
        assert (counted.cost, counted.crossing) == (found.cost, found.crossing)
        assert found.cost <= answer_of(problem, stages).chain.cost
        seen.add(found.stages.tobytes())
        stages = cut_order(problem, random_order(problem, random)).stages
    assert is_sum or len(seen) > 20


def test_annealing_keeps_constraints():
    graph = random_graph("wide", 60, seed=1)
    pins = {int(op): int(op) // 20 for op in (0, 30, 59)}
    free = build_problem(graph, 3, PeakMemory(1.0), Constraints(pinned=pins))
    rounds = Rounds(free, 0)
    rounds.add_orders([np.arange(60)], np.inf)
    held = np.bincount(rounds.best.stages, graph.parameter_bytes, 3)
    room = int(held.max() * 1.1)
    problem = build_problem(graph, 3, PeakMemory(1.0), Constraints(pinned=pins, stage_bytes=room))
    rounds = Rounds(problem, 0)
    rounds.add_orders([np.arange(60)], np.inf)
    for _ in range(6):
        rounds.run_round(5_000)
    assert len(rounds.found) > 1
    for chain in rounds.found:
        assert all(chain.stages[op] == stage for op, stage in pins.items())
        assert np.bincount(chain.stages, graph.parameter_bytes, 3).max() <= room


@settings(max_examples=200, deadline=None)
@given(graph=graphs(max_ops=8, colocated=False), most=st.integers(1, 40))
def test_ideals_are_listed_where_they_are_few(graph, most):
    problem = build_problem(graph, 1, PeakMemory())
    edges = problem.edges.tolist()
    expected = {
        chosen
        for chosen in itertools.product((0, 1), repeat=problem.num_items)
        if all(chosen[u] >= chosen[v] for u, v in edges)
    }
    found = list_ideals(problem, most, Budget())
    assert (found is not None) == (len(expected) <= most and problem.num_items < most)
    if found is not None:
        rows = found.astype(int)
        assert set(map(tuple, rows.tolist())) == expected
        assert (np.diff(rows.sum(axis=1)) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(graph=graphs(max_ops=7), num_stages=st.integers(2, 3), seed=st.integers(0, 9))
def test_neighbours_are_valid_and_no_worse(graph, num_stages, seed):
    try:
        problem = build_problem(graph, num_stages, PeakMemory(1.0))
    except ScheduleError:
        return
    known = slice_items(problem, random_order(problem, seed))
    near = neighbours(problem, known.stages, known.cost, Budget())
    assert near.cost <= known.cost
    assert is_valid(problem, near.stages)
    assert answer_of(problem, near.stages).chain.cost == near.cost


@settings(max_examples=80, deadline=None)
@given(
    graph=graphs(max_ops=7),
    num_stages=st.integers(2, 3),
    objective=st.sampled_from([PeakMemory(), PeakMemory(1.0), PeakMemory(0.37), Latency()]),
)
def test_proofs_agree_with_enumeration(graph, num_stages, objective):
    best = best_stages(graph, num_stages, objective)
    if best is None:
        return
    problem = build_problem(graph, num_stages, objective)
    known = slice_items(problem, np.arange(problem.num_items))
    ideals = IdealSearch(problem)
    chain, bound = ideals.raise_bound(known, problem.lower_bound(), Budget())
    assert chain.cost == pytest.approx(best[0], rel=1e-9)
    assert bound == pytest.approx(chain.cost, rel=1e-9)  # sums of floats, in two orders
    better = ideals.better_within(known, Budget())
    if better is None:
        assert known.cost == pytest.approx(best[0], rel=1e-8)
    else:
        assert best[0] * (1 - 1e-9) <= better.cost < known.cost
    gave_up = ideals.raise_bound(known, problem.lower_bound(), Budget(work=0))
    assert gave_up[1] <= chain.cost + problem.slack


@settings(max_examples=80, deadline=None)
@given(graph=graphs(max_ops=7), num_stages=st.integers(1, 3), data=st.data())
def test_complete_search_within_ranges_agrees_with_enumeration(graph, num_stages, data):
    try:
        problem = build_problem(graph, num_stages, PeakMemory(1.0))
    except ScheduleError:
        return
    ranges = [
        sorted(data.draw(st.tuples(*[st.integers(0, num_stages - 1)] * 2)))
        for _ in range(problem.num_items)
    ]
    first, last = np.array(ranges).T
    every = []
    for stages in map(np.array, itertools.product(*(range(a, b + 1) for a, b in ranges))):
        if is_valid(problem, stages):
            chain = answer_of(problem, stages).chain
            every.append((chain.cost, chain.crossing))
    for limit in (1e15, min(every, default=(9.0,))[0]):
        found = search_ideals(
            problem, (first, last), limit, Budget(), prune=False, settling=1_000_000
        )
        if not every:
            assert found is None
            continue
        chain = answer_of(problem, found[0]).chain
        assert ((first <= found[0]) & (found[0] <= last)).all()
        assert (chain.cost, chain.crossing) == min(every)
        assert found[1] == chain.cost
