"""Plans: how many stages and replicas to make of the devices there are, for a model or several."""

from respect_tf.planning._again import cut_within
from respect_tf.planning._fleet import Aim, FleetPlan, plan_fleet_of
from respect_tf.planning._fleet_uses import FleetGroup
from respect_tf.planning._pictures import too_large
from respect_tf.planning._plan import (
    checked_devices,
    frames_by_devices,
    judged_proposal,
    plan_devices,
)
from respect_tf.planning._rows import DeviceCount, DevicePlan, PlanRow, SmallerPicture, TooLarge
from respect_tf.planning._ways import share_out

__all__ = [
    "Aim",
    "DeviceCount",
    "DevicePlan",
    "FleetGroup",
    "FleetPlan",
    "PlanRow",
    "SmallerPicture",
    "TooLarge",
    "checked_devices",
    "cut_within",
    "frames_by_devices",
    "judged_proposal",
    "plan_devices",
    "plan_fleet_of",
    "share_out",
    "too_large",
]
