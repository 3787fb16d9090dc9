"""Ops that only move values, as rewriting leaves them.

Which form takes the place of a chain of RESHAPE, TRANSPOSE, slices and the like depends on where
each value goes. The rules of `respect_tf.tflite.rewrites` find that out, so each chain is made a
model of its own, rewritten, and put back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from respect_tf.graph._from_tflite import op_graph_of
from respect_tf.graph._op_graph import OpGraph
from respect_tf.graph.lowering._form import Form, Op, Value
from respect_tf.tflite import read_model, rewrite, schema, write_model

MOVES = {"RESHAPE", "TRANSPOSE", "STRIDED_SLICE"}
# The versions that the quantiser writes for ops of rewritten chains.
_VERSIONS = {"RESHAPE": 1, "CONV_2D": 3, "TRANSPOSE_CONV": 3}


def rewrite_moves(form: Form) -> None:
    """Put in the place of each chain of moves what rewriting makes of it."""
    readers: dict[int, int] = {}
    for op in form.ops:
        for value in op.inputs:
            readers[id(value)] = readers.get(id(value), 0) + 1
    for value in form.outputs:
        readers[id(value)] = readers.get(id(value), 0) + 2
    ends: dict[int, list[Op]] = {}  # chains by the tensor that their last op makes
    for op in form.ops:
        if op.kind not in MOVES:
            continue
        before = ends.get(id(op.inputs[0]), [])
        if before and readers[id(op.inputs[0])] == 1:
            del ends[id(op.inputs[0])]
            ends[id(op.made)] = [*before, op]
        else:
            ends[id(op.made)] = [op]
    for chain in ends.values():
        if any(op.kind != "RESHAPE" for op in chain):
            _replace(form, chain)


def _replace(form: Form, chain: Sequence[Op]) -> None:
    found = rewrite(_model(chain))
    if not found.applied:
        return
    graph = op_graph_of(read_model(found.content))
    form.ops[form.ops.index(chain[-1])] = chain[-1]
    place = form.ops.index(chain[-1])
    form.ops[place : place + 1] = _ops(graph, chain)
    gone = {id(op) for op in chain}
    form.ops = [op for op in form.ops if id(op) not in gone]


def _ops(graph: OpGraph, chain: Sequence[Op]) -> list[Op]:
    """The ops of a rewritten chain, between what the chain read and made."""
    values: dict[int, Value] = {int(graph.model_inputs[0]): chain[0].inputs[0]}
    values[int(graph.model_outputs[0])] = chain[-1].made
    ops = []
    for op in range(graph.num_ops):
        kind, attributes = graph.op_types[op], graph.op_attributes[op]
        for tensor, setting in zip(graph.inputs_of(op).tolist(), attributes.settings, strict=True):
            if tensor not in values:
                dtype = graph.tensor_dtypes[tensor]
                whole = dtype == "int32"
                values[tensor] = Value(
                    graph.tensor_shapes[tensor],
                    "int32" if whole or _is_bias(graph, op, tensor) else "int8",
                    constant=True,
                    settings=setting if whole else None,
                    key=(graph.tensor_shapes[tensor], setting) if whole else None,
                )
        for tensor in graph.outputs_of(op).tolist():
            values.setdefault(tensor, Value(graph.tensor_shapes[tensor]))
        ops.append(
            Op(
                kind,
                [values[t] for t in graph.inputs_of(op).tolist()],
                [values[t] for t in graph.outputs_of(op).tolist()],
                dataclasses.replace(attributes, version=_VERSIONS.get(kind, 2)),
                chain[-1].layer,
            )
        )
    return ops


def _is_bias(graph: OpGraph, op: int, tensor: int) -> bool:
    return graph.op_types[op] == "CONV_2D" and graph.inputs_of(op).tolist().index(tensor) == 2


def _model(chain: Sequence[Op]) -> bytes:
    """A float .tflite model of these ops alone."""
    names = schema()
    model, subgraph = names.ModelT(), names.SubGraphT()
    model.version, model.buffers, model.operatorCodes = 3, [names.BufferT()], []
    subgraph.tensors, subgraph.operators = [], []

    def tensor(value: Value, numbers: Sequence[int] | None = None) -> int:
        made = names.TensorT()
        made.shape = np.array(value.shape, np.int32)
        made.name = f"tensor_{len(subgraph.tensors)}"
        made.type = names.TensorType.FLOAT32 if numbers is None else names.TensorType.INT32
        made.hasRank = True
        made.buffer = 0
        if numbers is not None:
            buffer = names.BufferT()
            buffer.data = np.array(numbers, np.int32).view(np.uint8)
            model.buffers.append(buffer)
            made.buffer = len(model.buffers) - 1
        subgraph.tensors.append(made)
        return len(subgraph.tensors) - 1

    read = tensor(chain[0].inputs[0])
    subgraph.inputs = np.array([read], np.int32)
    for op in chain:
        code = names.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(names.BuiltinOperator, op.kind)
        code.version = 1
        model.operatorCodes.append(code)
        made = names.OperatorT()
        made.opcodeIndex = len(model.operatorCodes) - 1
        settings = [tensor(value, value.settings or ()) for value in op.inputs[1:]]
        made.inputs = np.array([read, *settings], np.int32)
        read = tensor(op.made)
        made.outputs = np.array([read], np.int32)
        if op.kind == "STRIDED_SLICE":
            made.builtinOptionsType = names.BuiltinOptions.StridedSliceOptions
            made.builtinOptions = names.StridedSliceOptionsT()
        subgraph.operators.append(made)
    subgraph.outputs = np.array([read], np.int32)
    model.subgraphs = [subgraph]
    return write_model(model)
