"""Schedules: which stage each op runs in, what that costs, and how good it can get."""

from respect_tf.scheduling._agreement import check_agreement
from respect_tf.scheduling._check import check_schedule, stage_costs
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import Latency, Throughput
from respect_tf.scheduling._fleet import Aim, FleetPlan, plan_fleet_of
from respect_tf.scheduling._fleet_uses import FleetGroup
from respect_tf.scheduling._highs import TOO_LATE, MilpClaim, claim_of, highs_options
from respect_tf.scheduling._host_islands import with_islands
from respect_tf.scheduling._host_phases import HostSplit, blocked_ops
from respect_tf.scheduling._improve import improve
from respect_tf.scheduling._measure import Measure, MeasuredTimes, MeasureLike, stages_around
from respect_tf.scheduling._objective import (
    LinearCost,
    Number,
    Objective,
    PeakMemory,
    resolve_objective,
)
from respect_tf.scheduling._order_cuts import OrderCuts
from respect_tf.scheduling._plan import checked_devices, frames_by_devices, plan_devices
from respect_tf.scheduling._plan_rows import DeviceCount, DevicePlan, PlanRow
from respect_tf.scheduling._plan_ways import share_out
from respect_tf.scheduling._request import ScheduleRequest
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._search import search
from respect_tf.scheduling._solve import schedule, schedule_by_program, slice_order

__all__ = [
    "TOO_LATE",
    "Aim",
    "Constraints",
    "DeviceCount",
    "DevicePlan",
    "FleetGroup",
    "FleetPlan",
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
    "PlanRow",
    "Schedule",
    "ScheduleRequest",
    "Throughput",
    "blocked_ops",
    "check_agreement",
    "check_schedule",
    "checked_devices",
    "claim_of",
    "frames_by_devices",
    "highs_options",
    "improve",
    "plan_devices",
    "plan_fleet_of",
    "resolve_objective",
    "schedule",
    "schedule_by_program",
    "search",
    "share_out",
    "slice_order",
    "stage_costs",
    "stages_around",
    "with_islands",
]
