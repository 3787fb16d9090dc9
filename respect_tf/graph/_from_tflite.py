"""`OpGraph` from a .tflite model."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import InvalidModelError, UnsupportedModelError
from respect_tf.graph._attributes import read_attributes
from respect_tf.graph._forms import check_form
from respect_tf.graph._macs import count_macs
from respect_tf.graph._op_graph import MOST_TOTAL, OpGraph, Quantization
from respect_tf.tflite import (
    EDGE_TPU_OP,
    dtype_bits,
    ints,
    op_type,
    read_content,
    read_model,
    signature_names,
    tensor_type_names,
    text,
)

# Ops that run other subgraphs or keep state outside their own tensors.
_CONTROL_FLOW = {"IF", "WHILE", "CALL", "CALL_ONCE", "STABLEHLO_COMPOSITE", "STABLEHLO_WHILE"}
_STATEFUL = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "HASHTABLE"}


def read_op_graph(model: bytes | str | os.PathLike[str]) -> OpGraph:
    """See `OpGraph.from_tflite`."""
    unpacked = read_model(read_content(model))
    return op_graph_of(unpacked)


def op_graph_of(model: Any) -> OpGraph:
    """The op graph of an unpacked model.

    Raises:
        InvalidModelError: Tensors are written twice or never, ops are out of order or lack what
            every op of their type has, or constants, scales or sizes cannot be.
        UnsupportedModelError: Several subgraphs, control flow, resources, or shapes that are only
            known when the model runs.
    """
    if len(model.subgraphs) != 1:
        raise UnsupportedModelError(
            f"The model has {len(model.subgraphs)} subgraphs (control flow, several signatures or "
            "variables). The pipeline runner takes models of one subgraph: export one signature, "
            "without loops and state."
        )
    subgraph = model.subgraphs[0]
    ops, tensors = subgraph.operators, subgraph.tensors
    if not ops:
        raise UnsupportedModelError("The model has no ops, so there is nothing to cut.")
    op_types = tuple(op_type(model, op) for op in ops)
    names = tuple(text(tensor.name) for tensor in tensors)
    dtypes = tuple(tensor_type_names()[tensor.type] for tensor in tensors)
    shapes = tuple(_shape(tensor) for tensor in tensors)
    inputs = [[int(t) for t in ints(op.inputs) if t >= 0] for op in ops]
    outputs = [ints(op.outputs) for op in ops]
    for index, kind in enumerate(op_types):
        where = functools.partial(_where, index, kind, names, outputs)
        if not outputs[index]:
            raise UnsupportedModelError(f"{where()} makes no tensor, so it cannot be scheduled.")
        if kind == EDGE_TPU_OP:
            raise UnsupportedModelError(
                f"{where()} is a program that Google's compiler made: the model is compiled "
                "already. Pass the model that it was compiled from; respect_tf.inspect reads both."
            )
        if kind in _CONTROL_FLOW or kind in _STATEFUL:
            raise UnsupportedModelError(
                f"{where()} needs control flow or state that lives outside the op. The pipeline "
                "runner has neither: export the model without loops, calls and variables."
            )
        for tensor in [*inputs[index], *outputs[index]]:
            _check_static(where, tensor, tensors, dtypes, names)
        read = ints(ops[index].inputs)
        check_form(where, kind, read, outputs[index][0], shapes, ops[index].builtinOptions)

    sizes = [_tensor_bytes(*tensor) for tensor in zip(dtypes, shapes, names, strict=True)]
    constant = _check_data_flow(model, subgraph, op_types, names, inputs, outputs, sizes)
    return OpGraph(
        op_names=tuple(names[made[0]] for made in outputs),
        op_types=op_types,
        parameter_bytes=np.array(
            [_parameter_bytes(model, tensors, read, constant) for read in inputs], np.int64
        ),
        macs=np.array(
            [_macs(index, kind, ops, shapes) for index, kind in enumerate(op_types)], np.int64
        ),
        input_offsets=_offsets(inputs),
        input_tensors=np.array([t for read in inputs for t in read], np.int32),
        output_offsets=_offsets(outputs),
        output_tensors=np.array([t for made in outputs for t in made], np.int32),
        tensor_names=names,
        tensor_bytes=np.array(sizes, np.int64),
        tensor_shapes=shapes,
        tensor_dtypes=dtypes,
        tensor_quantization=tuple(_quantization(tensor) for tensor in tensors),
        is_constant=constant,
        model_inputs=np.array(ints(subgraph.inputs), np.int32),
        model_outputs=np.array(ints(subgraph.outputs), np.int32),
        colocated=_colocated(op_types, tensors, inputs, outputs, constant),
        op_attributes=read_attributes(model, op_types),
        signature_names=signature_names(model),
    )


def _check_static(
    where: Callable[[], str],
    tensor: int,
    tensors: Any,
    dtypes: tuple[str, ...],
    names: tuple[str, ...],
) -> None:
    """A batch of unknown size counts as 1, as the file's own shape says; the rest must be known."""
    if dtype_bits(dtypes[tensor]) is None:
        raise UnsupportedModelError(
            f"{where()}: tensor {tensor} '{names[tensor]}' is of type {dtypes[tensor]}. Tensors "
            "between segments must hold numbers of a fixed size."
        )
    signature = ints(tensors[tensor].shapeSignature)
    shape = ints(tensors[tensor].shape)
    unknown = [axis for axis, size in enumerate(signature) if size < 0]
    if unknown and (unknown != [0] or shape[:1] != [1]):
        raise UnsupportedModelError(
            f"{where()}: tensor {tensor} '{names[tensor]}' has the shape {signature}, unknown "
            f"along axis {unknown[-1]}. The pipeline runner needs static shapes and batch 1: "
            "convert the model with every dimension fixed."
        )


