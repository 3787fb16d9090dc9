"""The schedulers "policy", "policy-greedy" and "policy+milp", as users call them."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_reference import best_stages, graphs
from slow_clock import SlowClock

import respect_tf
from respect_tf import OpGraph, PeakMemory, schedule
from respect_tf._errors import ArgumentError, ScheduleError
from respect_tf.policy import propose
from respect_tf.scheduling import Constraints, _search, check_schedule, slice_order
from respect_tf.training import random_graph

NAMES = ("policy", "policy-greedy", "policy+milp")


@settings(max_examples=60, deadline=None)
@given(
    graph=graphs(max_ops=6),
    num_stages=st.integers(1, 4),
    objective=st.sampled_from([PeakMemory(), PeakMemory(1.0), PeakMemory(0.37)]),
    name=st.sampled_from(NAMES),
)
def test_small_graphs_agree_with_enumeration(graph, num_stages, objective, name):
    best = best_stages(graph, num_stages, objective)
    if best is None:
        with pytest.raises(ScheduleError):
            schedule(graph, num_stages, name, objective=objective)
        return
    found = schedule(graph, num_stages, name, objective=objective)
    check_schedule(graph, found, objective)
    assert found.scheduler == name
    assert found.cost >= best[0] - 1e-9 * abs(best[0])
    assert found.lower_bound <= best[0] + 1e-9 * abs(best[0])
    if found.status == "optimal" or name == "policy":
        assert found.cost == pytest.approx(best[0], rel=1e-9)


def test_policy_is_the_default():
    graph = random_graph("unet", 40, seed=0)
    assert schedule(graph, 3) == schedule(graph, 3, "policy")
    assert schedule(graph, 3).scheduler == "policy"


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_name_is_answered_with_theirs(name):
    with pytest.raises(ArgumentError, match=rf"'{name.replace('+', '[+]')}'"):
        schedule(random_graph("unet", 40, seed=0), 3, "polcy")


@pytest.mark.parametrize("num_ops", [50, 100])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_it_is_close_to_a_long_search(num_ops, weight):
    objective = PeakMemory(weight)
    for seed in range(3):
        graph = random_graph("wide", num_ops, seed=70 + seed)
        found = schedule(graph, 4, objective=objective)
        long = _search.search(graph, 4, objective=objective, budget=2000)
        assert found.cost <= 1.03 * long.cost


@pytest.mark.parametrize("name", ["policy", "policy+milp"])
def test_the_search_is_no_worse_than_the_greedy_order(name):
    for family in ("towers", "nasnet", "randwire"):
        graph, objective = random_graph(family, 80, seed=1), PeakMemory(1.0)
        greedy = schedule(graph, 4, "policy-greedy", objective=objective)
        assert schedule(graph, 4, name, objective=objective).cost <= greedy.cost


@pytest.mark.parametrize("objective", ["memory", PeakMemory(1.0), "throughput", "latency"])
def test_the_proposal_is_judged_whoever_decides(objective):
    graph = random_graph("wide", 40, seed=2)
    alone = schedule(graph, 3, "policy-greedy", objective=objective, device="usb3-pc")
    assert alone.proposal_cost == pytest.approx(alone.cost, rel=1e-12)
    assert alone.proposal_gap == pytest.approx(0, abs=1e-12)
    for name in ("policy", "policy+milp"):
        found = schedule(graph, 3, name, objective=objective, device="usb3-pc")
        assert found.cost <= found.proposal_cost == pytest.approx(alone.cost, rel=1e-12)
        assert found.proposal_gap == found.proposal_cost / found.cost - 1 >= 0
    for name in ("exact", "slicing", "compiler"):
        found = schedule(graph, 3, name, objective=objective, device="usb3-pc", time_limit=1)
        assert found.proposal_cost is found.proposal_gap is None


def test_the_proposal_is_the_best_cut_of_the_proposed_orders():
    graph, objective = random_graph("nasnet", 80, seed=1), PeakMemory(1.0)
    orders = propose(graph, 4, transfer_cost=2.0)
    costs = [slice_order(graph, order, 4, objective).cost for order in orders]
    found = schedule(graph, 4, objective=objective)
    assert found.proposal_cost == min(costs)
    assert isinstance(found.proposal_cost, int)


def test_without_time_for_the_network_nothing_is_proposed():
    graph = random_graph("wide", 60, seed=0)
    for name in ("policy", "policy-greedy"):
        found = schedule(graph, 3, name, objective="memory", time_limit=0)
        check_schedule(graph, found, "memory")
    assert found.proposal_cost is None


def test_the_same_seed_gives_the_same_schedule():
    graph, objective = random_graph("towers", 120, seed=4), PeakMemory(1.0)
    first = schedule(graph, 5, objective=objective, seed=3)
    schedule(random_graph("wide", 60, seed=1), 3, objective=objective, seed=1)
    assert schedule(graph, 5, objective=objective, seed=3) == first


@pytest.mark.parametrize("name", NAMES)
def test_constraints_are_kept(name):
    graph, objective = random_graph("wide", 40, seed=3), PeakMemory(1.0)
    free = schedule(graph, 4, "policy-greedy", objective=objective)
    last = int(np.flatnonzero(free.stages == 3)[-1])
    constraints = Constraints(pinned={0: 0, last: 3})
    found = schedule(graph, 4, name, objective=objective, constraints=constraints)
    check_schedule(graph, found, objective, constraints)


@pytest.mark.parametrize("name", NAMES)
def test_constraints_that_nothing_keeps_are_refused(name):
    graph = random_graph("wide", 40, seed=3)
    with pytest.raises(ScheduleError):
        schedule(graph, 4, name, objective="memory", constraints=Constraints(stage_bytes=1))


@pytest.mark.parametrize("name", NAMES)
def test_one_op_one_stage_and_as_many_stages_as_ops(name):
    alone = OpGraph.from_arrays([5], [1], np.zeros((0, 2), int))
    assert schedule(alone, 1, name, objective="memory").cost == 5
    graph = random_graph("wide", 30, seed=0)
    one = schedule(graph, 1, name, objective=PeakMemory(1.0))
    assert set(one.stages.tolist()) == {0}
    every = schedule(graph, 30, name, objective=PeakMemory(1.0))
    assert sorted(every.stages.tolist()) == list(range(30))
    with pytest.raises(ScheduleError, match="31 stages need 31 ops"):
        schedule(graph, 31, name, objective="memory")


@pytest.mark.parametrize("name", NAMES)
def test_graphs_in_parts_and_without_bytes(name):
    random = np.random.default_rng(0)
    apart = OpGraph.from_arrays(random.integers(1, 99, 40), [1] * 40, np.zeros((0, 2), int))
    found = schedule(apart, 4, name, objective=PeakMemory(1.0))
    check_schedule(apart, found, PeakMemory(1.0))
    edges = [(u, v) for u in range(8) for v in range(8, 16)]
    empty = OpGraph.from_arrays(np.zeros(16, int), np.zeros(16, int), edges)
    assert schedule(empty, 3, name, objective=PeakMemory(1.0)).cost == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_device_objectives_work(name):
    graph = random_graph("towers", 40, seed=0)
    for objective in ("throughput", "latency"):
        found = schedule(graph, 3, name, objective=objective, time_limit=2)
        assert found.lower_bound <= found.cost
        check_schedule(graph, found)


@pytest.mark.parametrize("name", NAMES)
def test_a_time_limit_is_kept(name, monkeypatch):
    graph = random_graph("towers", 300, seed=0)
    schedule(graph, 4, name, objective=PeakMemory(1.0), time_limit=0)
    clock = SlowClock(monkeypatch, 0.05)
    found = schedule(graph, 4, name, objective=PeakMemory(1.0), time_limit=1.5)
    assert clock.readings < 30 + 25  # some before the limit is set and after it has run out
    check_schedule(graph, found, PeakMemory(1.0))


@pytest.mark.slow
def test_5000_ops():
    graph, objective = random_graph("randwire", 5000, seed=0), PeakMemory(1.0)
    file = schedule(graph, 4, "slicing", objective=objective)
    found = schedule(graph, 4, objective=objective)
    check_schedule(graph, found, objective)
    assert found.cost <= file.cost


def test_few_ideals_need_no_compiled_code_and_no_tensorflow():
    code = (
        "import sys, respect_tf; from respect_tf.training import random_graph;"
        "g = random_graph('unet', 60, 0);"
        "assert respect_tf.schedule(g, 4, objective='memory').status == 'optimal';"
        "respect_tf.schedule(g, 4, 'policy-greedy', objective='memory');"
        "print([n for n in ('numba', 'cvxpy', 'tensorflow', 'tensorflow_gnn') if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_missing_weights_are_named(tmp_path, monkeypatch):
    from respect_tf.policy import _weights

    monkeypatch.setattr(_weights, "SHIPPED", tmp_path / "weights.npz")
    with pytest.raises(respect_tf.RespectError, match=r"weights\.npz"):
        schedule(random_graph("wide", 60, seed=0), 4, objective=PeakMemory(1.0))
