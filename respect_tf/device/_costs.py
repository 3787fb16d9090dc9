"""`DeviceCosts`: what each op and tensor of a graph costs on a device, and what a stage costs."""

from __future__ import annotations

import dataclasses
import functools
import math
import weakref
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.device._edge_tpu import MIB, EdgeTpu
from respect_tf.device._parameters import (
    MOST_ACTIVATION_BYTES,
    Parameters,
    op_parameters,
    round_up,
    stored_taps,
)
from respect_tf.device._support import unmapped_ops, unsupported_reason
from respect_tf.device._tiles import fit_blocks
from respect_tf.graph import OpGraph

Floats = npt.NDArray[np.float64]

_FULL_CONVOLUTIONS = ("CONV_2D", "TRANSPOSE_CONV")
_CONVOLUTIONS = (*_FULL_CONVOLUTIONS, "DEPTHWISE_CONV_2D")
_PLAIN_TAPS = 9  # elements of a 3x3 kernel


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
        logged_bytes: What the compiler's log prints as used for caching.
        activation_bytes: Room that activations take.
        room_bytes: Room for parameters, 0 or more.
        fixed_ms: The inference itself.
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
    logged_bytes: int
    activation_bytes: int
    room_bytes: int
    fixed_ms: float
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
    the room that activations take. `lower_bound` leaves those out but for the streaming that no
    choice of cached layers avoids.

    Attributes:
        graph: The graph.
        device: The device.
        num_stages: Number of devices that work at once.
        parameters: What the parameters of each op take.
        supported: bool [num_ops], whether the compiler maps each op if it stands alone.
        gmacs: float64 [num_ops], 10**9 multiply-accumulates as the device spends them.
        map_mib: float64 [num_ops], MiB that plain convolutions make, times the elements of their
            kernels over nine; 0 for other ops.
        vector_mib: float64 [num_ops], MiB that dense layers read and make; 0 for other ops.
        strip_step: int64 [num_ops], from 1 on the entry of `EdgeTpu.strip_passes` that holds for
            an op that works in strips; 0 for the others.
        compute_ms: float64 [num_ops], on the Edge TPU with parameters on chip.
        stream_ms: float64 [num_ops], what it takes longer if parameters are streamed.
        cpu_ms: float64 [num_ops], on the CPU.
        enter_ms: float64 [num_tensors], bringing a tensor into a stage.
        leave_ms: float64 [num_tensors], bringing a tensor out of a stage.
    """

    graph: OpGraph
    device: EdgeTpu
    num_stages: int
    parameters: Parameters
    supported: npt.NDArray[np.bool_]
    gmacs: Floats
    map_mib: Floats
    vector_mib: Floats
    strip_step: npt.NDArray[np.int64]
    compute_ms: Floats
    stream_ms: Floats
    cpu_ms: Floats
    enter_ms: Floats
    leave_ms: Floats

    @classmethod
    def of(cls, graph: OpGraph, device: EdgeTpu, num_stages: int = 1) -> DeviceCosts:
        """The costs of a graph on a device of which `num_stages` work at once."""
        amounts = _amounts(graph)
        parameters, maps = amounts.parameters, amounts.maps / MIB
        stored = parameters.stored / MIB
        streamed = parameters.streamed / MIB
        in_strips = (maps >= device.strip_map_mib) & (stored >= device.strip_parameter_mib)
        step = np.searchsorted([above for above, _ in device.strip_passes], maps, side="right")
        step = np.where(in_strips, step, 0)
        passes = np.array([1.0, *(count for _, count in device.strip_passes)])[step]
        gmacs, map_mib = amounts.macs / 1e9, amounts.conv_maps / MIB
        vector_mib = amounts.vectors / MIB
        # Constants of elementwise ops are always streamed: that time is part of the op's.
        compute = (
            device.ms_per_gmac * gmacs
            + device.ms_per_map_mib * map_mib
            + device.ms_per_vector_mib * vector_mib
            + device.ms_per_streamed_mib * streamed
        )
        # The device computes with one part of the parameters while the next comes in.
        stream = np.maximum(
            0.0, device.ms_per_streamed_mib * passes * (stored - streamed) - compute
        )
        tensors = graph.tensor_bytes / MIB
        slowdown = device.slowdown(num_stages)
        return cls(
            graph=graph,
            device=device,
            num_stages=num_stages,
            parameters=parameters,
            supported=amounts.supported,
            gmacs=gmacs,
            map_mib=map_mib,
            vector_mib=vector_mib,
            strip_step=step,
            compute_ms=compute,
            stream_ms=stream,
            cpu_ms=device.cpu_ms_per_gmac * graph.macs / 1e9 + device.cpu_ms_per_mib * maps,
            enter_ms=tensors * device.ms_per_input_mib * slowdown,
            leave_ms=tensors * device.ms_per_output_mib * slowdown,
        )

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
        device, parameters = self.device, self.parameters
        on_cpu = set() if self._all_supported else set(unmapped_ops(self.graph, ops, self._mask))
        mapped = [op for op in ops if op not in on_cpu]
        activations = self._activation_bytes(mapped, entering)
        room = max(0.0, device.num_tiles * device.tile_bytes - activations)
        cached, streamed = self._place(mapped, room)
        always = int(parameters.streamed[mapped].sum())
        return StageCost(
            ops=tuple(ops),
            cached_ops=tuple(cached),
            streamed_ops=tuple(streamed),
            cpu_ops=tuple(sorted(on_cpu)),
            cached_bytes=int(parameters.movable[cached].sum()),
            streamed_bytes=int(parameters.movable[streamed].sum()) + always,
            logged_bytes=int(parameters.logged[cached].sum()),
            activation_bytes=math.ceil(activations),
            room_bytes=int(room),
            fixed_ms=device.fixed_ms if mapped else 0.0,
            compute_ms=float(self.compute_ms[mapped].sum()),
            stream_ms=float(self.stream_ms[streamed].sum()),
            input_ms=float(self.enter_ms[list(entering)].sum()) if mapped else 0.0,
            output_ms=float(self.leave_ms[list(leaving)].sum()) if mapped else 0.0,
            cpu_ms=float(self.cpu_ms[sorted(on_cpu)].sum()),
        )

    def lower_bound(self, compute_ms: Floats, stored_bytes: Floats, transfer_ms: Floats) -> Floats:
        """Less than or equal to the cost of any stage with these sums; works on arrays.

        Only valid where every op is supported. What cannot be cached on an empty chip is streamed
        once, and hides at most the stage's compute.

        Args:
            compute_ms: Sum of `compute_ms` of its ops.
            stored_bytes: Sum of `bound_bytes` of its ops.
            transfer_ms: Sum of `enter_ms` and `leave_ms` of its tensors.
        """
        device = self.device
        over = np.maximum(0.0, stored_bytes - device.num_tiles * device.tile_bytes) / MIB
        busy = np.maximum(compute_ms, over * device.ms_per_streamed_mib)
        bound: Floats = device.fixed_ms + transfer_ms + busy
        return bound

    @functools.cached_property
    def bound_bytes(self) -> npt.NDArray[np.int64]:
        """Bytes of each op that are streamed where they are not cached, at least. [num_ops]."""
        parameters = self.parameters
        return np.minimum(parameters.stored - parameters.streamed, parameters.logged)

    def load_mib(self, cost: StageCost) -> float:
        """MiB of cached parameters and instructions that a stage's device holds."""
        device = self.device
        num_mapped = len(cost.ops) - len(cost.cpu_ops)
        instructions = device.instruction_bytes + device.instruction_bytes_per_op * num_mapped
        return (cost.cached_bytes + (instructions if num_mapped else 0.0)) / MIB

    def load_ms(self, cost: StageCost) -> float:
        """What the first inference of a stage takes longer: its device is loaded."""
        return self.device.ms_per_streamed_mib * self.load_mib(cost)

    @functools.cached_property
    def _mask(self) -> list[bool]:
        return [bool(flag) for flag in self.supported]

    @functools.cached_property
    def _all_supported(self) -> bool:
        return bool(self.supported.all())

    @functools.cached_property
    def largest_first(self) -> npt.NDArray[np.int64]:
        """Position of each op when the compiler looks for room. [num_ops].

        What takes most of a tile comes first: a block, or a tile's even share of more of them.
        """
        parameters = self.parameters
        share = np.maximum(parameters.blocks / self.device.num_tiles, 1) * parameters.block_bytes
        order = np.lexsort((-parameters.logged, -share))
        position = np.empty(len(order), np.int64)
        position[order] = np.arange(len(order))
        return position

    @property
    def largest_tensor(self) -> npt.NDArray[np.int64]:
        """Bytes of the largest activation that each op reads or makes. [num_ops]."""
        return _amounts(self.graph).largest_tensor

    def _activation_bytes(self, ops: Sequence[int], entering: Sequence[int]) -> float:
        if not ops:
            return 0.0
        index = list(ops)
        if self.strip_step[index].any():
            return self.device.strip_input_share * float(
                self.graph.tensor_bytes[list(entering)].sum()
            )
        taken = self.device.activation_share * float(self.largest_tensor[index].max())
        return min(taken, MOST_ACTIVATION_BYTES)

    def _place(self, ops: Sequence[int], room: float) -> tuple[list[int], list[int]]:
        """Ops whose parameters are cached, and those whose parameters are streamed; ascending."""
        parameters, device = self.parameters, self.device
        index = np.array(ops, np.int64)
        holders = index[parameters.blocks[index] > 0]
        tile = room / device.num_tiles
        blocks, sizes = parameters.blocks[holders], parameters.block_bytes[holders]
        largest = int(sizes.max()) if len(holders) else 0
        # The tile with most room is never fuller than the average, so this much always fits.
        if float((blocks * sizes).sum()) / device.num_tiles + largest <= tile:
            return sorted(holders.tolist()), []
        order = holders[np.argsort(self.largest_first[holders])].tolist()
        layers = [(int(parameters.blocks[op]), int(parameters.block_bytes[op])) for op in order]
        fits = fit_blocks(layers, device.num_tiles, tile)
        cached = sorted(op for op, fit in zip(order, fits, strict=True) if fit)
        streamed = sorted(op for op, fit in zip(order, fits, strict=True) if not fit)
        return cached, streamed


