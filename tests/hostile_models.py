"""Small .tflite models that parse, pass every check, and are fatal or endless when they are run."""

from __future__ import annotations

import numpy as np
from model_builder import ModelBuilder

from respect_tf.tflite import schema, write_model

MAP = (1, 4, 4, 8)


def index_out_of_range(names: tuple[str, str] = ("input_0", "output")) -> bytes:
    """SPARSE_TO_DENSE writes far outside its output: SIGSEGV at the first run.

    Args:
        names: Of input and output.
    """
    builder = ModelBuilder()
    first = builder.relu(builder.input(names[0]))
    indices = builder.tensor(
        "indices", (1, 4), "INT32", data=np.array([[2**30, 0, 0, 0]], np.int32), scale=None
    )
    shape = builder.tensor("shape", (4,), "INT32", data=np.array(MAP, np.int32), scale=None)
    value = builder.tensor("value", (1,), data=np.ones(1, np.int8))
    default = builder.tensor("default", (), data=np.zeros((), np.int8))
    dense = builder.tensor("dense", MAP)
    builder.op("SPARSE_TO_DENSE", [indices, shape, value, default], [dense])
    out = builder.relu(builder.add(first, dense))
    builder.rename(out, names[1])
    return builder.build([out])


def division(divisor: int | None = None) -> bytes:
    """FLOOR_MOD of two inputs, or by a constant: the least int32 by -1 is SIGFPE."""
    builder = ModelBuilder()
    left = builder.tensor("left", (1, 8), "INT32", scale=None)
    builder.inputs.append(left)
    if divisor is None:
        right = builder.tensor("right", (1, 8), "INT32", scale=None)
        builder.inputs.append(right)
    else:
        data = np.full((1, 8), divisor, np.int32)
        right = builder.tensor("right", (1, 8), "INT32", data=data, scale=None)
    first = builder.tensor("sum", (1, 8), "INT32", scale=None)
    zero = builder.tensor("zero", (1, 8), "INT32", data=np.zeros((1, 8), np.int32), scale=None)
    builder.op("ADD", [left, zero], [first], schema().AddOptionsT())
    out = builder.tensor("rest", (1, 8), "INT32", scale=None)
    builder.op("FLOOR_MOD", [first, right], [out], schema().FloorModOptionsT())
    return builder.build([out])


def endless(shape=(1,)) -> bytes:
    """A WHILE that leaves its value as it is.

    One bool is its own condition. With another shape the value is int8, and the condition is true.
    """
    generated = schema()
    bools, int8 = generated.TensorType.BOOL, generated.TensorType.INT8
    true = generated.BufferT()
    true.data = np.ones(1, np.uint8)

    def tensor(name, size, kind, buffer=0):
        made = generated.TensorT()
        made.name, made.shape, made.type, made.buffer = name, np.array(size, np.int32), kind, buffer
        return made

    def subgraph(name):
        graph = generated.SubGraphT()
        kind = bools if shape == (1,) else int8
        graph.name, graph.tensors = name, [tensor(f"{name}_value", shape, kind)]
        graph.operators = []
        graph.inputs = graph.outputs = np.array([0], np.int32)
        return graph

    code = generated.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = generated.BuiltinOperator.WHILE
    code.version = 1
    operator = generated.OperatorT()
    operator.inputs, operator.outputs = np.array([0], np.int32), np.array([1], np.int32)
    operator.builtinOptionsType = generated.BuiltinOptions.WhileOptions
    operator.builtinOptions = generated.WhileOptionsT()
    operator.builtinOptions.condSubgraphIndex = 1
    operator.builtinOptions.bodySubgraphIndex = 2
    main, condition, body = subgraph("main"), subgraph("condition"), subgraph("body")
    main.tensors.append(tensor("result", shape, main.tensors[0].type))
    main.operators, main.outputs = [operator], np.array([1], np.int32)
    if shape != (1,):
        condition.tensors.append(tensor("true", (1,), bools, buffer=1))
        condition.outputs = np.array([1], np.int32)
    model = generated.ModelT()
    model.version, model.operatorCodes = 3, [code]
    model.buffers = [generated.BufferT(), true]
    model.subgraphs = [main, condition, body]
    return write_model(model)


def hungry(num_bytes: int) -> bytes:
    """FILL of a constant shape: a file of a few hundred bytes that takes any amount of memory."""
    builder = ModelBuilder()
    first = builder.relu(builder.input())
    rows = num_bytes // 128
    shape = builder.tensor(
        "shape", (4,), "INT32", data=np.array([rows, 4, 4, 8], np.int32), scale=None
    )
    value = builder.tensor("value", (), data=np.ones((), np.int8))
    filled = builder.tensor("filled", (rows, 4, 4, 8))
    builder.op("FILL", [shape, value], [filled], schema().FillOptionsT(), version=3)
    return builder.build([builder.add(first, filled)])
