"""Which ops an Edge TPU runs, why not the others, and which make the compiler fail.

Rules: Google's list of supported operations (coral.ai/docs/edgetpu/models-intro), corrected where
public compiled models show otherwise. Versions: the highest of each op in public models that
Google's compiler accepted. Sizes and what stops a whole file have modules of their own.
"""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from respect_tf.device._op_table import unreadable_reason
from respect_tf.device._size_limits import size_block, size_constraint, size_doubt
from respect_tf.graph import OpAttributes, OpGraph

# Highest version in public models that were compiled: a lower bound of what is accepted.
ACCEPTED_VERSIONS = {
    "ADD": 2, "AVERAGE_POOL_2D": 2, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3,
    "DEQUANTIZE": 2, "FULLY_CONNECTED": 4, "LOGISTIC": 2, "MEAN": 2, "MUL": 2, "PACK": 2,
    "PAD": 2, "QUANTIZE": 2, "RESHAPE": 1, "RESIZE_BILINEAR": 3, "SOFTMAX": 2, "SPLIT": 3,
    "SUB": 2, "UNPACK": 2,
}  # fmt: skip

_SUPPORTED = {
    "ADD", "AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D",
    "DEQUANTIZE", "EXPAND_DIMS", "FULLY_CONNECTED", "L2_NORMALIZATION", "LOGISTIC", "LSTM",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "MAXIMUM", "MINIMUM", "MEAN", "MUL", "PACK", "PAD", "PADV2",
    "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE",
    "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH",
    "SPLIT", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "SQUARED_DIFFERENCE", "TANH", "TILE",
    "TRANSPOSE", "TRANSPOSE_CONV", "UNPACK",
}  # fmt: skip
_RECURRENT = {"LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"}
# Logs print it for the QUANTIZE of a float input, among others.
_UNSPECIFIED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
_REDUCTIONS = {"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"}
_DATA_TYPES = {"int8", "uint8"}


def _once(reason: Callable[[OpGraph, int], str | None]) -> Callable[[OpGraph, int], str | None]:
    """Ask about each op of a graph once: every prediction names all reasons."""
    known: weakref.WeakKeyDictionary[OpGraph, dict[int, str | None]] = weakref.WeakKeyDictionary()

    @functools.wraps(reason)
    def ask(graph: OpGraph, op: int) -> str | None:
        found = known.setdefault(graph, {})
        if op not in found:
            found[op] = reason(graph, op)
        return found[op]

    return ask


@_once
def blocking_reason(graph: OpGraph, op: int) -> str | None:
    """Why no file with this op can be compiled at all, or None.

    Such an op is not one that stays on the CPU: whatever else is in its segment is not mapped
    either, because the compiler gives up. It must be rewritten, or stand in a segment that is never
    compiled. `unsupported_reason` names it as well.

    A graph without attributes (`OpGraph.from_arrays`) has no such ops.
    """
    if not graph.op_attributes:
        return None
    found = unreadable_reason(graph, op)
    if found is not None:
        return found
    inputs = graph.inputs_of(op).tolist()
    if not inputs:
        return None
    shapes = [graph.tensor_shapes[tensor] for tensor in inputs]
    is_entry = inputs[0] in graph.model_inputs
    return size_block(graph.op_types[op], shapes, is_entry=is_entry)


@_once
def unsupported_reason(graph: OpGraph, op: int) -> str | None:
    """Why the compiler does not map an op, or None where nothing speaks against it.

    It leaves such an op on the CPU, but for those that make it fail (`blocking_reason`).

    A graph without attributes (`OpGraph.from_arrays`) has no unsupported ops.
    """
    if not graph.op_attributes:
        return None
    blocked = blocking_reason(graph, op)
    if blocked is not None:
        return blocked
    kind, attributes = graph.op_types[op], graph.op_attributes[op]
    if kind not in _SUPPORTED:
        return "Operation not supported"
    activations = [t for t in graph.inputs_of(op).tolist() if not graph.is_constant[t]]
    if kind in _RECURRENT:  # its states have wider types of their own
        activations = activations[:1]
    made = graph.outputs_of(op).tolist()
    for tensor in [*activations, *made]:
        dtype, shape = graph.tensor_dtypes[tensor], graph.tensor_shapes[tensor]
        if dtype not in _DATA_TYPES and kind == "QUANTIZE":
            return f"{_UNSPECIFIED} (a {dtype} tensor)"
        if dtype not in _DATA_TYPES:
            return f"Operation is working on an unsupported data type ({dtype})"
        if math.prod(shape[:-3]) > 1:
            return "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"
    inputs = [graph.tensor_shapes[t] for t in graph.inputs_of(op).tolist()]
    shape = graph.tensor_shapes[made[0]]
    found = _constraint(graph, op, kind, attributes, inputs, shape)
    return found or size_constraint(kind, inputs, shape)


def size_reason(graph: OpGraph, op: int) -> str | None:
    """Why an op is not mapped at its size, or stops the compiler, where a smaller one would not.

    A graph without attributes (`OpGraph.from_arrays`) has no such ops.
    """
    if not graph.op_attributes:
        return None
    inputs = graph.inputs_of(op).tolist()
    shapes = [graph.tensor_shapes[tensor] for tensor in inputs]
    made = graph.tensor_shapes[graph.outputs_of(op)[0]]
    kind, is_entry = graph.op_types[op], bool(inputs) and inputs[0] in graph.model_inputs
    return size_block(kind, shapes, is_entry=is_entry) or size_constraint(kind, shapes, made)


