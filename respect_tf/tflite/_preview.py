"""What a float model will look like once it is quantised, without quantising it."""

from __future__ import annotations

import numpy as np

from respect_tf.tflite._flatbuffer import has_data, ints, op_type, read_model, write_model
from respect_tf.tflite._precision import BIASES
from respect_tf.tflite._schema import op_type_names, schema

# Versions that TFLite gives int8 ops, of those where they decide whether the compiler reads a file
# (tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc); grouped convolutions have theirs
# in float already.
_INT8_VERSIONS = {
    "DEPTH_TO_SPACE": 2, "EXP": 2, "GELU": 2, "LOG": 2, "RSQRT": 2, "SQUARED_DIFFERENCE": 2,
    "SUM": 2, "TILE": 3,
}  # fmt: skip
# Ops without an int8 kernel: TFLite leaves them in float.
_FLOAT_ONLY = {"ATAN2", "CONV_3D", "COS", "CUMSUM", "ELU", "FLOOR", "NEG", "POW", "ROUND", "SIN",
               "SQRT", "SQUARE"}  # fmt: skip


def int8_preview(content: bytes) -> bytes:
    """A file with the ops, shapes and element types that quantising a float model will give.

    It cannot be run: its constants are zeros, and it has no scales. QUANTIZE and DEQUANTIZE at
    inputs, outputs and ops that stay in float are left out.

    Raises:
        InvalidModelError: The bytes are no TFLite model.
    """
    generated = schema()
    model = read_model(content)
    floats, int8 = generated.TensorType.FLOAT32, generated.TensorType.INT8
    for subgraph in model.subgraphs:
        biases: set[int] = set()
        stay: set[int] = set()
        for operator in subgraph.operators:
            kind = op_type(model, operator)
            read = ints(operator.inputs)
            biases.update(read[place] for place in BIASES.get(kind, ()) if place < len(read))
            if kind in _FLOAT_ONLY:
                stay.update([*read, *ints(operator.outputs)])
        for index, tensor in enumerate(subgraph.tensors):
            if tensor.type != floats:
                continue
            if has_data(model, tensor):
                count = int(np.prod(ints(tensor.shape), dtype=np.int64))
                buffer = generated.BufferT()
                buffer.data = np.zeros(count * (4 if index in biases else 1), np.uint8)
                model.buffers.append(buffer)
                tensor.buffer = len(model.buffers) - 1
                tensor.type = generated.TensorType.INT32 if index in biases else int8
            elif index not in stay:
                tensor.type = int8
    used = {tensor.buffer for subgraph in model.subgraphs for tensor in subgraph.tensors}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None
    for code in model.operatorCodes:
        name = op_type_names().get(max(code.builtinCode, code.deprecatedBuiltinCode), "")
        code.version = max(code.version, _INT8_VERSIONS.get(name, 1))
    return write_model(model)
