"""`ChipCosts`: what a graph takes of the chip, whatever the host."""

from __future__ import annotations

import dataclasses
import functools
import math
import weakref
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.device._compute import chip_ms
from respect_tf.device._edge_tpu import CHIP_FIELDS, MIB, EdgeTpu
from respect_tf.device._instructions import instruction_bytes
from respect_tf.device._parameters import Parameters, op_parameters
from respect_tf.device._support import unmapped_ops, unsupported_reason
from respect_tf.device._tiles import left_out
from respect_tf.device._transfers import crossing_tensors, returned_bytes
from respect_tf.graph import OpGraph

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class ChipStage:
    """What a stage is on the chip, whatever the host.

    Attributes:
        ops: All its ops.
        mapped: Those on the Edge TPU.
        cached: Of those, the ops whose parameters stay on chip.
        streamed: The ops whose parameters are brought from the host at every inference.
        on_cpu: Ops that stay on the CPU.
        streamed_bytes: Bytes that are streamed, constants of elementwise ops included.
        activation_bytes: Room that activations take.
        room_bytes: Room for parameters, 0 or more.
        instruction_bytes: Instructions, which are sent at every inference.
        sent_bytes: Bytes of the tensors that the host sends.
        returned_bytes: Bytes of the tensors that the device returns.
        requests: Requests that bring them.
    """

    ops: tuple[int, ...]
    mapped: tuple[int, ...]
    cached: tuple[int, ...]
    streamed: tuple[int, ...]
    on_cpu: tuple[int, ...]
    streamed_bytes: int
    activation_bytes: float
    room_bytes: float
    instruction_bytes: float
    sent_bytes: float
    returned_bytes: int
    requests: int


