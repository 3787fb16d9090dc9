import dataclasses
import math

import numpy as np
import pytest

from respect_tf._errors import ScheduleError
from respect_tf.scheduling import Schedule


def test_stages_alone_make_a_schedule():
    schedule = Schedule(stages=[0, 0, 1])
    assert schedule.stages.dtype == np.int32
    assert schedule.stages.tolist() == [0, 0, 1]
    assert schedule.num_stages == 2
    assert schedule.cost is schedule.lower_bound is schedule.gap is schedule.objective is None
    assert (schedule.status, schedule.scheduler) == ("feasible", "user")


def test_stages_are_a_read_only_copy():
    stages = np.array([0, 1, 1])
    schedule = Schedule(stages)
    stages[0] = 1
    assert schedule.stages.tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        schedule.stages[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.num_stages = 3


@pytest.mark.parametrize(
    ("stages", "num_stages", "message"),
    [
        ([], None, "one per op"),
        ([[0, 1]], None, r"\[1, 2\]"),
        ([0.0, 1.0], None, "float64"),
        ([True, False], None, "bool"),
        ([0, -1], None, "Op 1 has the stage -1"),
        ([0, 2, 2], None, "Stage 1 of 3 is empty"),
        ([1, 1], None, "Stage 0 of 2 is empty"),
        ([0, 1], 3, "Stage 2 of 3 is empty"),
        ([0, 1, 2], 2, "Op 2 has the stage 2. Expected 0 to 1"),
        ([0], 0, "1 or more"),
        ([0], True, "whole number"),
        ([0], 1.0, "whole number"),
        ([0, 10**12], None, "Stage 1 of"),
    ],
)
def test_bad_stages_are_refused(stages, num_stages, message):
    with pytest.raises(ScheduleError, match=message):
        Schedule(stages, num_stages)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"cost": -1}, "cost must be finite"),
        ({"cost": math.nan}, "cost must be finite"),
        ({"lower_bound": math.inf}, "lower_bound must be finite"),
        ({"cost": 3, "lower_bound": 4}, "above the cost"),
        ({"cost": 3, "lower_bound": 2, "status": "optimal"}, "equals the cost"),
        ({"status": "optimal"}, "equals the cost"),
        ({"status": "perfect"}, "status must be"),
    ],
)
def test_claims_that_contradict_each_other_are_refused(claims, message):
    with pytest.raises(ScheduleError, match=message):
        Schedule([0, 1], **claims)


@pytest.mark.parametrize(
    ("cost", "lower_bound", "gap"),
    [(0, 0, 0.0), (5, 0, math.inf), (6, 4, 0.5), (4, 4, 0.0), (4, None, None), (None, 4, None)],
)
def test_gap_is_cost_over_bound(cost, lower_bound, gap):
    assert Schedule([0, 1], cost=cost, lower_bound=lower_bound).gap == gap


def test_equality_is_by_value_and_leaves_the_time_out():
    schedule = Schedule([0, 1], cost=3, lower_bound=3, status="optimal", solve_seconds=1.0)
    same = dataclasses.replace(schedule, solve_seconds=2.0)
    assert schedule == same
    assert hash(schedule) == hash(same)
    for change in ({"stages": [0, 0], "num_stages": 1}, {"cost": 4, "status": "feasible"}):
        assert schedule != dataclasses.replace(schedule, **change)
    assert schedule != "schedule"


def test_repr_is_short():
    schedule = Schedule(
        np.arange(1000), cost=8, lower_bound=4, objective="memory", scheduler="slicing"
    )
    assert repr(schedule) == (
        "Schedule(1000 stages of [1, 1, 1, 1, 1, 1, 1, 1, ...] ops, feasible, memory cost 8, "
        "gap 100.00%, by 'slicing')"
    )


def test_cpu_stages_are_a_part_of_the_value():
    schedule = Schedule([0, 1, 2], cpu_stages=[np.int64(2), 0])
    assert schedule.cpu_stages == (0, 2)
    assert Schedule([0, 1, 2]).cpu_stages == ()
    assert schedule != Schedule([0, 1, 2])
    assert "on the CPU: 0, 2" in repr(schedule)


@pytest.mark.parametrize("cpu_stages", [[3], [-1], [0, 0], [True], [0.0], ["0"], "0", 1])
def test_cpu_stages_must_be_stages(cpu_stages):
    with pytest.raises(ScheduleError, match="cpu_stages must be stages, 0 to 2"):
        Schedule([0, 1, 2], cpu_stages=cpu_stages)


def test_a_bound_within_tolerance_has_a_status_of_its_own():
    stages = [0, 0, 1]
    near = Schedule(stages, cost=1.0, lower_bound=1 - 5e-7, status="optimal within 1e-6")
    assert near.gap < 1e-6
    for bound in (None, 1 - 2e-6):
        with pytest.raises(ScheduleError, match="as near the cost"):
            Schedule(stages, cost=1.0, lower_bound=bound, status="optimal within 1e-6")
    with pytest.raises(ScheduleError, match="one of"):
        Schedule(stages, cost=1.0, lower_bound=1.0, status="best")
