"""Fixing the batch of a model that a user's own converter made with an open one.

`TFLiteConverter.from_keras_model` leaves the batch open: inputs have the shape signature
[-1, ...], and ops such as SHAPE, STRIDED_SLICE and PACK work out at run time what RESHAPE needs.
With a batch of 1 their results are known, so they become constants.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import UnsupportedModelError
from respect_tf.tflite._flatbuffer import (
    has_data,
    ints,
    op_type,
    text,
    write_model,
)
from respect_tf.tflite._interpreter import Interpreter
from respect_tf.tflite._schema import schema, tensor_type_names

# Ops whose output shapes depend on values; shapes behind them are known at run time only.
_VALUE_SHAPED = ("WHERE", "UNIQUE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "CUSTOM:")


def fix_batch(content: bytes, model: Any, *, only_if_computed: bool = False) -> bytes:
    """The same model with a batch of 1, or the same bytes if its batch is fixed already.

    Args:
        content: The model.
        model: The same, unpacked; it is changed, unless the same bytes are returned.
        only_if_computed: Whether a model stays as it is unless ops compute its shapes.

    Raises:
        UnsupportedModelError: An input has unknown dimensions other than the batch.
        InterpreterError: TFLite cannot run the model, which is how the shapes are found.
    """
    if only_if_computed and all(
        op_type(model, operator) != "SHAPE" for operator in model.subgraphs[0].operators
    ):
        return content
    subgraph = model.subgraphs[0]
    inputs = [int(index) for index in ints(subgraph.inputs)]
    open_inputs = [index for index in inputs if _unknown_axes(subgraph.tensors[index])]
    if not open_inputs or len(model.subgraphs) > 1:
        return content
    for index in open_inputs:
        tensor = subgraph.tensors[index]
        if _unknown_axes(tensor) != [0]:
            raise UnsupportedModelError(
                f"Input '{text(tensor.name)}' has the shape {ints(tensor.shapeSignature)}. Only "
                "the batch may be unknown: build the model with every other size fixed."
            )
    kinds = [op_type(model, operator) for operator in subgraph.operators]
    if any(kind.startswith(_VALUE_SHAPED) for kind in kinds):
        return content
    with Interpreter(content, keep_inner_tensors=True) as interpreter:
        interpreter.run([_zeros(subgraph.tensors[index]) for index in inputs])
        return _fixed(model, kinds, inputs, interpreter)


def _fixed(model: Any, kinds: list[str], inputs: list[int], interpreter: Interpreter) -> bytes:
    """A model with the shapes and constants that its run with a batch of 1 has shown."""
    subgraph = model.subgraphs[0]
    outputs = set(ints(subgraph.outputs))
    folded: set[int] = set()
    kept = []
    for kind, operator in zip(kinds, subgraph.operators, strict=True):
        read = [index for index in ints(operator.inputs) if index >= 0]
        made = ints(operator.outputs)
        known = all(index in folded or _is_constant(model, index, inputs) for index in read)
        shape_only = kind == "SHAPE" or (known and any(index in folded for index in read))
        if shape_only and outputs.isdisjoint(made):
            folded.update(made)
        else:
            kept.append(operator)
    subgraph.operators = kept
    for index in folded:
        buffer = schema().BufferT()
        buffer.data = np.ascontiguousarray(interpreter.tensor(index)).reshape(-1).view(np.uint8)
        model.buffers.append(buffer)
        subgraph.tensors[index].buffer = len(model.buffers) - 1
    for operator in kept:
        for index in [*ints(operator.inputs), *ints(operator.outputs)]:
            tensor = subgraph.tensors[index]
            if index >= 0 and _unknown_axes(tensor):
                tensor.shape = np.array(interpreter.tensor(index).shape, np.int32)
                tensor.shapeSignature = None
    for index in inputs:
        subgraph.tensors[index].shapeSignature = None
    return write_model(model)


def _unknown_axes(tensor: Any) -> list[int]:
    return [axis for axis, size in enumerate(ints(tensor.shapeSignature)) if size < 0]


def _is_constant(model: Any, index: int, inputs: list[int]) -> bool:
    return index not in inputs and has_data(model, model.subgraphs[0].tensors[index])


def _zeros(tensor: Any) -> npt.NDArray[Any]:
    return np.zeros(ints(tensor.shape), tensor_type_names()[tensor.type])
