"""The parts of the search, each against plain code."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduling.schedule_reference import Latency, best_stages, graphs

from respect_tf import PeakMemory
from respect_tf._errors import ScheduleError
from respect_tf.scheduling import Constraints
from respect_tf.scheduling._answers import answer_of
from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._ideal_search import IdealSearch
from respect_tf.scheduling._orders import priority_order
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._search_ideals import has_few_ideals, mix, neighbours
from respect_tf.scheduling._search_rounds import Rounds
from respect_tf.scheduling._search_state import layout_of, wiring_of
from respect_tf.scheduling._slicing import slice_items
from respect_tf.training import random_graph


def random_order(problem, seed):
    return priority_order(problem, np.random.default_rng(seed).random(problem.num_items))


def is_valid(problem, stages):
    before, after = problem.edges.T
    return (stages[before] <= stages[after]).all() and len(set(stages)) == problem.num_stages


@settings(max_examples=150, deadline=None)
@given(
    graph=graphs(max_ops=12),
    num_stages=st.integers(1, 4),
    objective=st.sampled_from([PeakMemory(), PeakMemory(1.0), PeakMemory(0.37), Latency()]),
    seed=st.integers(0, 99),
)
def test_compiled_cuts_are_as_good_as_those_of_slicing(graph, num_stages, objective, seed):
    try:
        problem = build_problem(graph, num_stages, objective)
    except ScheduleError:
        return
    order = random_order(problem, seed)
    expected = slice_items(problem, order)
    found = Rounds(problem, 0).cut(order, np.inf)
    assert found.cost == pytest.approx(expected.cost, rel=1e-12)
    counted = answer_of(problem, found.stages).chain
    assert counted.cost == pytest.approx(found.cost, rel=1e-12)
    assert counted.crossing == found.crossing
    assert (np.diff(found.stages[order]) >= 0).all()
    assert Rounds(problem, 0).cut(order, expected.cost * (1 + 1e-9)) is not None
    assert expected.cost == 0 or Rounds(problem, 0).cut(order, expected.cost * 0.999) is None


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
        chain = Rounds(problem, 0).cut(order, np.inf)
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
    rounds = Rounds(problem, 3)
    rounds.add_orders([np.arange(problem.num_items)], np.inf)
    rounds.bound = -1.0
    start = rounds.best
    layouts = []

    def keep(*arguments):
        layouts.append(layout_of(*arguments))
        return layouts[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("respect_tf.scheduling._search_rounds.layout_of", keep)
        patch.setattr("respect_tf.scheduling._search_rounds._COOLED", 50.0)  # ends hot, far away
        assert rounds.run_round(20_000) == 20_000
    last = layouts[0]
    stages = last.items[:, 0].copy()
    assert not np.array_equal(stages, start.stages)
    assert is_valid(problem, stages)
    fresh = layout_of(problem, wiring_of(problem), stages)
    assert np.array_equal(last.items[:, :3], fresh.items[:, :3])
    assert np.array_equal(last.reading, fresh.reading)
    assert np.array_equal(last.sums[:, :6], fresh.sums[:, :6])
    assert set(last.movable[: last.movable[-1]]) == set(fresh.movable[: fresh.movable[-1]])
    for chain in rounds.found:
        counted = answer_of(problem, chain.stages).chain
        assert (counted.cost, counted.crossing) == (chain.cost, chain.crossing)
    assert rounds.best.cost <= start.cost


@pytest.mark.parametrize("is_sum", [False, True])
def test_cuts_of_blurred_orders_are_valid_counted_right_and_no_worse(is_sum):
    objective = Latency(enter=2.0, leave=1.0) if is_sum else PeakMemory(1.0)
    problem = build_problem(random_graph("wide", 50, seed=1), 4, objective)
    rounds = Rounds(problem, 0)
    rounds.add_orders([np.arange(problem.num_items)], np.inf)
    rounds.bound = -1.0
    start = rounds.best
    for number in range(1, 6):
        rounds._vary(rounds.best, number)
    assert rounds.best.cost < start.cost
    for chain in rounds.found:
        assert is_valid(problem, chain.stages)
        counted = answer_of(problem, chain.stages).chain
        assert counted.cost == pytest.approx(chain.cost, rel=1e-12)
        assert counted.crossing == chain.crossing


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
def test_few_ideals_are_counted_right(graph, most):
    problem = build_problem(graph, 1, PeakMemory())
    edges = problem.edges.tolist()
    count = sum(
        all(chosen[u] >= chosen[v] for u, v in edges)
        for chosen in itertools.product((0, 1), repeat=problem.num_items)
    )
    assert has_few_ideals(problem, most) == (count <= most and problem.num_items < most)


def test_mixing_joins_the_good_ends_of_two_schedules():
    problem = build_problem(random_graph("towers", 80, seed=3), 4, PeakMemory(1.0))
    rounds = Rounds(problem, 0)
    rounds.add_orders([random_order(problem, seed) for seed in range(8)], np.inf)
    known = rounds.schedules()
    costs = [answer_of(problem, stages).chain.cost for stages in known]
    mixed = mix(problem, known, min(costs), Budget())
    assert mixed.cost <= min(costs)
    assert is_valid(problem, mixed.stages)
    assert answer_of(problem, mixed.stages).chain.cost == mixed.cost
    assert mix(problem, known, min(costs), Budget(work=0)) is None


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
