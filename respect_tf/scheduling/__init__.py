"""Schedules: which stage each op runs in, what that costs, and how good it can get."""

from respect_tf.scheduling._agreement import check_agreement
from respect_tf.scheduling._check import check_schedule, stage_costs
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import Latency, Throughput
from respect_tf.scheduling._fleet import Aim, FleetPlan, plan_fleet_of
from respect_tf.scheduling._fleet_uses import FleetGroup
from respect_tf.scheduling._improve import improve
from respect_tf.scheduling._measure import Measure, MeasuredTimes, MeasureLike, stages_around
from respect_tf.scheduling._objective import LinearCost, Objective, PeakMemory, resolve_objective
from respect_tf.scheduling._plan import (
    DeviceCount,
    DevicePlan,
    PlanRow,
    checked_devices,
    frames_by_devices,
    plan_devices,
)
from respect_tf.scheduling._plan_ways import share_out
from respect_tf.scheduling._request import ScheduleRequest
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._solve import schedule, slice_order
from respect_tf.scheduling._window import WindowResult, window_milp

__all__ = [
    "Aim",
    "Constraints",
    "DeviceCount",
    "DevicePlan",
    "FleetGroup",
    "FleetPlan",
    "Latency",
    "LinearCost",
    "Measure",
    "MeasureLike",
    "MeasuredTimes",
    "Objective",
    "PeakMemory",
    "PlanRow",
    "Schedule",
    "ScheduleRequest",
    "Throughput",
    "WindowResult",
    "check_agreement",
    "check_schedule",
    "checked_devices",
    "frames_by_devices",
    "improve",
    "plan_devices",
    "plan_fleet_of",
    "resolve_objective",
    "schedule",
    "scheduler_names",
    "share_out",
    "slice_order",
    "stage_costs",
    "stages_around",
    "window_milp",
]
