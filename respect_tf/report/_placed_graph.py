"""`PlacedGraph`: what the pictures of a pipeline are drawn from."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.device import DeviceCosts, DeviceLike, PipelinePrediction, predict
from respect_tf.graph import OpGraph
from respect_tf.report._text import format_bytes
from respect_tf.scheduling import Schedule


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedGraph:
    """A graph with the stage of every op, and what is predicted for it. Nothing is measured.

    Attributes:
        graph: The graph.
        stages: int32 [num_ops], the stage of every op.
        prediction: What the device model predicts for these stages.
    """

    graph: OpGraph
    stages: npt.NDArray[np.int32]
    prediction: PipelinePrediction

    @classmethod
    def of(
        cls,
        graph: OpGraph,
        schedule: Schedule | npt.ArrayLike,
        device: DeviceLike,
        *,
        replicas: Sequence[int] | None = None,
        instruction_bytes: Sequence[int | None] | None = None,
    ) -> PlacedGraph:
        """A graph in stages on Edge TPUs.

        Args:
            graph: The graph.
            schedule: The schedule, or its stages: see `respect_tf.predict`.
            device: The kind of Edge TPU.
            replicas: See `respect_tf.predict`.
            instruction_bytes: See `respect_tf.predict`.

        Raises:
            ArgumentError: There is no such device, or the stages are not valid.
        """
        prediction = predict(
            graph, schedule, device, replicas=replicas, instruction_bytes=instruction_bytes
        )
        stages = getattr(schedule, "stages", schedule)
        return cls(graph, np.asarray(stages, np.int32), prediction)

    @property
    def num_stages(self) -> int:
        """Number of stages."""
        return len(self.prediction.stages)

    @property
    def room_bytes(self) -> int:
        """What one Edge TPU holds of parameters and activations, in bytes."""
        device = self.prediction.device
        return int(device.num_tiles * device.tile_bytes)

    @functools.cached_property
    def on_cpu(self) -> npt.NDArray[np.bool_]:
        """Whether an op stays on the CPU. bool [num_ops]."""
        return self._marked([stage.cost.cpu_ops for stage in self.prediction.stages])

    @functools.cached_property
    def is_streamed(self) -> npt.NDArray[np.bool_]:
        """Whether an op's parameters come from the host at every inference. bool [num_ops]."""
        return self._marked([stage.cost.streamed_ops for stage in self.prediction.stages])

    @functools.cached_property
    def op_ms(self) -> npt.NDArray[np.float64]:
        """Time of each op in ms, on the Edge TPU with its waiting for parameters, or on the CPU.

        What a stage takes beyond the sum of its ops is transfers and the inference itself.
        float64 [num_ops].
        """
        costs = DeviceCosts.of(self.graph, self.prediction.device, self.prediction.num_devices)
        on_tpu = costs.compute_ms + np.where(self.is_streamed, costs.stream_ms, 0.0)
        return np.where(self.on_cpu, costs.cpu_ms, on_tpu)

    def describe_op(self, op: int) -> str:
        """An op in three lines: what it is, its name, its figures."""
        where = "CPU" if self.on_cpu[op] else "Edge TPU"
        held = format_bytes(float(self.graph.parameter_bytes[op]))
        streamed = " (streamed)" if self.is_streamed[op] else ""
        return (
            f"op {op} {self.graph.op_types[op]}, stage {self.stages[op]}, {where}\n"
            f"{self.graph.op_names[op]}\n{held} of parameters{streamed}, {self.op_ms[op]:.3f} ms"
        )

    def describe_stage(self, stage: int) -> str:
        """A stage in one line."""
        ops = self.stages == stage
        held = float(self.graph.parameter_bytes[ops].sum())
        num_ops = int(ops.sum())
        on_host = " on the CPU" if self.prediction.stages[stage].on_cpu else ""
        count = self.prediction.replicas[stage]
        on_host += f" on {count} Edge TPUs" if count > 1 else ""
        return (
            f"stage {stage}{on_host}: {num_ops} op{'s' if num_ops > 1 else ''}, "
            f"{format_bytes(held)} of parameters, {self.prediction.stages[stage].total_ms:.3g} ms"
        )

    def _marked(self, ops_of_stages: list[tuple[int, ...]]) -> npt.NDArray[np.bool_]:
        mask = np.zeros(self.graph.num_ops, bool)
        mask[[op for ops in ops_of_stages for op in ops]] = True
        return mask
