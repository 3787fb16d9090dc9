"""The replicas of a pipeline that this machine has Edge TPUs for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from respect_tf._errors import DeviceError
from respect_tf.planning import share_out
from respect_tf.run import list_edge_tpus

if TYPE_CHECKING:
    from respect_tf._pipeline import Pipeline


def replicas_at_hand(
    pipeline: Pipeline, device: str, backend: str, devices: Any, *, reset_states: bool
) -> tuple[int, ...]:
    """Replicas as planned, as far as there are Edge TPUs for them and a runner can have any.

    Args:
        pipeline: The pipeline.
        device: See `Pipeline.runner`.
        backend: See there.
        devices: See there.
        reset_states: See there.

    Raises:
        DeviceError: `device` is "edgetpu", and libedgetpu is not there.
    """
    schedule = pipeline.schedule
    most = sum(pipeline.replicas) - len(schedule.cpu_stages)
    least = schedule.num_stages - len(schedule.cpu_stages)
    if most == least or backend == "pycoral" or not reset_states:
        return (1,) * schedule.num_stages
    if devices is not None:
        num_devices = len(devices) if isinstance(devices, Sequence) else most
    elif device == "cpu" or backend == "cpu":
        num_devices = most
    else:
        try:
            num_devices = len(list_edge_tpus())
        except DeviceError:
            if device == "edgetpu":
                raise
            num_devices = most  # the runner says why, and takes the CPU
    if least <= num_devices < most:
        return share_out(pipeline.graph, pipeline.device, schedule, num_devices)
    return pipeline.replicas