def _check_data_flow(
    model: Any,
    subgraph: Any,
    op_types: tuple[str, ...],
    names: tuple[str, ...],
    inputs: list[list[int]],
    outputs: list[list[int]],
    sizes: list[int],
) -> npt.NDArray[np.bool_]:
    """Check that every tensor is made once, before it is read.

    Returns:
        Which tensors are constants, bool [num_tensors].
    """
    tensors = subgraph.tensors
    model_inputs = set(ints(subgraph.inputs))
    constant = np.zeros(len(tensors), bool)
    made: dict[int, int] = dict.fromkeys(model_inputs, -1)
    for index, kind in enumerate(op_types):
        where = functools.partial(_where, index, kind, names, outputs)
        for tensor in inputs[index]:
            if tensor in made or tensors[tensor].isVariable:
                continue
            data = model.buffers[tensors[tensor].buffer].data
            stored = 0 if data is None else len(data)
            if sizes[tensor] == 0 or stored > 0:
                if stored != sizes[tensor] and tensors[tensor].sparsity is None:
                    raise InvalidModelError(
                        f"{where()} reads the constant {tensor} '{names[tensor]}', of which the "
                        f"file holds {stored} bytes. Expected {sizes[tensor]}, as its shape and "
                        "type say. Export the model again."
                    )
                constant[tensor] = True
                continue
            later = next((i for i, out in enumerate(outputs) if tensor in out), None)
            raise InvalidModelError(
                f"{where()} reads tensor {tensor} '{names[tensor]}', which "
                + (
                    f"op {later} makes only later: the ops are not in topological order."
                    if later is not None
                    else "no op makes, and which is no constant and no model input."
                )
                + " Export the model again with its ops in order."
            )
        for tensor in outputs[index]:
            if tensor in made or constant[tensor]:
                raise InvalidModelError(
                    f"{where()} writes tensor {tensor} '{names[tensor]}', which is already "
                    "written. Every tensor must be made once."
                )
            made[tensor] = index
    for tensor in ints(subgraph.outputs):
        if tensor in made:
            continue
        why = "a constant, made by no op" if constant[tensor] else "made by no op"
        raise UnsupportedModelError(
            f"The model output '{names[tensor]}' (tensor {tensor}) is {why}. A pipeline "
            "returns what its ops compute: remove the output, or put an op before it."
        )
    return constant


