"""Choosing where a pipeline runs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf._reporting import Verbosity, progress, report
from respect_tf.run._backends import CpuBackend, EdgeTpuBackend
from respect_tf.run._device_checks import (
    DeviceCheck,
    RunnerBackend,
    check_edge_tpus,
    device_error,
    interpreter_for,
    list_edge_tpus,
)
from respect_tf.run._pycoral_runner import PycoralRunner
from respect_tf.run._runner import PipelineRunner, check_queue_size
from respect_tf.run.script._interpreters import checked_options
from respect_tf.run.script._packages import LoadError
from respect_tf.run.script._stages import LoadedModel
from respect_tf.segmentation import Segment

RunnerDevice = Literal["auto", "cpu", "edgetpu"]


def create_runner(
    segments: Sequence[Segment],
    *,
    device: RunnerDevice = "auto",
    backend: RunnerBackend = "auto",
    devices: Sequence[str] | None = None,
    replicas: Sequence[int] | None = None,
    rebalance: bool = False,
    share_devices: bool = False,
    driver_options: Mapping[str, Any] | None = None,
    timeout: float | None = 60.0,
    reattach: float = 5.0,
    reset_states: bool = True,
    input_names: Mapping[str, str] | None = None,
    input_queue_size: int | None = None,
    output_queue_size: int | None = None,
    verbose: Verbosity = "auto",
) -> PipelineRunner | PycoralRunner:
    """Start a pipeline.

    Args:
        segments: The segments, in order. Those with `on_cpu` run on the host in any case.
        device: `"edgetpu"`, `"cpu"`, or `"auto"`: Edge TPUs if everything they need is there, else
            the CPU, with a message that says why.
        backend: What runs segments on Edge TPUs: `"litert"` (the package ai_edge_litert),
            `"tflite"` (tflite_runtime), `"tensorflow"`, each with threads of our own; or
            `"pycoral"`, Google's PipelinedModelRunner. `"auto"` takes the first of these that is
            installed. `"cpu"` is the same as `device="cpu"`.
        devices: Names of the Edge TPUs in the segments' order, replicas of one segment side by
            side; chosen if left out.
        replicas: On how many devices each segment runs; one each if left out. Inputs are dealt out
            to them, and results put back in order. CPU stages may have several as well.
        rebalance: Whether a device of a segment with several moves to the slowest segment, where
            that makes the pipeline faster.
        share_devices: Whether segments take turns where there are fewer Edge TPUs than they need.
            Every turn loads a segment's parameters anew.
        driver_options: Options of libedgetpu by name: `Performance` ("Low", "Medium", "High",
            "Max"), `Usb.AlwaysDfu`, `Usb.MaxBulkInQueueLength` (0 to 255).
        timeout: Seconds that one inference of one segment may take; None for any.
        reattach: Seconds for which an Edge TPU that has failed, as one that was unplugged, is
            looked for before the pipeline fails.
        reset_states: Whether recurrent ops (LSTM) begin each input with a fresh state, as in
            `predict`; else they go on, as they always do in pycoral's runner.
        input_names: Further names for the inputs: such a name -> the name in segment 0's file.
        input_queue_size: Inputs that may wait before `push` does; None for any number.
        output_queue_size: Results that may wait before the last segment does; None for any number.
        verbose: 0 is silence.

    Raises:
        ArgumentError: There is no such device, or an argument does not fit.
        DeviceError: Something that `"edgetpu"` needs is missing; the message is a checklist.
        InterpreterError: TFLite refuses a segment.
    """
    if not segments:
        raise ArgumentError("Expected at least one segment. Received: none.")
    device = _checked_device(device, backend, devices)
    check_queue_size(input_queue_size)
    check_queue_size(output_queue_size)
    counts = _checked_replicas(replicas, segments)
    _check_seconds("timeout", timeout, least=0.001)
    _check_seconds("reattach", reattach, least=0.0)
    if not reset_states and (max(counts) > 1 or rebalance):
        raise ArgumentError(
            "reset_states=False needs one device per segment. Received: replicas or rebalance."
        )
    try:
        options = checked_options(driver_options)
    except ValueError as error:
        raise ArgumentError(str(error)) from None
    queues: dict[str, Any] = {
        "input_names": input_names,
        "input_queue_size": input_queue_size,
        "output_queue_size": output_queue_size,
    }
    if device != "cpu":
        needed = sum(n for n, segment in zip(counts, segments, strict=True) if not segment.on_cpu)
        try:
            if backend == "pycoral":
                _refuse_for_pycoral(counts, rebalance or share_devices or bool(options))
                return PycoralRunner(segments, devices=devices, timeout=timeout, **queues)
            names = _device_names(segments, devices, needed, backend, share_devices)
            with progress("Loading segments onto Edge TPUs", verbose=verbose):
                return _on_edge_tpus(
                    segments, counts, names, backend, options, reset_states,
                    rebalance=rebalance, timeout=timeout, reattach=reattach,
                    verbose=verbose, **queues,
                )  # fmt: skip
        except _UnfitError as unfit:
            if backend == "auto" and max(counts) == 1 and _pycoral_fits(segments):
                return PycoralRunner(segments, devices=devices, timeout=timeout, **queues)
            if device == "edgetpu" or devices is not None:
                raise device_error(unfit.checks, unfit.reason) from unfit.__cause__
            missing = [f"{check.name}: {check.found}" for check in unfit.checks if not check.ok]
            reasons = "; ".join(missing) or unfit.reason
            report(f"Running on the CPU, not on Edge TPUs ({reasons}).", verbose=verbose)
    cpu = CpuBackend(reset_states)
    with _closing_on_error() as models:
        for segment, count in zip(segments, counts, strict=True):
            models.append([])
            for _ in range(count):
                models[-1].append(cpu.load(segment, "cpu"))
        return PipelineRunner(segments, models, timeout=timeout, **queues)


class _UnfitError(Exception):
    """The pipeline cannot run on Edge TPUs from here."""

    def __init__(self, checks: Sequence[DeviceCheck], reason: str = "") -> None:
        super().__init__(reason)
        self.checks = checks
        self.reason = reason


def _device_names(
    segments: Sequence[Segment],
    devices: Sequence[str] | None,
    needed: int,
    backend: RunnerBackend,
    share: bool,
) -> list[str]:
    """A device per segment and replica that is on one, in their order."""
    least = 1 if share and needed else needed
    if devices is not None:
        names = list(devices)
        if not least <= len(names) <= needed:
            raise ArgumentError(
                f"devices must name {needed} different Edge TPUs, one per segment and replica, for "
                f"example {[f'usb:{index}' for index in range(needed)]}. Received: {devices!r}."
            )
    checks = check_edge_tpus(segments, num_devices=least, backend=backend)
    if devices is not None:  # one that is not listed may still be there: loading it will tell
        checks = tuple(check for check in checks if "Edge TPUs" not in check.name)
    if not all(check.ok for check in checks):
        raise _UnfitError(checks)
    if devices is None:
        names = [found.name for found in list_edge_tpus()[:needed]]
    # Neighbours share a device, so that a tensor between them finds it free more often.
    return [names[position * len(names) // needed] for position in range(needed)]


def _on_edge_tpus(
    segments: Sequence[Segment],
    counts: Sequence[int],
    names: Sequence[str],
    backend: RunnerBackend,
    options: Mapping[str, str],
    reset_states: bool,
    *,
    verbose: Verbosity,
    **settings: Any,
) -> PipelineRunner:
    package = interpreter_for(backend)
    if package is None:
        raise _UnfitError(check_edge_tpus(segments, backend=backend))
    tpu, cpu = (
        EdgeTpuBackend(package, options=options, reset_states=reset_states),
        CpuBackend(reset_states),
    )
    shared = len(set(names)) < len(names)
    load = tpu.load_shared if shared else tpu.load
    rest = iter(names)
    places = [
        ["cpu" if segment.on_cpu else next(rest) for _ in range(count)]
        for segment, count in zip(segments, counts, strict=True)
    ]
    if shared:
        report(_cost_of_sharing(segments, places), verbose=verbose)
    try:
        firsts = [(s, place[0]) for s, place in zip(segments, places, strict=True) if not s.on_cpu]
        tpu.check(firsts)
        with _closing_on_error() as models:
            for segment, place in zip(segments, places, strict=True):
                models.append([])
                for name in place:
                    models[-1].append((cpu.load if segment.on_cpu else load)(segment, name))
            return PipelineRunner(
                segments,
                models,
                load=lambda stage, name: load(segments[stage], name),
                **settings,
            )
    except LoadError as error:
        checks = check_edge_tpus(segments, num_devices=len(set(names)), backend=backend)
        raise _UnfitError(checks, str(error)) from error


@contextlib.contextmanager
def _closing_on_error() -> Any:
    """A list of models that are closed where not all of them can be loaded."""
    models: list[list[LoadedModel]] = []
    try:
        yield models
    except BaseException:
        for model in (model for replicas in models for model in replicas):
            model.close()
        raise


def _cost_of_sharing(segments: Sequence[Segment], places: Sequence[Sequence[str]]) -> str:
    by_device: dict[str, list[Segment]] = {}
    for segment, place in zip(segments, places, strict=True):
        for name in place:
            if not segment.on_cpu:
                by_device.setdefault(name, []).append(segment)
    crowded = {name: held for name, held in by_device.items() if len(held) > 1}
    mib = sum(len(s.compiled or b"") for held in crowded.values() for s in held) / 2**20
    return (
        f"{sum(map(len, crowded.values()))} segments take turns on {len(crowded)} Edge TPU"
        f"{'s' if len(crowded) > 1 else ''} ({', '.join(crowded)}). Each turn loads a segment's "
        f"parameters anew: up to {mib:.2f} MiB for every result."
    )


def _checked_device(
    device: RunnerDevice, backend: RunnerBackend, devices: Sequence[str] | None
) -> RunnerDevice:
    if device not in ("auto", "cpu", "edgetpu"):
        raise ArgumentError(
            f'device must be "auto", "cpu" or "edgetpu". Received: {device!r}. Single Edge TPUs '
            'are named by devices=["usb:0", ...].'
        )
    if backend not in get_args(RunnerBackend):
        known = ", ".join(f'"{name}"' for name in get_args(RunnerBackend))
        raise ArgumentError(f"backend must be one of {known}. Received: {backend!r}.")
    if backend == "cpu":
        if device == "edgetpu":
            raise ArgumentError('backend="cpu" runs on the CPU. Received: device="edgetpu".')
        device = "cpu"
    if devices is None:
        return device
    if device == "cpu":
        raise ArgumentError('devices names Edge TPUs. Expected device="edgetpu" with it.')
    names = [] if isinstance(devices, str) else list(devices)
    if (
        not names
        or not all(isinstance(name, str) for name in names)
        or len(set(names)) != len(names)
    ):
        raise ArgumentError(
            'devices must be a sequence of different Edge TPUs, as in ["usb:0", "pci:1"]. '
            f"Received: {devices!r}."
        )
    return device


def _checked_replicas(replicas: Sequence[int] | None, segments: Sequence[Segment]) -> list[int]:
    if replicas is None:
        return [1] * len(segments)
    counts = np.asarray(replicas)
    if counts.shape != (len(segments),) or counts.dtype.kind not in "iu" or counts.min() < 1:
        raise ArgumentError(
            f"replicas must be {len(segments)} whole numbers from 1, one per segment. "
            f"Received: {replicas!r}."
        )
    return [int(count) for count in counts]


def _check_seconds(name: str, value: float | None, *, least: float) -> None:
    if value is None and name == "timeout":
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 1e9:
        raise ArgumentError(f"{name} must be seconds, {least:g} or more. Received: {value!r}.")


def _pycoral_fits(segments: Sequence[Segment]) -> bool:
    return all(check.ok for check in check_edge_tpus(segments, backend="pycoral"))


def _refuse_for_pycoral(counts: Sequence[int], others: bool) -> None:
    if max(counts) > 1 or others:
        raise ArgumentError(
            'backend="pycoral" runs one segment per device: replicas, rebalance, share_devices and '
            "driver_options need another backend."
        )
