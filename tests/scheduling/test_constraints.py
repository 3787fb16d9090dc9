import math

import numpy as np
import pytest
from constraint_reference import all_stages, best_of, constraints_for, keeping
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schedule_reference import Batched, Latency, Streaming, cost_and_crossing, graphs, make_graph

from respect_tf._errors import ArgumentError, ScheduleError
from respect_tf.scheduling import (
    Constraints,
    PeakMemory,
    Schedule,
    check_agreement,
    check_schedule,
    schedule,
    slice_order,
)

OBJECTIVES = [
    PeakMemory(),
    PeakMemory(1.0),
    PeakMemory(0.5),
    PeakMemory(3.0),
    Latency(),
    Latency(0.0, 3.0, combine="max"),
    Streaming(),
    Streaming(30, combine="sum"),
    Batched(),
    Batched(300, combine="sum"),
]
# The others are asked about one stage after the other: too long for all stages of nine loose ops.
QUICK_OBJECTIVES = [part for part in OBJECTIVES if not isinstance(part, Streaming)]


def check_against_enumeration(graph, num_stages, objective, constraints):
    rows = keeping(graph, all_stages(graph, num_stages), num_stages, constraints)
    expected = best_of(graph, rows, num_stages, objective)
    if expected is None:
        with pytest.raises(ScheduleError) as raised:
            schedule(graph, num_stages, "exact", objective=objective, constraints=constraints)
        assert "not prove" not in str(raised.value)
        return None
    cost, crossing, _ = expected
    found = schedule(graph, num_stages, "exact", objective=objective, constraints=constraints)
    assert found.status == "optimal"
    assert math.isclose(found.cost, cost, rel_tol=1e-12)
    assert cost_and_crossing(graph, found.stages.tolist(), objective)[1] == crossing
    return found


@settings(max_examples=200, deadline=None)
@given(st.data(), graphs(max_ops=6), st.integers(1, 4), st.sampled_from(OBJECTIVES))
def test_small_graphs_agree_with_enumeration(data, graph, num_stages, objective):
    num_stages = min(num_stages, graph.num_ops)
    constraints = data.draw(constraints_for(graph, num_stages))
    check_against_enumeration(graph, num_stages, objective, constraints)


@pytest.mark.slow
@settings(max_examples=700, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), graphs(max_ops=9), st.integers(1, 4), st.sampled_from(QUICK_OBJECTIVES))
def test_graphs_of_nine_ops_agree_with_enumeration(data, graph, num_stages, objective):
    num_stages = min(num_stages, graph.num_ops)
    constraints = data.draw(st.one_of(st.just(Constraints()), constraints_for(graph, num_stages)))
    exact = check_against_enumeration(graph, num_stages, objective, constraints)
    if not objective.linear_cost(graph).exact:
        return
    asked = {"objective": objective, "constraints": constraints}
    if exact is None:
        with pytest.raises(ScheduleError):
            schedule(graph, num_stages, "milp", **asked)
        return
    found = schedule(graph, num_stages, "milp", **asked)
    assert found.status == "optimal"
    assert math.isclose(found.cost, exact.cost, rel_tol=1e-12)
    check_agreement(graph, exact, found, objective)


@settings(max_examples=150, deadline=None)
@given(st.data(), graphs(max_ops=7), st.integers(1, 4), st.sampled_from(OBJECTIVES))
def test_slicing_finds_the_best_cut_that_keeps_them(data, graph, num_stages, objective):
    num_stages = min(num_stages, graph.num_ops)
    drawn = data.draw(constraints_for(graph, num_stages))
    # Ops that share a stage are moved together first, which changes the order.
    constraints = Constraints(stage_bytes=drawn.stage_bytes, pinned=drawn.pinned)
    if len(graph.colocated):
        return
    rows = keeping(graph, all_stages(graph, num_stages), num_stages, constraints)
    order = graph.topological_order
    rows = rows[(np.diff(rows[:, order], axis=1) >= 0).all(axis=1)]
    expected = best_of(graph, rows, num_stages, objective)
    if expected is None:
        with pytest.raises(ScheduleError):
            slice_order(graph, order, num_stages, objective, constraints=constraints)
        return
    found = slice_order(graph, order, num_stages, objective, constraints=constraints)
    assert math.isclose(found.cost, expected[0], rel_tol=1e-12)
    assert cost_and_crossing(graph, found.stages.tolist(), objective)[1] == expected[1]


@settings(max_examples=100, deadline=None)
@given(st.data(), graphs(max_ops=5), st.integers(1, 3))
def test_the_checker_accepts_what_keeps_them_and_nothing_else(data, graph, num_stages):
    num_stages = min(num_stages, graph.num_ops)
    constraints = data.draw(constraints_for(graph, num_stages))
    rows = all_stages(graph, num_stages)
    kept = set(map(tuple, keeping(graph, rows, num_stages, constraints).tolist()))
    for stages in map(tuple, rows.tolist()):
        if stages in kept:
            check_schedule(graph, Schedule(stages), constraints=constraints)
        else:
            with pytest.raises(ScheduleError):
                check_schedule(graph, Schedule(stages), constraints=constraints)


def chain(num_ops=4):
    edges = [(op, op + 1) for op in range(num_ops - 1)]
    return make_graph([10] * num_ops, [1] * num_ops, edges)


