"""Measured inference times as arrays that the model's constants are fitted to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.device._costs import DeviceCosts, StageCost
from respect_tf.device._edge_tpu import MIB, PAIR_FIELDS, EdgeTpu

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class StageWork:
    """What a stage does, without the device's times.

    Attributes:
        ops: One (10**9 multiply-accumulates, MiB made by convolutions as in `DeviceCosts.map_mib`,
            MiB that dense layers read and make, streamed MiB, step of `EdgeTpu.strip_passes` from 1
            on or 0) per op, or sums over ops that stream nothing.
        always_mib: MiB of constants that are streamed in any case.
        input_mib: MiB that enter in all.
        output_mib: MiB that leave in all.
        reload_mib: MiB that are loaded anew at every inference although they are cached, because
            the measurement changed models in between.
    """

    ops: tuple[tuple[float, float, float, float, int], ...]
    input_mib: float
    output_mib: float
    always_mib: float = 0.0
    reload_mib: float = 0.0


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One measured time.

    Attributes:
        stages: What each device does.
        ms: Mean time per inference.
        num_inputs: How many inferences ran one after the other through the pipeline; 1 measures
            latency.
    """

    stages: tuple[StageWork, ...]
    ms: float
    num_inputs: int = 1


def stage_work(
    costs: DeviceCosts,
    cost: StageCost,
    entering: Sequence[int],
    leaving: Sequence[int],
    *,
    reload: bool = False,
) -> StageWork:
    """The work of a stage that `DeviceCosts.stage` has priced; ops on the CPU are left out.

    Args:
        costs: The graph on its device.
        cost: The stage.
        entering: Tensors that enter it.
        leaving: Tensors that leave it.
        reload: Whether the measurement loads parameters and instructions at every inference.
    """
    parameters, tensors = costs.parameters, costs.graph.tensor_bytes
    on_cpu, streamed = set(cost.cpu_ops), set(cost.streamed_ops)
    ops = []
    for op in cost.ops:
        if op in on_cpu:
            continue
        own = float(parameters.stored[op] - parameters.streamed[op]) / MIB
        work = (
            float(costs.gmacs[op]),
            float(costs.map_mib[op]),
            float(costs.vector_mib[op]),
        )
        if op in streamed:
            ops.append((*work, own, int(costs.strip_step[op])))
        elif any(work):
            ops.append((*work, 0.0, 0))
    mapped = [op for op in cost.ops if op not in on_cpu]
    return StageWork(
        ops=tuple(ops),
        input_mib=float(tensors[list(entering)].sum()) / MIB,
        output_mib=float(tensors[list(leaving)].sum()) / MIB,
        always_mib=float(parameters.streamed[mapped].sum()) / MIB,
        reload_mib=costs.load_mib(cost) if reload else 0.0,
    )


class Design:
    """Measurements as flat arrays, so that all their times are predicted at once."""

    def __init__(self, measurements: Sequence[Measurement]) -> None:
        stages = [stage for measurement in measurements for stage in measurement.stages]
        ops = [(index, *op) for index, stage in enumerate(stages) for op in stage.ops]
        table = np.array(ops, np.float64).reshape(-1, 6)
        self._op_stage = table[:, 0].astype(np.int64)
        self._gmacs, self._maps, self._vectors, self._streamed = table[:, 1:5].T
        self._step = table[:, 5].astype(np.int64)
        self._input = np.array([stage.input_mib for stage in stages])
        self._output = np.array([stage.output_mib for stage in stages])
        self._loaded = np.array([stage.always_mib + stage.reload_mib for stage in stages])
        self._num_stages = np.array([len(m.stages) for m in measurements])
        self._first = np.cumsum(self._num_stages) - self._num_stages
        self._num_inputs = np.array([m.num_inputs for m in measurements])
        self.ms = np.array([m.ms for m in measurements])

    def predict(self, device: EdgeTpu) -> Floats:
        """Predicted ms per inference. float64 [num_measurements].

        The first inference passes all stages; each further one comes after the slowest stage, in
        which transfers are slowed by the other devices, or when the host has served all stages.
        """
        passes = np.array([1.0, *(count for _, count in device.strip_passes)])[self._step]
        compute = device.ms_per_gmac * self._gmacs + device.ms_per_map_mib * self._maps
        compute += device.ms_per_vector_mib * self._vectors
        busy = np.maximum(compute, device.ms_per_streamed_mib * passes * self._streamed)
        count = len(self._output)
        own = np.bincount(self._op_stage, busy, count) + device.fixed_ms
        own += device.ms_per_streamed_mib * self._loaded
        moved = device.ms_per_input_mib * self._input + device.ms_per_output_mib * self._output
        slowdown = np.array([device.slowdown(int(n)) for n in self._num_stages])
        slowest = np.maximum.reduceat(
            own + np.repeat(slowdown, self._num_stages) * moved, self._first
        )
        latency = np.add.reduceat(own + moved, self._first)
        served = device.dispatch_ms * np.where(self._num_stages > 1, self._num_stages, 0)
        latency, slowest = latency + served, np.maximum(slowest, served)
        predicted: Floats = (latency + (self._num_inputs - 1) * slowest) / self._num_inputs
        return predicted


def fit_constants(
    measurements: Iterable[Measurement], base: EdgeTpu, names: Sequence[str]
) -> EdgeTpu:
    """Constants that fit measured times best, by relative error.

    A soft loss keeps single odd measurements from deciding. What the measurements say nothing
    about stays near the base's value.

    Args:
        measurements: At least one.
        base: Where the search starts, and the other constants.
        names: Fields to fit; of pairs, the second number is.
    """
    from scipy.optimize import least_squares

    design = Design(list(measurements))
    start = np.array([value for name in names for value in _values(base, name)])
    scale = np.maximum(start, _SMALLEST)

    def residuals(values: Floats) -> Floats:
        misfit = design.predict(_replaced(base, names, values)) / design.ms - 1.0
        return np.concatenate([misfit, _PRIOR * (values - start) / scale])

    lower = np.concatenate(
        [np.full(len(_values(base, n)), 1.0 if n == "strip_passes" else 0.0) for n in names]
    )
    found = least_squares(
        residuals,
        np.maximum(start, lower + 1e-3 * scale),
        bounds=(lower, np.inf),
        x_scale=scale,
        loss="soft_l1",
        f_scale=_SOFT,
    )
    return _replaced(base, names, np.maximum(found.x, lower))


_SOFT = 0.02  # relative error from which on a measurement counts less
_PRIOR = 1e-3  # weight of one base value next to one measurement
_SMALLEST = 0.05  # scale of constants that are 0 in the base


def _values(device: EdgeTpu, name: str) -> list[float]:
    value = getattr(device, name)
    return [second for _, second in value] if name in PAIR_FIELDS else [float(value)]


def _replaced(base: EdgeTpu, names: Sequence[str], values: Floats) -> EdgeTpu:
    remaining = values.tolist()
    changes: dict[str, Any] = {}
    for name in names:
        if name in PAIR_FIELDS:
            changes[name] = tuple((first, remaining.pop(0)) for first, _ in getattr(base, name))
        else:
            changes[name] = remaining.pop(0)
    return dataclasses.replace(base, **changes)