@dataclasses.dataclass(frozen=True, eq=False)
class _Amounts:
    """What the ops of a graph hold and do, whatever the device. [num_ops] each.

    Attributes:
        parameters: What their parameters take.
        supported: bool, whether the compiler maps each op if it stands alone.
        macs: float64, multiply-accumulates as the device spends them.
        maps: float64, bytes of the activations that each op reads and makes.
        conv_maps: float64, bytes that plain convolutions make, times the elements of their kernels
            over nine.
        vectors: float64, bytes that dense layers read and make.
        largest_tensor: int64, bytes of the largest activation that each op reads or makes.
    """

    parameters: Parameters
    supported: npt.NDArray[np.bool_]
    macs: Floats
    maps: Floats
    conv_maps: Floats
    vectors: Floats
    largest_tensor: npt.NDArray[np.int64]


# Looking at each op takes longer than everything else, so it is done once for a graph.
_AMOUNTS: weakref.WeakKeyDictionary[OpGraph, _Amounts] = weakref.WeakKeyDictionary()


def _amounts(graph: OpGraph) -> _Amounts:
    found = _AMOUNTS.get(graph)
    if found is not None:
        return found
    ops = range(graph.num_ops)
    sizes = [_activation_sizes(graph, op) for op in ops]
    largest = [max(row, default=0) if graph.op_attributes else 0 for row in sizes]
    maps = np.array([sum(row) for row in sizes], np.float64)
    is_dense = np.array([kind == "FULLY_CONNECTED" for kind in graph.op_types], bool)
    _AMOUNTS[graph] = found = _Amounts(
        parameters=op_parameters(graph),
        supported=np.array([unsupported_reason(graph, op) is None for op in ops]),
        macs=np.array([padded_macs(graph, op) for op in ops], np.float64),
        maps=maps,
        conv_maps=np.array([_map_bytes(graph, op) for op in ops], np.float64),
        vectors=np.where(is_dense, maps, 0.0),
        largest_tensor=np.array(largest, np.int64),
    )
    return found