@pytest.mark.parametrize(
    ("constraints", "named"),
    [
        (Constraints(pinned={0: 1, 3: 0}), r"op 0 .*stage 1 and op 3 .*stage 0"),
        (Constraints(pinned={0: 1}), "Stage 0 can hold no op"),
        (Constraints(pinned={1: 0, 2: 1}, colocated=[(1, 2)]), r"op 1 .*stage 0 and op 2 .*share"),
        (Constraints(pinned={1: 0, 2: 1}, uncut_tensors=[1]), r"op 1 .*stage 0 and op 2 .*share"),
        (Constraints(stage_bytes=9), r"op 0 .*cannot be placed: 10 parameter bytes.*at most 9"),
        (Constraints(stage_bytes=19), "40 parameter bytes.*allows 38 in all 2 stages"),
        (Constraints(stage_bytes=[15, 100], pinned={1: 0}), r"op 1 .*into stage 0|No schedule"),
        (Constraints(stage_bytes=[10, 29]), "40 parameter bytes"),
        (Constraints(stage_bytes=[100, 19], pinned={2: 1, 3: 1}), r"Pins put op 2 .* op 3 .*1: 20"),
        (Constraints(uncut_tensors=[0, 1, 2]), r"1 groups.*op_0.*uncut tensor"),
        (Constraints(colocated=[(0, 3)]), r"1 groups.*op 0.*op 3.*colocated"),
    ],
)
@pytest.mark.parametrize("scheduler", ["exact", "slicing"])
def test_contradictions_name_what_clashes(constraints, named, scheduler):
    with pytest.raises(ScheduleError, match=named):
        schedule(chain(), 2, scheduler, constraints=constraints, objective="memory")


def test_children_in_one_stage_names_the_parent():
    graph = make_graph([1, 1, 1], [1, 1, 1], [(0, 1), (0, 2)])
    with pytest.raises(ScheduleError, match="children of op 0"):
        schedule(
            graph, 3, "exact", constraints=Constraints(colocate_children=True), objective="memory"
        )


def test_exact_says_that_no_schedule_exists_when_it_has_seen_all():
    graph = make_graph([3, 3, 3, 3], [0, 0, 0, 0], [(0, 1), (2, 3)])
    with pytest.raises(ScheduleError, match="the search over all of them is complete"):
        schedule(graph, 2, "exact", constraints=Constraints(stage_bytes=[5, 8]), objective="memory")


def test_giving_up_without_a_schedule_is_no_proof():
    rng = np.random.default_rng(3)
    sizes = 2 * rng.integers(500, 1000, 40) + 2
    sizes[-1] += 1
    graph = make_graph(sizes, sizes, np.zeros((0, 2), int))
    half = int(sizes.sum()) // 2
    with pytest.raises(ScheduleError, match="does not prove"):
        schedule(
            graph,
            2,
            constraints=Constraints(stage_bytes=[half, half + 1]),
            time_limit=0.2,
            objective="memory",
        )


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"stage_bytes": -1}, "stage_bytes"),
        ({"stage_bytes": math.nan}, "stage_bytes"),
        ({"stage_bytes": [1, None]}, "stage_bytes"),
        ({"colocated": [1, 2]}, "colocated"),
        ({"colocated": [(0, 1.5)]}, "colocated"),
        ({"colocate_children": 1}, "colocate_children"),
        ({"pinned": [(0, 1)]}, "pinned"),
        ({"pinned": {0: -1}}, "pinned"),
        ({"uncut_tensors": ["a"]}, "uncut_tensors"),
    ],
)
def test_wrong_values_are_refused(fields, named):
    with pytest.raises(ArgumentError, match=named):
        Constraints(**fields)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"stage_bytes": [1, 2, 3]}, "each of the 2 stages"),
        ({"colocated": [(0, 9)]}, "op 9"),
        ({"pinned": {9: 0}}, "op 9"),
        ({"pinned": {0: 2}}, "stage 2"),
        ({"uncut_tensors": [99]}, "tensor 99"),
    ],
)
def test_what_is_not_there_is_refused(fields, named):
    with pytest.raises(ArgumentError, match=named):
        schedule(chain(), 2, "exact", constraints=Constraints(**fields), objective="memory")
    with pytest.raises(ArgumentError, match=named):
        check_schedule(chain(), Schedule([0, 0, 1, 1]), constraints=Constraints(**fields))


def test_the_program_keeps_them_and_other_schedulers_refuse_them():
    held = Constraints(pinned={0: 0, 1: 1})
    assert schedule(chain(), 2, "milp", objective="memory", constraints=held).stages[1] == 1
    with pytest.raises(ArgumentError, match="constraints"):
        schedule(chain(), 2, "compiler", constraints=Constraints(pinned={0: 0}), objective="memory")


def test_constraints_are_values():
    first = Constraints(pinned={1: 0, 0: 0}, colocated=[[0, 1]], stage_bytes=[1, 2])
    assert first == Constraints(pinned={0: 0, 1: 0}, colocated=((0, 1),), stage_bytes=(1, 2))
    assert hash(first) == hash(Constraints(colocated=((0, 1),), stage_bytes=(1, 2)))
    assert not Constraints()
    assert Constraints(stage_bytes=0)
