import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_reference import Latency, cost_and_crossing, graphs, make_graph, valid_stages

from respect_tf._errors import ScheduleError
from respect_tf.scheduling import PeakMemory, check_schedule
from respect_tf.scheduling import _milp as milp_module
from respect_tf.scheduling._answers import recount
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._milp import solve_milp
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._schedule import Schedule


@st.composite
def constrained(draw):
    graph = draw(graphs(max_ops=6))
    num_stages = draw(st.integers(1, 4))
    ops, stages = st.integers(0, graph.num_ops - 1), st.integers(0, num_stages - 1)
    total = int(graph.parameter_bytes.sum())
    room = st.integers(0, total + 1)
    constraints = Constraints(
        stage_bytes=draw(
            st.none() | room | st.lists(room, min_size=num_stages, max_size=num_stages)
        ),
        colocated=draw(st.lists(st.lists(ops, min_size=2, max_size=2), max_size=1)),
        colocate_children=draw(st.sampled_from([False, False, True])),
        pinned=draw(st.dictionaries(ops, stages, max_size=2)),
        uncut_tensors=draw(st.lists(ops, max_size=1)),
    )
    return graph, num_stages, constraints


def keeps(graph, stages, constraints):
    try:
        check_schedule(graph, Schedule(stages), constraints=constraints)
    except ScheduleError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(constrained(), st.sampled_from([PeakMemory(), PeakMemory(1.0), PeakMemory(0.5), Latency()]))
def test_constraints_agree_with_enumeration(case, objective):
    graph, num_stages, constraints = case
    costs = [
        cost_and_crossing(graph, stages, objective)[0]
        for stages in valid_stages(graph, num_stages)
        if keeps(graph, stages, constraints)
    ]
    try:
        problem = build_problem(graph, num_stages, objective, constraints)
    except ScheduleError:
        assert not costs
        return
    if not costs:
        with pytest.raises(ScheduleError, match="keeps the constraints"):
            solve_milp(problem, math.inf)
        return
    answer = solve_milp(problem, math.inf)
    assert keeps(graph, problem.stages_of_ops(answer.chain.stages), constraints)
    assert math.isclose(answer.chain.cost, min(costs), rel_tol=1e-12)
    assert answer.lower_bound == answer.chain.cost


def test_a_schedule_that_breaks_a_limit_is_not_believed(monkeypatch):
    graph = make_graph([2, 2, 2, 2], [0] * 4, np.zeros((0, 2), int))
    constraints = Constraints(stage_bytes=[2, 6], pinned={3: 0})
    problem = build_problem(graph, 2, PeakMemory(), constraints)
    honest, runs = milp_module.run_highs, []

    def run(model, start, **options):
        runs.append(options["presolve"])
        claim = honest(model, start, **options)
        broken = np.array([0, 0, 1, 1]) if len(runs) == 1 else claim.stages
        return dataclasses.replace(claim, stages=broken)

    monkeypatch.setattr(milp_module, "run_highs", run)
    answer = milp_module.search_window(problem, None, None, math.inf)
    assert problem.stages_of_ops(answer.chain.stages).tolist() == [1, 1, 1, 0]
    assert runs == [True, False]


def test_a_window_keeps_the_constraints():
    graph = make_graph([4, 1, 1, 4], [0] * 4, np.zeros((0, 2), int))
    for pinned, cost in (({}, 5), ({1: 0, 2: 0}, 6)):
        constraints = Constraints(pinned=pinned) if pinned else None
        problem = build_problem(graph, 2, PeakMemory(), constraints)
        known = recount(problem, np.array([0, 0, 0, 1]))
        answer = milp_module.search_window(problem, known, 1, math.inf)
        assert (answer.chain.cost, answer.lower_bound) == (cost, cost)
