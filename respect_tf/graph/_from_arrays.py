"""`OpGraph` from plain arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from respect_tf._errors import GraphError
from respect_tf.graph._op_graph import MOST_TOTAL, OpGraph

_NUMBERS = "biufO"  # numpy's kinds of them; whole numbers of more than 64 bits are objects


def build_op_graph(
    parameter_bytes: npt.ArrayLike,
    output_bytes: npt.ArrayLike,
    edges: npt.ArrayLike,
    *,
    macs: npt.ArrayLike | None,
    names: Sequence[str] | None,
) -> OpGraph:
    """See `OpGraph.from_arrays`."""
    parameters = _amounts("parameter_bytes", parameter_bytes, None)
    num_ops = len(parameters)
    if num_ops == 0:
        raise GraphError("A graph needs at least one op. Received: parameter_bytes of length 0.")
    outputs = _amounts("output_bytes", output_bytes, num_ops)
    mac_counts = np.zeros(num_ops, np.int64) if macs is None else _amounts("macs", macs, num_ops)
    if names is None:
        names = [f"op_{op}" for op in range(num_ops)]
    elif isinstance(names, str) or not isinstance(names, Iterable):
        raise GraphError(f"names must be a list of strings. Received: {type(names).__name__}.")
    names = list(names)
    if len(names) != num_ops:
        raise GraphError(f"Expected one name per op, {num_ops}. Received: {len(names)} names.")
    pairs = _edges(edges, num_ops)

    makers, readers = pairs[:, 0], pairs[:, 1]
    has_reader = np.zeros(num_ops, bool)
    has_reader[makers] = True
    by_reader = np.argsort(readers, kind="stable")
    counts = np.bincount(readers, minlength=num_ops)
    return OpGraph(
        op_names=tuple(str(name) for name in names),
        op_types=("OP",) * num_ops,
        parameter_bytes=parameters,
        macs=mac_counts,
        input_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        input_tensors=makers[by_reader].astype(np.int32),
        output_offsets=np.arange(num_ops + 1, dtype=np.int64),
        output_tensors=np.arange(num_ops, dtype=np.int32),
        tensor_names=tuple(str(name) for name in names),
        tensor_bytes=outputs,
        tensor_shapes=((),) * num_ops,
        tensor_dtypes=("uint8",) * num_ops,
        tensor_quantization=(None,) * num_ops,
        is_constant=np.zeros(num_ops, bool),
        model_inputs=np.zeros(0, np.int32),
        model_outputs=np.flatnonzero(~has_reader).astype(np.int32),
        colocated=np.zeros((0, 2), np.int32),
    )


def _amounts(name: str, values: npt.ArrayLike, length: int | None) -> npt.NDArray[np.int64]:
    """Check an array of finite numbers that are not negative; whole numbers become int64."""
    try:
        array = np.array(values)
        numbers = array.astype(np.float64) if array.dtype.kind in _NUMBERS else None
    except OverflowError:
        numbers = np.full(array.shape, np.inf)  # a whole number beyond float64
    except (TypeError, ValueError, RecursionError) as error:
        raise GraphError(f"{name} must be an array of numbers. Received: {error}.") from error
    if numbers is None:
        raise GraphError(f"{name} must be an array of numbers. Received: {array.dtype}.")
    if array.ndim != 1 or (length is not None and len(array) != length):
        expected = "[num_ops]" if length is None else f"[{length}]"
        raise GraphError(f"{name} must have the shape {expected}. Received: {list(array.shape)}.")
    bad = np.flatnonzero(~((numbers >= 0) & (numbers <= MOST_TOTAL)))
    if len(bad):
        raise GraphError(
            f"{name} of op {bad[0]} is {numbers[bad[0]]:.6g}. Expected a finite number, 0 or more "
            "and 2**60 at most."
        )
    if array.dtype.kind in "biu":
        return array.astype(np.int64)
    if np.all(numbers == np.floor(numbers)) and np.all(numbers < 2.0**53):
        return numbers.astype(np.int64)
    return numbers  # type: ignore[return-value]  # fractions stay float64, as documented


def _edges(edges: npt.ArrayLike, num_ops: int) -> npt.NDArray[np.int64]:
    """Check pairs of op indices and drop repetitions. int64 [num_edges, 2], sorted."""
    try:
        array = np.array(edges)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise GraphError(f"edges must be pairs of op indices. Received: {error}.") from error
    if array.size == 0:
        return np.zeros((0, 2), np.int64)
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu":
        raise GraphError(
            "edges must be integers of shape [num_edges, 2]. "
            f"Received: {array.dtype} {list(array.shape)}."
        )
    bad = np.flatnonzero(np.any((array < 0) | (array >= num_ops), axis=1))
    if len(bad):
        raise GraphError(
            f"edge {bad[0]}, {array[bad[0]].tolist()}, is out of range: ops are 0 to {num_ops - 1}."
        )
    loops = np.flatnonzero(array[:, 0] == array[:, 1])
    if len(loops):
        raise GraphError(
            f"edge {loops[0]}, {array[loops[0]].tolist()}, leads from an op to itself: the graph "
            "has a cycle. Remove it."
        )
    return np.unique(array.astype(np.int64), axis=0)