def padded_macs(graph: OpGraph, op: int) -> int:
    """Multiply-accumulates as the device spends them: channels padded as they are stored.

    Other ops than convolutions and dense layers count none: next to these and to the transfers,
    the measurements show no time for them. A graph without shapes counts its MACs as they are.
    """
    kind = graph.op_types[op]
    if not graph.op_attributes:
        return int(graph.macs[op])
    inputs = graph.inputs_of(op).tolist()
    if len(inputs) < 2 or not graph.is_constant[inputs[1]]:
        return 0
    weights = graph.tensor_shapes[inputs[1]]
    if kind == "FULLY_CONNECTED":
        made = graph.tensor_shapes[graph.outputs_of(op)[0]]
        return math.prod(made[:-1]) * round_up(weights[0], 64) * round_up(weights[-1], 4)
    products = _kernel_products(graph, op)
    if not products:
        return 0
    if kind == "DEPTHWISE_CONV_2D":
        return products * round_up(weights[-1], 16) * 4
    return products * round_up(weights[0], 64) * round_up(weights[-1], 4)


def _kernel_products(graph: OpGraph, op: int) -> int:
    """Pixels that a convolution's kernel is laid on, times its elements; 0 for other ops."""
    kind, inputs = graph.op_types[op], graph.inputs_of(op).tolist()
    made = graph.tensor_shapes[graph.outputs_of(op)[0]]
    if kind not in _CONVOLUTIONS or len(made) != 4 or len(inputs) < 2:
        return 0
    if not graph.is_constant[inputs[1]]:
        return 0
    image = graph.tensor_shapes[inputs[2 if kind == "TRANSPOSE_CONV" else 0]]
    taps = stored_taps(kind, graph.tensor_shapes[inputs[1]], image, made, graph.op_attributes[op])
    pixels: int = math.prod((image if kind == "TRANSPOSE_CONV" else made)[:3])
    return pixels * taps


def _activation_sizes(graph: OpGraph, op: int) -> list[float]:
    read = set(graph.inputs_of(op)[~graph.is_constant[graph.inputs_of(op)]].tolist())
    return [float(graph.tensor_bytes[t]) for t in read | set(graph.outputs_of(op).tolist())]


def _map_bytes(graph: OpGraph, op: int) -> float:
    """Bytes that a convolution makes, in proportion to its kernel's elements: 1 for nine of them.

    Depthwise convolutions count none: the time that stacks of plain convolutions show beside their
    multiply-accumulates is not seen in networks that are made of these.
    """
    if not graph.op_attributes or graph.op_types[op] not in _FULL_CONVOLUTIONS:
        return 0.0
    channels = int(graph.tensor_shapes[graph.outputs_of(op)[0]][-1])
    return _kernel_products(graph, op) * channels / _PLAIN_TAPS
