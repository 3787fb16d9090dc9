"""Freezing a traced model without keeping its weights more often than the conversion reads them.

TFLite's converter makes a function of the frozen graph, twice on the way, asks it for the names,
types and shapes of its inputs and outputs, and keeps it while it converts. Each time the weights
become nodes of a graph and a function of the runtime. The traced function knows all of that too.
"""

from __future__ import annotations

from typing import Any

# Of mixed precision, and of models that were made in half or double precision.
_OTHER_FLOATS = {"float16": "float32", "bfloat16": "float32", "float64": "float32"}


def freeze_without_a_function(converter: Any, function: Any) -> None:
    """Let a converter have the frozen graph alone, not a function of it. The graph is the same.

    Measured at the peak of `convert`, above what the process held before: 5.5 GiB instead of 8.6
    for VGG16 (528 MiB of weights), 1.1 GiB instead of 1.6 for ResNet50 (98 MiB).

    Args:
        converter: What `tf.lite.TFLiteConverter.from_concrete_functions` made.
        function: Its concrete function, without loops. A version of TensorFlow that freezes in
            another way than 2.16 to 2.21 is left to do so.
    """
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants as constants

    with_values = getattr(constants, "_FunctionConverterDataInEager", None)
    replaced = getattr(constants, "_replace_variables_by_constants", None)
    if with_values is None or replaced is None:
        return
    if not hasattr(converter, "_freeze_concrete_function"):
        return

    def frozen() -> tuple[Any, list[Any], list[Any], None]:
        values = with_values(func=function, lower_control_flow=False, aggressive_inlining=False)
        graph, indices = replaced(converter_data=values)
        _in_float32(graph)
        gone = {function.graph.internal_captures[index].name for index in indices}
        inputs = [
            tensor
            for tensor in function.inputs
            if tensor.name not in gone and tensor.dtype != tf.resource
        ]
        inputs, outputs = (
            [
                tf.TensorSpec(
                    tensor.shape, _OTHER_FLOATS.get(tensor.dtype.name, tensor.dtype), name
                )
                for tensor in side
                for name in [tensor.name]
            ]
            for side in (inputs, function.outputs)
        )
        # The function itself would be read by Grappler alone, where a converter is set to old ways.
        return graph, inputs, outputs, None

    converter._freeze_concrete_function = frozen


def _in_float32(graph: Any) -> None:
    """Let a graph compute in float32 what it computes in other floats, which TFLite does not."""
    for node in graph.node:
        _of_float32(node)
    for function in graph.library.function:
        for node in function.node_def:
            _of_float32(node)
        for argument in (*function.signature.input_arg, *function.signature.output_arg):
            argument.type = _code(argument.type)


def _of_float32(node: Any) -> None:
    import tensorflow as tf

    for value in node.attr.values():
        kind = value.WhichOneof("value")
        if kind == "type":
            value.type = _code(value.type)
        elif kind == "list":
            for position, code in enumerate(value.list.type):
                value.list.type[position] = _code(code)
        elif kind == "tensor" and _code(value.tensor.dtype) != value.tensor.dtype:
            numbers = tf.make_ndarray(value.tensor).astype("float32")
            value.tensor.CopyFrom(tf.make_tensor_proto(numbers))


def _code(code: int) -> int:
    """The type of tensors that takes the place of another one."""
    import tensorflow as tf

    is_other = code and tf.dtypes.as_dtype(code).name in _OTHER_FLOATS
    return int(tf.float32.as_datatype_enum) if is_other else code
