import math

import numpy as np
import pytest

from respect_tf.scheduling import Constraints, PeakMemory, _search_bands
from respect_tf.scheduling._answers import answer_of
from respect_tf.scheduling._compiled_search import choose_band
from respect_tf.scheduling._ideal_search import IdealSearch
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._search_bands import Bands
from respect_tf.scheduling._search_rounds import Rounds
from respect_tf.training import random_graph


def rounds_of(problem, seed=0):
    rounds = Rounds(problem, seed)
    rounds.add_orders([np.arange(problem.num_items)], math.inf)
    return rounds


def is_valid(problem, stages):
    before, after = problem.edges.T
    used = np.bincount(stages, minlength=problem.num_stages)
    return bool((stages[before] <= stages[after]).all() and used.all())


@pytest.mark.parametrize("family", ["wide", "towers", "levels", "randwire"])
@pytest.mark.parametrize("weight", [0.0, 1.0, 0.37])
def test_neighbourhoods_hold_better_schedules(family, weight):
    problem = build_problem(random_graph(family, 120, seed=5), 5, PeakMemory(weight))
    rounds = rounds_of(problem)
    start = rounds.best
    Bands(rounds, IdealSearch(problem), seed=0).run(6_000_000, math.inf)
    assert rounds.best.cost < start.cost
    for chain in rounds.found:
        assert is_valid(problem, chain.stages)
        counted = answer_of(problem, chain.stages).chain
        assert counted.cost == pytest.approx(chain.cost, rel=1e-12)


def test_the_same_seed_gives_the_same_schedules():
    problem = build_problem(random_graph("towers", 100, seed=1), 4, PeakMemory(1.0))
    runs = []
    for seed in (3, 3):
        rounds = rounds_of(problem, seed)
        Bands(rounds, IdealSearch(problem), seed).run(2_000_000, math.inf)
        runs.append(np.stack([chain.stages for chain in rounds.found[:2]]))
    assert np.array_equal(runs[0], runs[1])


def test_constraints_are_kept():
    graph = random_graph("wide", 80, seed=2)
    pins = {0: 0, 79: 3, 40: 2}
    held = np.bincount(
        rounds_of(build_problem(graph, 4, PeakMemory())).best.stages, graph.parameter_bytes, 4
    )
    room = int(held.max() * 1.3)
    constraints = Constraints(pinned=pins, stage_bytes=room)
    problem = build_problem(graph, 4, PeakMemory(1.0), constraints)
    rounds = rounds_of(problem)
    Bands(rounds, IdealSearch(problem), seed=0).run(4_000_000, math.inf)
    assert len(rounds.found) > 1
    for chain in rounds.found:
        stages = problem.stages_of_ops(chain.stages)
        assert all(stages[op] == stage for op, stage in pins.items())
        assert np.bincount(stages, graph.parameter_bytes, 4).max() <= room


@pytest.mark.parametrize("most", [1, 5, 40])
@pytest.mark.parametrize("depth", [1, 4])
def test_bands_open_some_items_around_some_boundaries(most, depth):
    problem = build_problem(random_graph("wide", 90, seed=0), 4, PeakMemory(1.0))
    stages = rounds_of(problem).best.stages
    is_open = np.array([False, False, True, True, False])
    first, last, random = choose_band(problem, stages, is_open, depth, most, 12345)
    assert random != 12345
    assert ((stages - 1 <= first) & (first <= stages)).all()
    assert ((stages <= last) & (last <= stages + 1)).all()
    back, forth = first < stages, last > stages
    assert set(stages[back]) <= {2, 3}
    assert set(stages[forth]) <= {1, 2}
    for boundary in (2, 3):
        moved = (back & (stages == boundary)) | (forth & (stages == boundary - 1))
        assert moved.sum() <= most
        assert moved.any() or most == 1
    # Each item that may move can do so with all that it takes along.
    before, after = problem.edges.T
    assert (first[before] <= first[after]).all()
    assert (last[before] <= last[after]).all()


def test_neighbourhoods_grow_no_larger_than_the_graph(monkeypatch):
    """With a time limit, they are looked at until it is over, however small their work is."""
    problem = build_problem(random_graph("towers", 30, seed=1), 3, PeakMemory())
    rounds, asked = rounds_of(problem), []
    rounds.bound = 0.0  # so that it never ends with a proof

    def choose(*arguments):
        asked.append(arguments[-2])
        return choose_band(*arguments)

    monkeypatch.setattr(_search_bands, "choose_band", choose)
    Bands(rounds, IdealSearch(problem), seed=0).run(6_000_000, math.inf)
    assert len(asked) > 100
    assert 20 < max(asked) <= problem.num_items


def test_loops_refuse_numbers_of_more_than_64_bits():
    problem = build_problem(random_graph("towers", 30, seed=1), 3, PeakMemory())
    stages, is_open = rounds_of(problem).best.stages, np.ones(4, bool)
    with pytest.raises(OverflowError):
        choose_band(problem, stages, is_open, 1, 2**63, 1)
