"""Choosing where a pipeline runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from respect_tf._errors import ArgumentError
from respect_tf._reporting import Verbosity, report
from respect_tf.run._cpu_runner import CpuRunner
from respect_tf.run._edge_tpu_runner import EdgeTpuRunner
from respect_tf.run._edge_tpus import check_edge_tpus
from respect_tf.segmentation import Segment

RunnerDevice = Literal["auto", "cpu", "edgetpu"]


def create_runner(
    segments: Sequence[Segment],
    *,
    device: RunnerDevice = "auto",
    devices: Sequence[str] | None = None,
    input_names: Mapping[str, str] | None = None,
    input_queue_size: int | None = None,
    output_queue_size: int | None = None,
    verbose: Verbosity = "auto",
) -> CpuRunner | EdgeTpuRunner:
    """Start a pipeline.

    Args:
        segments: The segments, in order.
        device: `"edgetpu"`, `"cpu"`, or `"auto"`: Edge TPUs if everything they need is there, else
            the CPU, with a message that says why.
        devices: Names of the Edge TPUs in the segments' order; chosen if left out.
        input_names: Further names for the inputs: such a name -> the name in segment 0's file.
        input_queue_size: Inputs that may wait before `push` does; None for any number.
        output_queue_size: Results that may wait before the last segment does; None for any number.
        verbose: 0 is silence.

    Raises:
        ArgumentError: There is no such device, or an argument does not fit.
        DeviceError: Something that `"edgetpu"` needs is missing; the message is a checklist.
        InterpreterError: TFLite refuses a segment.
    """
    if device not in ("auto", "cpu", "edgetpu"):
        raise ArgumentError(
            f'device must be "auto", "cpu" or "edgetpu". Received: {device!r}. Single Edge TPUs '
            'are named by devices=["usb:0", ...].'
        )
    if device == "cpu" and devices is not None:
        raise ArgumentError('devices names Edge TPUs. Expected device="edgetpu" with it.')
    if device == "auto" and devices is None:
        missing = [check for check in check_edge_tpus(segments) if not check.ok]
        if missing:
            reasons = "; ".join(f"{check.name}: {check.found}" for check in missing)
            report(f"Running on the CPU, not on Edge TPUs ({reasons}).", verbose=verbose)
            device = "cpu"
    if device == "cpu":
        return CpuRunner(
            segments,
            input_names=input_names,
            input_queue_size=input_queue_size,
            output_queue_size=output_queue_size,
        )
    return EdgeTpuRunner(
        segments,
        devices=devices,
        input_names=input_names,
        input_queue_size=input_queue_size,
        output_queue_size=output_queue_size,
    )
