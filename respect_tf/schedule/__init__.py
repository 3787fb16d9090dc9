"""Schedules: which stage each op runs in, what that costs, and how good it can get."""

from respect_tf._callable_module import make_callable
from respect_tf.schedule._agreement import check_agreement
from respect_tf.schedule._check import check_schedule, stage_costs
from respect_tf.schedule._constraints import Constraints
from respect_tf.schedule._device_objectives import Latency, Throughput
from respect_tf.schedule._local import improve
from respect_tf.schedule._objective import LinearCost, Objective, PeakMemory, resolve_objective
from respect_tf.schedule._profile import Measure
from respect_tf.schedule._request import check_request
from respect_tf.schedule._schedule import Schedule
from respect_tf.schedule._solve import schedule, scheduler_names, slice_order
from respect_tf.schedule._stage_batch import StageBatch
from respect_tf.schedule._window import WindowResult, window_milp

__all__ = [
    "Constraints",
    "Latency",
    "LinearCost",
    "Measure",
    "Objective",
    "PeakMemory",
    "Schedule",
    "StageBatch",
    "Throughput",
    "WindowResult",
    "check_agreement",
    "check_request",
    "check_schedule",
    "improve",
    "resolve_objective",
    "schedule",
    "scheduler_names",
    "slice_order",
    "stage_costs",
    "window_milp",
]

make_callable(__name__, schedule)
