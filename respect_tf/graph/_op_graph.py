"""`OpGraph`: the ops of a model, the tensors between them, and what each weighs."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import GraphError
from respect_tf.graph._attributes import OpAttributes

IntArray = npt.NDArray[np.int32]

# What bytes, and multiply-accumulates, of a graph come to at most: every sum over stages that a
# scheduler forms fits into 64 bits, with room for rounding up and for being doubled.
MOST_TOTAL = 2.0**60


@dataclasses.dataclass(frozen=True)
class Quantization:
    """Affine quantisation of a tensor: real = scale * (stored - zero_point).

    Attributes:
        scale: Real units per step, one value, or one per slice along `axis`.
        zero_point: Stored values that mean 0, as many as `scale`.
        axis: The dimension that several values run along; 0 for a single value.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class OpGraph:
    """A directed acyclic graph of ops. Immutable; arrays are read-only.

    Tensors are numbered as in the file they come from, so tensor indices in messages can be
    looked up there. Compressed rows: the entries of op `i` are
    `values[offsets[i]:offsets[i + 1]]`.

    Attributes:
        op_names: One name per op: that of its first output tensor.
        op_types: One per op, as TFLite's schema spells it, for example `"CONV_2D"`.
        parameter_bytes: int64 (float64 where fractions were given) [num_ops], bytes of the
            constants that the op reads. A constant that several ops read counts for each of them,
            because each stores a copy of its own on the Edge TPU.
        macs: int64 [num_ops], multiply-accumulate operations; for ops without any, one per
            output element.
        input_offsets: int64 [num_ops + 1], rows of `input_tensors`.
        input_tensors: int32 [num_inputs], every tensor an op reads, constants too, in the
            op's order; absent optional inputs are left out.
        output_offsets: int64 [num_ops + 1], rows of `output_tensors`.
        output_tensors: int32 [num_outputs], every tensor an op makes.
        tensor_names: One per tensor.
        tensor_bytes: int64 (or float64) [num_tensors].
        tensor_shapes: One tuple per tensor.
        tensor_dtypes: One per tensor, numpy's name for it, for example `"int8"`.
        tensor_quantization: One per tensor, `None` where it has none.
        is_constant: bool [num_tensors].
        model_inputs: int32 [num_model_inputs], tensors.
        model_outputs: int32 [num_model_outputs], tensors, in the file's order.
        colocated: int32 [num_pairs, 2], pairs of ops that the pipeline runner's rules keep in one
            stage (a DEQUANTIZE with the op before it, ops that share a state).
        op_attributes: One per op (version, bias, strides, padding and so on); empty where the
            graph does not come from a file.
        signature_names: What the model's signature calls its inputs and outputs, by tensor; empty
            where there is none.
    """

    op_names: tuple[str, ...]
    op_types: tuple[str, ...]
    parameter_bytes: npt.NDArray[np.int64]
    macs: npt.NDArray[np.int64]
    input_offsets: npt.NDArray[np.int64]
    input_tensors: IntArray
    output_offsets: npt.NDArray[np.int64]
    output_tensors: IntArray
    tensor_names: tuple[str, ...]
    tensor_bytes: npt.NDArray[np.int64]
    tensor_shapes: tuple[tuple[int, ...], ...]
    tensor_dtypes: tuple[str, ...]
    tensor_quantization: tuple[Quantization | None, ...]
    is_constant: npt.NDArray[np.bool_]
    model_inputs: IntArray
    model_outputs: IntArray
    colocated: IntArray
    op_attributes: tuple[OpAttributes, ...] = ()
    signature_names: Mapping[int, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                _freeze(value)
        self._check_totals()
        _ = self.topological_order  # raises on a cycle

    def _check_totals(self) -> None:
        """Check that all sums fit. A byte enters a stage for each op that reads it at most."""
        read = float(self.tensor_bytes[self.input_tensors].sum(dtype=np.float64))
        made = float(self.tensor_bytes.sum(dtype=np.float64))
        stored = float(self.parameter_bytes.sum(dtype=np.float64))
        if not read + made + stored <= MOST_TOTAL:
            raise GraphError(
                f"The graph is too large: its parameters take {stored:.6g} bytes, its tensors "
                f"{made:.6g}, and its ops read {read:.6g}. Expected 2**60 in all at most, so that "
                "sums fit into 64 bits; count in larger units."
            )
        macs = float(self.macs.sum(dtype=np.float64))
        if not macs <= MOST_TOTAL:
            raise GraphError(
                f"The graph is too large: it takes {macs:.6g} multiply-accumulates. Expected 2**60 "
                "at most, so that sums fit into 64 bits; count in larger units."
            )

    def __repr__(self) -> str:
        """One line; the arrays would take megabytes."""
        edges, stored = len(self.edges), float(self.parameter_bytes.sum())
        return (
            f"<OpGraph of {self.num_ops:,} ops, {edges:,} edges, {stored:,.0f} parameter bytes, "
            f"{float(self.macs.sum()):,.0f} MACs>"
        )

    @property
    def num_ops(self) -> int:
        """Number of ops."""
        return len(self.op_names)

    @property
    def num_tensors(self) -> int:
        """Number of tensors, constants included."""
        return len(self.tensor_names)

    def inputs_of(self, op: int) -> IntArray:
        """Tensors that an op reads, constants too. int32 [num_inputs]."""
        return self.input_tensors[self.input_offsets[op] : self.input_offsets[op + 1]]

    def outputs_of(self, op: int) -> IntArray:
        """Tensors that an op makes. int32 [num_outputs]."""
        return self.output_tensors[self.output_offsets[op] : self.output_offsets[op + 1]]

    @functools.cached_property
    def producer(self) -> IntArray:
        """The op that makes each tensor, -1 for model inputs and constants. int32 [num_tensors]."""
        producer = np.full(self.num_tensors, -1, np.int32)
        producer[self.output_tensors] = _row_index(self.output_offsets)
        return _freeze(producer)

    @functools.cached_property
    def reads(self) -> tuple[IntArray, IntArray]:
        """Distinct (op, activation tensor) pairs, sorted by op, then tensor.

        Returns:
            Two int32 arrays [num_reads]: the reading ops and the tensors they read. Constants are
            left out.
        """
        ops = _row_index(self.input_offsets).astype(np.int64)
        activation = ~self.is_constant[self.input_tensors]
        keys = np.unique(
            ops[activation] * self.num_tensors + self.input_tensors[activation].astype(np.int64)
        )
        size = max(self.num_tensors, 1)
        return _freeze((keys // size).astype(np.int32)), _freeze((keys % size).astype(np.int32))

    @functools.cached_property
    def readers(self) -> tuple[npt.NDArray[np.int64], IntArray]:
        """The ops that read each activation tensor, as compressed rows.

        Returns:
            Offsets int64 [num_tensors + 1] and ops int32 [num_reads], ascending in each row.
        """
        ops, tensors = self.reads
        order = np.argsort(tensors, kind="stable")
        counts = np.bincount(tensors, minlength=self.num_tensors)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return _freeze(offsets), _freeze(ops[order])

    @functools.cached_property
    def edges(self) -> IntArray:
        """Distinct pairs (maker, reader) of ops, sorted. int32 [num_edges, 2]."""
        ops, tensors = self.reads
        makers = self.producer[tensors]
        inner = makers >= 0
        keys = np.unique(makers[inner].astype(np.int64) * self.num_ops + ops[inner])
        size = max(self.num_ops, 1)
        return _freeze(np.stack([keys // size, keys % size], axis=1).astype(np.int32))

    @functools.cached_property
    def activation_bytes(self) -> npt.NDArray[np.int64]:
        """Bytes of the tensors that each op makes. int64 (or float64) [num_ops]."""
        sums = np.concatenate([[0], np.cumsum(self.tensor_bytes[self.output_tensors])])
        return _freeze(sums[self.output_offsets[1:]] - sums[self.output_offsets[:-1]])

    @functools.cached_property
    def is_model_output(self) -> npt.NDArray[np.bool_]:
        """Whether a tensor is an output of the model. bool [num_tensors]."""
        mask = np.zeros(self.num_tensors, bool)
        mask[self.model_outputs] = True
        return _freeze(mask)

    @functools.cached_property
    def topological_order(self) -> IntArray:
        """The file's own order where it respects the edges, else the nearest one that does.

        Among the ops that are ready, the first in the file comes first. int32 [num_ops].

        Raises:
            GraphError: The edges have a cycle; the message names ops on it.
        """
        edges = self.edges
        if bool(np.all(edges[:, 0] < edges[:, 1])):
            return _freeze(np.arange(self.num_ops, dtype=np.int32))
        return _freeze(_smallest_first_order(edges, self.op_names))

    def describe_op(self, op: int) -> str:
        """How messages name an op: index, type and name."""
        name = self.op_names[op]
        return f"op {op} {self.op_types[op]}" + (f" '{name}'" if name else "")

    def to_graph_tensor(
        self,
        num_stages: int,
        *,
        op_costs: npt.ArrayLike | None = None,
        transfer_cost: float = 0.0,
    ) -> Any:
        """The graph as a `tensorflow_gnn.GraphTensor` with the features that the policy reads.

        Node set `"op"`: `"features"` float32 [num_ops, 24]: shares of the total cost, masses of
        ancestors and descendants, levels from both ends, degrees and ranks, all without units
        (`respect_tf.graph._features.OP_FEATURES` names them). Edge sets `"feeds"` (maker to
        reader) and `"fed_by"` (reader to maker), without features. Context: `"features"` float32
        [1, 25] (`GRAPH_FEATURES`) and `"num_stages"` int32 [1].

        Args:
            num_stages: Number of stages, 1 or more.
            op_costs: [num_ops], what each op adds to the cost of its stage; parameter bytes if
                left out.
            transfer_cost: Cost of a byte that crosses a boundary, in units of `op_costs`, in the
                two stages together.

        Raises:
            ArgumentError: A shape is wrong, or a number out of range.
            DependencyError: TF-GNN is not installed.
        """
        from respect_tf.graph._graph_tensor import to_graph_tensor

        return to_graph_tensor(self, num_stages, op_costs=op_costs, transfer_cost=transfer_cost)

    @classmethod
    def from_tflite(cls, model: bytes | str | os.PathLike[str]) -> OpGraph:
        """Read the main subgraph of a .tflite model.

        Args:
            model: The model's bytes, or the path of a file.

        Raises:
            InvalidModelError: The bytes are no valid TFLite model.
            UnsupportedModelError: The model cannot be cut into a pipeline.
        """
        from respect_tf.graph._from_tflite import read_op_graph

        return read_op_graph(model)

    @classmethod
    def from_arrays(
        cls,
        parameter_bytes: npt.ArrayLike,
        output_bytes: npt.ArrayLike,
        edges: npt.ArrayLike,
        *,
        macs: npt.ArrayLike | None = None,
        names: Sequence[str] | None = None,
    ) -> OpGraph:
        """Make a graph of any DAG.

        Every op makes one tensor; ops without successors make the model's outputs; there are no
        model inputs.

        Args:
            parameter_bytes: [num_ops], finite and not negative. With all tensors, and tensors once
                more for each op that reads them, 2**60 at most.
            output_bytes: [num_ops], size of the tensor that each op makes, likewise.
            edges: int [num_edges, 2], pairs (maker, reader); repeated pairs count once.
            macs: int [num_ops], 2**60 in all at most; zeros if left out.
            names: One per op; `"op_0"`, `"op_1"`, ... if left out.

        Raises:
            GraphError: Shapes differ, a number is negative, NaN, infinite or too large, an edge is
                out of range or the edges have a cycle. The message names the op or edge.
        """
        from respect_tf.graph._from_arrays import build_op_graph

        return build_op_graph(parameter_bytes, output_bytes, edges, macs=macs, names=names)


def _freeze(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


def _row_index(offsets: npt.NDArray[np.int64]) -> IntArray:
    return np.repeat(np.arange(len(offsets) - 1, dtype=np.int32), np.diff(offsets))


def _smallest_first_order(edges: IntArray, op_names: tuple[str, ...]) -> IntArray:
    """Kahn's algorithm with a heap: the smallest ready op first."""
    import heapq

    num_ops = len(op_names)
    by_maker = edges[np.argsort(edges[:, 0], kind="stable")]
    starts = np.searchsorted(by_maker[:, 0], np.arange(num_ops + 1))
    successors = by_maker[:, 1].tolist()
    waiting = np.bincount(edges[:, 1], minlength=num_ops).tolist()
    ready = [op for op in range(num_ops) if waiting[op] == 0]
    order: list[int] = []
    while ready:
        op = heapq.heappop(ready)
        order.append(op)
        for successor in successors[starts[op] : starts[op + 1]]:
            waiting[successor] -= 1
            if waiting[successor] == 0:
                heapq.heappush(ready, successor)
    if len(order) < num_ops:
        # Every op that is left has a predecessor that is left: walking back runs into the cycle.
        predecessor = {int(v): int(u) for u, v in edges.tolist() if waiting[u] and waiting[v]}
        op = next(op for op in range(num_ops) if waiting[op])
        path = [op]
        while predecessor[path[-1]] not in path:
            path.append(predecessor[path[-1]])
        path.append(predecessor[path[-1]])
        cycle = path[path.index(path[-1]) :][::-1]
        shown = " -> ".join(f"op {op} '{op_names[op]}'" for op in cycle[:8])
        raise GraphError(
            f"The graph has a cycle, so its ops cannot be run in any order: {shown}"
            f"{' -> ...' if len(cycle) > 8 else ''}. Expected a directed acyclic graph; remove "
            "one of these edges."
        )
    return np.array(order, np.int32)
