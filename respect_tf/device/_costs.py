"""`DeviceCosts`: what each op and tensor of a graph costs on a device, and what a stage costs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.device._chip import ChipCosts, ChipStage
from respect_tf.device._edge_tpu import MIB, EdgeTpu
from respect_tf.device._parameters import Parameters
from respect_tf.graph import OpGraph

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class StageCost:
    """What one stage costs. Bytes are whole numbers, times ms.

    Attributes:
        ops: All its ops.
        cached_ops: Ops whose parameters stay on chip.
        streamed_ops: Ops whose parameters are brought from the host at every inference.
        cpu_ops: Ops that stay on the CPU.
        cached_bytes: Stored bytes of `cached_ops`.
        streamed_bytes: Stored bytes that are streamed, constants of elementwise ops included.
        instruction_bytes: Instructions, which are sent at every inference.
        input_bytes: Bytes that the host sends of tensors.
        output_bytes: Bytes that the device returns: maps are padded to 4 channels.
        moved_bytes: All that crosses the bus in an inference, in whole requests.
        logged_bytes: What the compiler's log prints as used for caching.
        activation_bytes: Room that activations take.
        room_bytes: Room for parameters, 0 or more.
        fixed_ms: The inference itself.
        instruction_ms: Sending instructions.
        compute_ms: Edge TPU at work.
        stream_ms: Waiting for parameters.
        input_ms: Bringing tensors in.
        output_ms: Bringing tensors out.
        cpu_ms: Ops on the CPU.
    """

    ops: tuple[int, ...]
    cached_ops: tuple[int, ...]
    streamed_ops: tuple[int, ...]
    cpu_ops: tuple[int, ...]
    cached_bytes: int
    streamed_bytes: int
    instruction_bytes: int
    input_bytes: int
    output_bytes: int
    moved_bytes: float
    logged_bytes: int
    activation_bytes: int
    room_bytes: int
    fixed_ms: float
    instruction_ms: float
    compute_ms: float
    stream_ms: float
    input_ms: float
    output_ms: float
    cpu_ms: float

    @property
    def total_ms(self) -> float:
        """All causes together."""
        return math.fsum(
            (
                self.fixed_ms,
                self.instruction_ms,
                self.compute_ms,
                self.stream_ms,
                self.input_ms,
                self.output_ms,
                self.cpu_ms,
            )
        )


@dataclasses.dataclass(frozen=True, eq=False)
class DeviceCosts:
    """A graph on a device, for one number of stages.

    Every part of a stage's time is a sum over its ops and over the distinct tensors that enter and
    leave it, but for three: which parameters are streamed, which ops a CPU op drags with it, and
    the room that activations take.

    Attributes:
        graph: The graph.
        device: The device.
        num_stages: Number of devices that work at once.
        chip: What does not depend on the host.
        compute_ms: float64 [num_ops], on the Edge TPU with parameters on chip; constants that are
            streamed in any case included.
        busy_ms: float64 [num_ops], that and the time to send its instructions.
        stream_ms: float64 [num_ops], what it takes longer if parameters are streamed.
        cpu_ms: float64 [num_ops], on the CPU.
        start_ms: An inference that does nothing: `fixed_ms` and a segment's own instructions.
        enter_ms_per_byte: Bringing a tensor into a stage.
        leave_ms_per_request: Bringing a tensor out of it.
    """

    graph: OpGraph
    device: EdgeTpu
    num_stages: int
    chip: ChipCosts
    compute_ms: Floats
    busy_ms: Floats
    stream_ms: Floats
    cpu_ms: Floats
    start_ms: float
    enter_ms_per_byte: float
    leave_ms_per_request: float

    @classmethod
    def of(cls, graph: OpGraph, device: EdgeTpu, num_stages: int = 1) -> DeviceCosts:
        """The costs of a graph on a device of which `num_stages` work at once."""
        chip = ChipCosts.of(graph, device)
        parameters, link = chip.parameters, device.link_ms_per_mib / MIB
        # Constants of elementwise ops are always streamed: that time is part of the op's.
        compute = chip.chip_ms * device.slower + link * parameters.streamed
        # The device computes with one part of the parameters while the next comes in.
        own = parameters.stored - parameters.streamed
        slowdown = device.slowdown(num_stages)
        return cls(
            graph=graph,
            device=device,
            num_stages=num_stages,
            chip=chip,
            compute_ms=compute,
            busy_ms=compute + link * chip.instructions,
            stream_ms=np.maximum(0.0, link * chip.passes * own - compute),
            cpu_ms=device.cpu_ms_per_gmac * graph.macs / 1e9
            + device.cpu_ms_per_mib * chip.maps / MIB,
            start_ms=device.fixed_ms + link * chip.base_instructions,
            enter_ms_per_byte=link * slowdown,
            leave_ms_per_request=device.output_ms_per_request
            / device.requests_in_flight
            * slowdown,
        )

    @property
    def parameters(self) -> Parameters:
        """What the parameters of each op take."""
        return self.chip.parameters

    def stage(
        self, ops: Sequence[int], entering: Sequence[int], leaving: Sequence[int]
    ) -> StageCost:
        """What a stage costs.

        Args:
            ops: Indices of its ops.
            entering: Distinct tensors that an op of it reads and an earlier stage or the model's
                input made.
            leaving: Distinct tensors made in it that a later stage reads or that are outputs of
                the model.
        """
        return self.time(self.chip.stage(ops, entering, leaving))

    def time(self, stage: ChipStage) -> StageCost:
        """What a stage costs that is known on the chip."""
        device, parameters = self.device, self.chip.parameters
        mapped, cached, on_cpu = list(stage.mapped), list(stage.cached), list(stage.on_cpu)
        return StageCost(
            ops=stage.ops,
            cached_ops=stage.cached,
            streamed_ops=stage.streamed,
            cpu_ops=stage.on_cpu,
            cached_bytes=int(parameters.movable[cached].sum()),
            streamed_bytes=stage.streamed_bytes,
            instruction_bytes=round(stage.instruction_bytes),
            input_bytes=math.ceil(stage.sent_bytes),
            output_bytes=stage.returned_bytes,
            moved_bytes=stage.sent_bytes
            + stage.requests * device.request_bytes
            + stage.streamed_bytes
            + stage.instruction_bytes,
            logged_bytes=int(parameters.logged[cached].sum()),
            activation_bytes=math.ceil(stage.activation_bytes),
            room_bytes=int(stage.room_bytes),
            fixed_ms=device.fixed_ms if mapped else 0.0,
            instruction_ms=device.link_ms_per_mib / MIB * stage.instruction_bytes,
            compute_ms=float(self.compute_ms[mapped].sum()),
            stream_ms=float(self.stream_ms[list(stage.streamed)].sum()),
            input_ms=self.enter_ms_per_byte * stage.sent_bytes,
            output_ms=self.leave_ms_per_request * stage.requests,
            cpu_ms=float(self.cpu_ms[on_cpu].sum()),
        )

    def load_ms(self, cost: StageCost) -> float:
        """What the first inference of a stage takes longer: parameters are brought to stay."""
        return self.device.link_ms_per_mib * cost.cached_bytes / MIB