def _colocated(
    op_types: tuple[str, ...],
    tensors: Any,
    inputs: list[list[int]],
    outputs: list[list[int]],
    constant: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int32]:
    """Pairs of ops that no cut may part. int32 [num_pairs, 2].

    A DEQUANTIZE that reads a segment's input is right only for the first inference on the CPU, so
    it stays with the op that makes its input; one of a constant (float16 weights) whose output is
    the segment's is, too, so it stays with the ops that read it. Ops that share a variable tensor
    share its state.
    """
    maker = {tensor: op for op, made in enumerate(outputs) for tensor in made}
    unpacking = {
        op
        for op, kind in enumerate(op_types)
        if kind == "DEQUANTIZE" and constant[inputs[op][:1]].all()
    }
    pairs: set[tuple[int, int]] = set()
    first_reader: dict[int, int] = {}
    for op, read in enumerate(inputs):
        for tensor in read:
            if op_types[op] == "DEQUANTIZE" and tensor in maker:
                pairs.add((maker[tensor], op))
            if maker.get(tensor) in unpacking:
                pairs.add((maker[tensor], op))
            if tensors[tensor].isVariable and not constant[tensor]:
                first = first_reader.setdefault(tensor, op)
                if first != op:
                    pairs.add((first, op))
    return np.array(sorted(pairs), np.int32).reshape(-1, 2)


def _parameter_bytes(
    model: Any, tensors: Any, read: list[int], constant: npt.NDArray[np.bool_]
) -> int:
    """Bytes of the distinct constant buffers that an op reads."""
    buffers = {tensors[tensor].buffer for tensor in read if constant[tensor]}
    data = (model.buffers[buffer].data for buffer in buffers)
    return sum(len(values) for values in data if values is not None)


def _tensor_bytes(dtype: str, shape: tuple[int, ...], name: str) -> int:
    size = math.ceil(math.prod(shape) * (dtype_bits(dtype) or 0) / 8)
    if size > MOST_TOTAL:
        raise InvalidModelError(
            f"Tensor '{name}' is {dtype} of the shape {list(shape)}, more than 2**60 bytes. "
            "Expected less. Export the model again."
        )
    return size


def _macs(index: int, kind: str, ops: Sequence[Any], shapes: tuple[tuple[int, ...], ...]) -> int:
    macs = count_macs(kind, ops[index], shapes)
    if macs > MOST_TOTAL:
        raise InvalidModelError(
            f"op {index} {kind} takes more than 2**60 multiply-accumulates by its shapes. Expected "
            "less. Export the model again."
        )
    return macs


def _quantization(tensor: Any) -> Quantization | None:
    parameters = tensor.quantization
    if parameters is None or parameters.scale is None or len(parameters.scale) == 0:
        return None
    scale = np.asarray(parameters.scale, np.float64)
    points = np.zeros(len(scale), np.int64)
    if parameters.zeroPoint is not None and len(parameters.zeroPoint) > 0:
        points = np.asarray(parameters.zeroPoint, np.int64)
    if not (np.isfinite(scale).all() and (scale > 0).all() and len(points) == len(scale)):
        raise InvalidModelError(
            f"Tensor '{text(tensor.name)}' has {len(scale)} scales from {scale.min()} to "
            f"{scale.max()} and {len(points)} zero points. Expected finite scales above 0, and as "
            "many zero points. Export the model again."
        )
    return Quantization(
        scale=tuple(scale.tolist()),
        zero_point=tuple(points.tolist()),
        axis=int(parameters.quantizedDimension),
    )


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(ints(tensor.shape))


def _offsets(rows: list[list[int]]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)


def _where(op: int, kind: str, names: tuple[str, ...], outputs: list[list[int]]) -> str:
    made = outputs[op]
    return f"op {op} {kind}" + (f" '{names[made[0]]}'" if made else "")