def _constraint(
    graph: OpGraph,
    op: int,
    kind: str,
    attributes: OpAttributes,
    inputs: Sequence[tuple[int, ...]],
    made: tuple[int, ...],
) -> str | None:
    constants = [t for t in graph.inputs_of(op).tolist() if graph.is_constant[t]]
    settings = attributes.settings
    if kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION") and (
        attributes.fused_activation != "NONE"
    ):
        return f"Fused activation {attributes.fused_activation} not supported"
    if kind == "CONCATENATION" and constants and len(inputs) > 2:
        return "Constant input only supported with two inputs"
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and _dilates_unequally(attributes, inputs[1:2]):
        return f"Dilation {attributes.dilation} differs between height and width"
    if kind == "FULLY_CONNECTED" and attributes.shuffled_weights:
        return "Weights are not in the default format"
    if kind == "FULLY_CONNECTED" and math.prod(made[:-1]) > 1:
        return "Only one-dimensional outputs supported"
    if kind == "SOFTMAX" and math.prod(made[:-1]) > 1:
        return "Only one-dimensional inputs supported"
    if kind == "STRIDED_SLICE" and any(step != 1 for step in (settings[-1] or ())):
        return "Only Strided-Slice with unitary strides supported"
    if kind in ("PAD", "PADV2") and any((settings[1] or ())[:2]) and len(made) > 1:
        return "Padding of the batch not supported"
    is_split = kind == "SPLIT" and len(graph.outputs_of(op)) > 1  # into one output it is a copy
    if is_split and len(made) > 1 and (settings[0] or (1,))[0] % len(made) == 0:
        return "Split of the batch not supported"
    if kind in _REDUCTIONS:
        return _reduction_constraint(kind, settings, inputs[0])
    if kind == "PRELU" and constants and math.prod(inputs[1][:-1]) > 1:
        return "Only one-dimensional alpha supported"
    if kind == "TILE" and (len(inputs[0]) != 4 or math.prod(inputs[0][:-1]) > 1):
        # A 1x1 map that becomes a larger one was mapped (DeepLab of test_data); nothing else is
        # known.
        return "Operation not supported"
    return None


def _dilates_unequally(attributes: OpAttributes, weights: Sequence[tuple[int, ...]]) -> bool:
    """Whether the steps between a kernel's elements differ; one element along an axis has none."""
    sizes = weights[0][1:3] if weights else ()
    steps = zip(attributes.dilation, sizes, strict=False)
    return len({step for step, size in steps if size > 1}) > 1


def _reduction_constraint(
    kind: str, settings: Sequence[tuple[int, ...] | None], shape: tuple[int, ...]
) -> str | None:
    axes = {axis % len(shape) for axis in (settings[1] if len(settings) > 1 else None) or ()}
    if 0 in axes and len(shape) > 1:
        return "Reduction over the batch not supported"
    if kind == "MEAN" and len(shape) == 4 and 3 in axes and shape[3] % 4:
        return f"Mean over {shape[3]} channels, not a multiple of 4"
    return None


def mapping_doubts(graph: OpGraph, op: int) -> list[tuple[str, str]]:
    """What only the compiler can tell of an op that nothing known speaks against.

    Returns:
        Pairs of a kind (`"version"`, `"size"`, `"constant"`) and of what is in doubt, a sentence
        that begins with the verb and names neither op nor tensor: equal for equal ops, so that a
        report can say it once and list the ops.
    """
    if not graph.op_attributes:
        return []
    kind, version = graph.op_types[op], graph.op_attributes[op].version
    doubts = []
    known = ACCEPTED_VERSIONS.get(kind)
    if known is not None and version > known and blocking_reason(graph, op) is None:
        text = f"has version {version}; the highest known to be accepted by the compiler is {known}"
        doubts.append(("version", text))
    inputs = graph.inputs_of(op).tolist()
    size = size_doubt(kind, [graph.tensor_shapes[tensor] for tensor in inputs])
    if size is not None:
        doubts.append(("size", size))
    if kind == "CONCATENATION" and graph.is_constant[inputs].any():
        text = "has a constant input, which the compiler only maps if it is zero everywhere"
        doubts.append(("constant", text))
    return doubts


def version_warning(graph: OpGraph, op: int) -> str | None:
    """What the version of an op leaves open, or None where a model with it was compiled before.

    A version above the known ones is often accepted, but only the compiler can tell; one that it
    cannot read is no open question (`blocking_reason`).
    """
    found = [text for kind, text in mapping_doubts(graph, op) if kind == "version"]
    return f"{graph.describe_op(op)} {found[0]}" if found else None


def unmapped_ops(graph: OpGraph, ops: Iterable[int], supported: Sequence[bool]) -> list[int]:
    """Ops of a segment that stay on the CPU.

    The compiler makes one sub-graph of a model: an op is mapped if it is supported and no path
    leads to it from a mapped op through one that is not. Ops before the first mapped one may be
    unsupported; what follows a later unsupported op stays on the CPU, unless a cut right after
    that op gives it a segment of its own.

    Args:
        graph: The graph.
        ops: Indices of the segment's ops.
        supported: Whether each op of the graph is supported by itself, [num_ops].

    Returns:
        Indices, ascending.
    """
    members = set(ops)
    if all(supported[op] for op in members):
        return []
    # What has been seen on the way to each tensor: 0 nothing, 1 a mapped op, 2 an op on the CPU
    # after a mapped one.
    seen: dict[int, int] = {}
    unmapped = []
    position = np.empty(graph.num_ops, np.int64)
    position[graph.topological_order] = np.arange(graph.num_ops)
    for op in sorted(members, key=lambda op: int(position[op])):
        before = max((seen.get(tensor, 0) for tensor in graph.inputs_of(op).tolist()), default=0)
        mapped = supported[op] and before < 2
        if not mapped:
            unmapped.append(op)
            after = 2 if before else 0
        else:
            after = 1
        for tensor in graph.outputs_of(op).tolist():
            seen[tensor] = after
    return sorted(unmapped)
