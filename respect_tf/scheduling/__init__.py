"""Schedules: which stage each op runs in, what that costs, and how good it can get."""

from respect_tf.scheduling._arguments import resolve_objective
from respect_tf.scheduling._check import check_agreement, check_schedule
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import Latency, Throughput
from respect_tf.scheduling._highs import TOO_LATE, MilpClaim, claim_of, highs_options
from respect_tf.scheduling._host_phases import HostSplit, blocked_ops
from respect_tf.scheduling._host_schedule import with_islands
from respect_tf.scheduling._improve import improve
from respect_tf.scheduling._measure import Measure, MeasuredTimes, MeasureLike, stages_around
from respect_tf.scheduling._objective import (
    LinearCost,
    Number,
    Objective,
    PeakMemory,
    stage_costs,
)
from respect_tf.scheduling._orders import OrderCuts
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._search import search
from respect_tf.scheduling._solve import ScheduleRequest, schedule
from respect_tf.scheduling._solvers import schedule_by_program, slice_order

__all__ = [
    "TOO_LATE",
    "Constraints",
    "HostSplit",
    "Latency",
    "LinearCost",
    "Measure",
    "MeasureLike",
    "MeasuredTimes",
    "MilpClaim",
    "Number",
    "Objective",
    "OrderCuts",
    "PeakMemory",
    "Schedule",
    "ScheduleRequest",
    "Throughput",
    "blocked_ops",
    "check_agreement",
    "check_schedule",
    "claim_of",
    "highs_options",
    "improve",
    "resolve_objective",
    "schedule",
    "schedule_by_program",
    "search",
    "slice_order",
    "stage_costs",
    "stages_around",
    "with_islands",
]
