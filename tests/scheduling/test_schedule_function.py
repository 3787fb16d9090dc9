import subprocess
import sys

import numpy as np
import pytest
from schedule_reference import make_graph

from respect_tf._errors import ArgumentError, ScheduleError
from respect_tf.scheduling import PeakMemory, schedule

CHAIN = make_graph([4, 1, 1, 4], [1, 1, 1, 1], [[0, 1], [1, 2], [2, 3]])


@pytest.mark.parametrize("scheduler", ["exact", "slicing"])
def test_what_a_schedule_says_about_itself(scheduler):
    found = schedule(CHAIN, 2, scheduler, objective="memory")
    assert found.stages.tolist() == [0, 0, 1, 1]
    assert (found.cost, found.lower_bound, found.status) == (5, 5, "optimal")
    assert (found.objective, found.scheduler) == ("memory", scheduler)
    assert found.solve_seconds > 0


def test_objectives_by_name_and_value_are_the_same():
    assert schedule(CHAIN, 2, objective="memory") == schedule(CHAIN, 2, objective=PeakMemory())
    weighted = schedule(CHAIN, 2, objective=PeakMemory(2))
    assert weighted == schedule(CHAIN, 2, objective=weighted.objective)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scheduler": "best"}, "'exact', 'milp', .*'slicing'.*'best'"),
        ({"scheduler": None}, "Unknown scheduler"),
        ({"objective": "speed"}, "Unknown objective.*'speed'"),
        ({"time_limit": -1}, "time_limit"),
        ({"time_limit": float("nan")}, "time_limit"),
        ({"time_limit": "1"}, "time_limit"),
        ({"time_limit": True}, "time_limit"),
        ({"seed": -1}, "seed"),
        ({"seed": 0.5}, "seed"),
        ({"num_stages": 0}, "1 or more. Received: 0"),
        ({"num_stages": -3}, "1 or more. Received: -3"),
        ({"num_stages": 2.0}, "whole number"),
        ({"num_stages": True}, "whole number"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        schedule(CHAIN, **{"num_stages": 2, "objective": "memory", **arguments})


@pytest.mark.parametrize("scheduler", ["exact", "slicing"])
def test_too_many_stages_are_refused_with_the_numbers(scheduler):
    with pytest.raises(ScheduleError, match=r"5 stages need 5 ops.* has 4"):
        schedule(CHAIN, 5, scheduler, objective="memory")
    pair = make_graph([4, 1, 1, 4], [1] * 4, [[0, 1], [1, 2], [2, 3]], colocated=[[0, 2]])
    with pytest.raises(ScheduleError, match=r"4 ops form 2 groups.*3 stages"):
        schedule(pair, 3, scheduler, objective="memory")
    assert schedule(pair, 2, scheduler, objective="memory").stages.tolist() == [0, 0, 0, 1]


def test_sums_that_are_not_exact_are_refused():
    huge = make_graph([2**52, 2**52], [1, 1], [[0, 1]])
    with pytest.raises(ArgumentError, match=r"2\*\*53"):
        schedule(huge, 2, objective="memory")


@pytest.mark.parametrize("scheduler", ["exact", "slicing"])
@pytest.mark.parametrize("weight", [1e-300, 1e-9, 3e20, 1e300])
def test_weights_of_any_size_work(scheduler, weight):
    found = schedule(CHAIN, 2, scheduler, objective=PeakMemory(weight))
    assert found.status == "optimal" or scheduler == "slicing"
    assert found.stages.tolist() in ([0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1])


def test_one_stage_holds_everything():
    found = schedule(CHAIN, 1, objective=PeakMemory(1))
    assert (found.cost, found.stages.tolist()) == (11, [0, 0, 0, 0])


def test_results_are_the_same_in_every_process():
    code = (
        "import numpy as np; from respect_tf.graph import OpGraph; import respect_tf;"
        "r = np.random.default_rng(0); e = r.integers(0, 20, (60, 2)); e = e[e[:, 0] < e[:, 1]];"
        "g = OpGraph.from_arrays(r.integers(0, 9, 20), r.integers(0, 9, 20), e);"
        "s = respect_tf.schedule(g, 4, objective='memory');"
        "print(s.stages.tolist(), s.cost, s.status)"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(runs) == 1


def test_small_graphs_need_no_compiler():
    code = (
        "import sys, respect_tf; from respect_tf.graph import OpGraph;"
        "g = OpGraph.from_arrays([1] * 50, [1] * 50, [(i, i + 1) for i in range(49)]);"
        "respect_tf.schedule(g, 4, objective=respect_tf.PeakMemory(1.0));"
        "print([n for n in ('numba', 'scipy', 'cvxpy', 'tensorflow') if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_graph_is_left_unchanged():
    before = CHAIN.parameter_bytes.copy()
    schedule(CHAIN, 3, objective=PeakMemory(1))
    assert np.array_equal(before, CHAIN.parameter_bytes)