@dataclasses.dataclass(frozen=True, eq=False)
class ChipCosts:
    """A graph on the chip: memory, work, bytes that cross. The same for all hosts.

    Attributes:
        graph: The graph.
        device: A device with the chip's constants.
        parameters: What the parameters of each op take.
        supported: bool [num_ops], whether the compiler maps each op if it stands alone.
        chip_ms: float64 [num_ops], at 500 MHz with parameters on chip.
        maps: float64 [num_ops], bytes of the activations that each op reads and makes.
        largest_tensor: int64 [num_ops], bytes of the largest of them.
        strip_step: int64 [num_ops], from 1 on the entry of `EdgeTpu.strip_passes` that holds for
            an op that works in strips; 0 for the others.
        base_instructions: Bytes of instructions of a segment without ops.
        instructions: float64 [num_ops], bytes of instructions that each op adds.
        returned: int64 [num_tensors], bytes that leave the device with each tensor.
        requests: int64 [num_tensors], requests that bring them.
    """

    graph: OpGraph
    device: EdgeTpu
    parameters: Parameters
    supported: npt.NDArray[np.bool_]
    chip_ms: Floats
    maps: Floats
    largest_tensor: Ints
    strip_step: Ints
    base_instructions: float
    instructions: Floats
    returned: Ints
    requests: Ints

    @classmethod
    def of(cls, graph: OpGraph, device: EdgeTpu) -> ChipCosts:
        """A graph on a device's chip; looked at once for a chip and a size of requests."""
        known = _KNOWN.setdefault(graph, {})
        key = _key(device)
        if key not in known:
            known[key] = cls._of(graph, device)
        return known[key]

    @classmethod
    def _of(cls, graph: OpGraph, device: EdgeTpu) -> ChipCosts:
        parameters = op_parameters(graph)
        sizes = [_activation_sizes(graph, op) for op in range(graph.num_ops)]
        largest = [max(row, default=0.0) if graph.op_attributes else 0.0 for row in sizes]
        maps = np.array([sum(row) for row in sizes], np.float64)
        in_strips = (maps / MIB >= device.strip_map_mib) & (
            parameters.stored / MIB >= device.strip_parameter_mib
        )
        above = [first for first, _ in device.strip_passes]
        step = np.searchsorted(above, maps / MIB, side="right")
        base, instructions = instruction_bytes(graph)
        returned = returned_bytes(graph)
        reasons = (unsupported_reason(graph, op) for op in range(graph.num_ops))
        return cls(
            graph=graph,
            device=device,
            parameters=parameters,
            supported=np.array([reason is None for reason in reasons]),
            chip_ms=chip_ms(graph),
            maps=maps,
            largest_tensor=np.array(largest, np.int64),
            strip_step=np.where(in_strips, step, 0),
            base_instructions=base,
            instructions=instructions,
            returned=returned,
            requests=-(-returned // int(device.request_bytes)),
        )

    @functools.cached_property
    def passes(self) -> Floats:
        """How often parameters that are streamed to each op are fetched. [num_ops]."""
        counts: Floats = np.array([1.0, *(count for _, count in self.device.strip_passes)])
        return counts[self.strip_step]

    @functools.cached_property
    def all_supported(self) -> bool:
        """Whether every op is supported."""
        return bool(self.supported.all())

    @functools.cached_property
    def is_even(self) -> bool:
        """Whether parameters take as much of each tile, and nothing else takes any room."""
        blocks = self.parameters.blocks
        is_even = bool(((blocks == 0) | (blocks == self.device.num_tiles)).all())
        return is_even and not self.largest_tensor.any() and not self.strip_step.any()

    @functools.cached_property
    def surely_mapped(self) -> npt.NDArray[np.bool_]:
        """Whether each op is on the Edge TPU in whatever segment it is. [num_ops].

        No path leads to it from a supported op through one that is not.
        """
        graph, supported = self.graph, self.supported
        # What may be on the way to each op: 0 nothing, 1 a mapped op, 2 an op on the CPU after it.
        seen = np.zeros(graph.num_tensors, np.int8)
        mapped = np.zeros(graph.num_ops, bool)
        for op in graph.topological_order.tolist():
            before = int(seen[graph.inputs_of(op)].max(initial=0))
            mapped[op] = supported[op] and before < 2
            after = 1 if mapped[op] else 2 if before or supported[op] else 0
            seen[graph.outputs_of(op)] = after
        return mapped

    def stage(
        self, ops: Sequence[int], entering: Sequence[int], leaving: Sequence[int]
    ) -> ChipStage:
        """A stage on the chip; see `DeviceCosts.stage`."""
        parameters, graph = self.parameters, self.graph
        on_cpu = self.on_cpu(ops)
        mapped = [op for op in ops if op not in on_cpu] if on_cpu else list(ops)
        sent, returned = list(entering), list(leaving)
        if on_cpu:
            sent, returned = crossing_tensors(graph, mapped, on_cpu, leaving)
        activations = self.activation_bytes(mapped, entering)
        room = max(0.0, self.whole_room - activations)
        cached, streamed = self.place(mapped, room)
        instructions = 0.0
        if mapped:
            own = math.fsum(self.instructions[mapped].tolist())
            instructions = self.base_instructions + own
        return ChipStage(
            ops=tuple(ops),
            mapped=tuple(mapped),
            cached=tuple(cached),
            streamed=tuple(streamed),
            on_cpu=tuple(sorted(on_cpu)),
            streamed_bytes=int(parameters.movable[streamed].sum())
            + int(parameters.streamed[mapped].sum()),
            activation_bytes=activations,
            room_bytes=room,
            instruction_bytes=instructions,
            sent_bytes=float(graph.tensor_bytes[sent].sum()),
            returned_bytes=int(self.returned[returned].sum()),
            requests=int(self.requests[returned].sum()),
        )

    def cpu_stage(self, ops: Sequence[int]) -> ChipStage:
        """A stage of which nothing is on the chip."""
        return ChipStage(
            ops=tuple(ops),
            mapped=(),
            cached=(),
            streamed=(),
            on_cpu=tuple(sorted(ops)),
            streamed_bytes=0,
            activation_bytes=0.0,
            room_bytes=0.0,
            instruction_bytes=0.0,
            sent_bytes=0.0,
            returned_bytes=0,
            requests=0,
        )

    def on_cpu(self, ops: Sequence[int]) -> set[int]:
        """The ops of a stage that stay on the CPU."""
        if self.all_supported:
            return set()
        return set(unmapped_ops(self.graph, ops, self._mask))

    def activation_bytes(self, mapped: Sequence[int], entering: Sequence[int]) -> float:
        """Room that the activations of a stage's mapped ops take."""
        if not len(mapped):
            return 0.0
        index, device = list(mapped), self.device
        if self.strip_step[index].any():
            entered = float(self.graph.tensor_bytes[list(entering)].sum())
            return min(device.strip_input_share * entered, self.activation_cap)
        share = device.activation_share * float(self.largest_tensor[index].max())
        return min(share, self.activation_cap)

    @property
    def activation_cap(self) -> float:
        """Bytes that activations take at most."""
        return self.device.activation_cap_mib * MIB

    @property
    def whole_room(self) -> float:
        """Bytes of all tiles."""
        return self.device.num_tiles * self.device.tile_bytes

    def place(self, mapped: Sequence[int], room: float) -> tuple[list[int], list[int]]:
        """Ops whose parameters are cached, and those whose parameters are streamed; ascending."""
        parameters, num_tiles = self.parameters, self.device.num_tiles
        index = np.array(mapped, np.int64)
        holders = index[parameters.blocks[index] > 0]
        tile = room / num_tiles
        blocks, sizes = parameters.blocks[holders], parameters.block_bytes[holders]
        largest = int(sizes.max()) if len(holders) else 0
        # The tile with most room is never fuller than the average, so this much always fits.
        if float((blocks * sizes).sum()) / num_tiles + largest <= tile:
            return sorted(holders.tolist()), []
        order = holders[np.argsort(self.largest_first[holders])]
        inside = np.ones((1, len(order)), bool)
        blocks, sizes = parameters.blocks[order], parameters.block_bytes[order]
        streamed = left_out(blocks, sizes, inside, np.array([tile]), num_tiles)[0]
        return np.sort(order[~streamed]).tolist(), np.sort(order[streamed]).tolist()

    @functools.cached_property
    def largest_first(self) -> Ints:
        """Position of each op when the compiler looks for room. [num_ops].

        What takes most of a tile comes first: a block, or a tile's even share of more of them.
        """
        parameters = self.parameters
        share = np.maximum(parameters.blocks / self.device.num_tiles, 1) * parameters.block_bytes
        order = np.lexsort((-parameters.logged, -share))
        position = np.empty(len(order), np.int64)
        position[order] = np.arange(len(order))
        return position

    @functools.cached_property
    def layers_in_turn(self) -> Ints:
        """Ops with parameters in the order in which they ask for room. [num_layers]."""
        order = np.argsort(self.largest_first)
        layers: Ints = order[self.parameters.blocks[order] > 0]
        return layers

    @functools.cached_property
    def asked_bytes(self) -> Ints:
        """Bytes of room that the parameters of each op ask for. [num_ops]."""
        return self.parameters.blocks * self.parameters.block_bytes

    @functools.cached_property
    def _mask(self) -> list[bool]:
        return [bool(flag) for flag in self.supported]


# Looking at each op takes longer than everything else, so it is done once for a graph.
_KNOWN: weakref.WeakKeyDictionary[OpGraph, dict[tuple[object, ...], ChipCosts]] = (
    weakref.WeakKeyDictionary()
)


def with_less_room(device: EdgeTpu, taken_bytes: float) -> EdgeTpu:
    """The device while parameters of other models stay in its memory.

    Models that are compiled together share it: the compiler gives each what those before it have
    left (coral.ai, "Edge TPU Compiler: Parameter data caching").

    Args:
        device: The device.
        taken_bytes: Bytes of parameters of the others.
    """
    tile = max(0.0, device.tile_bytes - taken_bytes / device.num_tiles)
    return dataclasses.replace(device, tile_bytes=tile) if taken_bytes else device


def remember(chip: ChipCosts) -> None:
    """Take costs for those of their graph, in place of what the model says: for simulations."""
    _KNOWN.setdefault(chip.graph, {})[_key(chip.device)] = chip


def _key(device: EdgeTpu) -> tuple[object, ...]:
    return tuple(getattr(device, name) for name in (*CHIP_FIELDS, "request_bytes"))


def _activation_sizes(graph: OpGraph, op: int) -> list[float]:
    inputs = graph.inputs_of(op)
    read = set(inputs[~graph.is_constant[inputs]].tolist())
    return [float(graph.tensor_bytes[t]) for t in read | set(graph.outputs_of(op).tolist())]
