"""Schedules: which stage each op runs in, what that costs, and how good it can get."""

from respect_tf._callable_module import make_callable
from respect_tf.schedule._check import check_schedule, stage_costs
from respect_tf.schedule._objective import LinearCost, Objective, PeakMemory, resolve_objective
from respect_tf.schedule._request import check_request
from respect_tf.schedule._schedule import Schedule
from respect_tf.schedule._solve import schedule, slice_order

__all__ = [
    "LinearCost",
    "Objective",
    "PeakMemory",
    "Schedule",
    "check_request",
    "check_schedule",
    "resolve_objective",
    "schedule",
    "slice_order",
    "stage_costs",
]

make_callable(__name__, schedule)
