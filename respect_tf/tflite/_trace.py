"""Tracing a model with a batch of 1."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Any

from respect_tf._errors import ConversionError, RespectError, UnsupportedModelError
from respect_tf.tflite._model_inputs import ModelInput
from respect_tf.tflite._precision import layer_of
from respect_tf.tflite._source import FloatModel, gist

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
INPUT_CAST = "respect_input_cast"
"""What the casts of `ModelInput.cast` are called in the traced function."""

_NO_ROOT = "is not a valid root scope name"
_LOOP = re.compile(r"(Stateless)?While|LoopCond")


def trace(source: FloatModel) -> tuple[Any, list[str]]:
    """The model as a concrete function of batch 1, and the names of its outputs.

    Its inputs are called `placeholder(0)` and so on, whatever the model calls them: names may hold
    characters that graphs do not take.

    Raises:
        ConversionError: The model cannot be called on a batch of 1.
        UnsupportedModelError: It holds a loop, or returns something else than dense tensors.
    """
    import tensorflow as tf

    names: list[str] = []

    def inference(*tensors: Any) -> list[Any]:
        with tf.name_scope(scope) if scope else contextlib.nullcontext():
            return called(*tensors)

    def called(*tensors: Any) -> list[Any]:
        cast = [
            tensor if spec.cast is None else tf.cast(tensor, spec.cast, name=INPUT_CAST)
            for tensor, spec in zip(tensors, source.inputs, strict=True)
        ]
        outputs = source.call(*cast)
        names[:] = [name for name, _ in outputs]
        return [tensor for _, tensor in outputs]

    specs = [
        tf.TensorSpec(spec.shape, spec.dtype, name=placeholder(number))
        for number, spec in enumerate(source.inputs)
    ]
    scope = ""
    try:
        try:
            function = tf.function(inference).get_concrete_function(*specs)
        except ValueError as error:
            if _NO_ROOT not in str(error):
                raise
            scope = "model"  # a model called `_net` cannot be the outermost scope
            function = tf.function(inference).get_concrete_function(*specs)
    except (MemoryError, RespectError):
        raise
    except Exception as error:
        raise ConversionError(
            f"TensorFlow cannot trace '{source.name}' with a batch of 1, inputs "
            f"{_listed(source.inputs)}: {gist(error)}. Check that the model can be called on "
            "such a sample."
        ) from error
    for name, tensor in zip(names, function.graph.structured_outputs, strict=True):
        if not isinstance(tensor, tf.Tensor):
            raise UnsupportedModelError(
                f"Output '{name}' of '{source.name}' is a {type(tensor).__name__}. Expected a "
                "dense tensor."
            )
    _refuse_loops(function.graph, source)
    return function, names


def placeholder(number: int) -> str:
    """What input `number` is called in the traced function."""
    return f"respect_input_{number}"


def _refuse_loops(graph: Any, source: FloatModel) -> None:
    """Refuse loops: TFLite's converter dies of most of them, taking the process along.

    Raises:
        UnsupportedModelError: The graph, or a function that it calls, holds a loop.
    """
    operations = [(op.name, op.type) for op in graph.get_operations()]
    loops = [name for name, kind in operations if _LOOP.fullmatch(kind)]
    if not loops and any(kind in _CALLS for _, kind in operations):
        library = {f.signature.name: f.node_def for f in graph.as_graph_def().library.function}
        called: set[str] = set()

        def follow(name: str, function: str) -> None:
            if function in called:
                return
            called.add(function)
            for node in library.get(function, ()):
                if _LOOP.fullmatch(node.op):
                    # In a library function the node has a short name; the call says whose it is.
                    loops.append(max(name, node.name, key=lambda path: path.count("/")))
                elif node.op in _CALLS:
                    follow(node.name if "/" in node.name else name, node.attr["f"].func.name)

        for op in graph.get_operations():
            if op.type in _CALLS:
                follow(op.name, op.get_attr("f").name)
    if loops:
        layers = dict.fromkeys(layer_of(name, source.layer_names) or name for name in loops)
        raise UnsupportedModelError(
            f"'{source.name}' holds a loop in layer {', '.join(map(repr, layers))}. An Edge TPU "
            "has no loops, and TFLite's converter crashes on them. For LSTM, GRU and other "
            "recurrent layers, build the model with unroll=True and load the weights into it; "
            "instead of tf.while_loop, map_fn or scan, use ops on whole tensors."
        )


def _listed(inputs: Sequence[ModelInput]) -> str:
    return ", ".join(f"'{spec.name}' {spec.shape}" for spec in inputs)
