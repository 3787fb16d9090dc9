"""A graph for pictures of another size: every tensor's shape, worked out op by op."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Sequence
from typing import Any

from respect_tf._errors import UnsupportedModelError
from respect_tf.graph._macs import count_macs
from respect_tf.graph._op_graph import OpGraph
from respect_tf.graph._resized_ops import Place, Shape, made_attributes, made_shapes


def picture_size(graph: OpGraph) -> tuple[int, int]:
    """Height and width of the pictures that a model reads.

    Raises:
        UnsupportedModelError: No input is a picture, or they are of several sizes.
    """
    sizes = {graph.tensor_shapes[t][1:3] for t in pictures(graph)}
    if len(sizes) != 1:
        raise UnsupportedModelError(
            f"The model has {len(sizes)} sizes of pictures among its inputs "
            f"({[graph.tensor_shapes[t] for t in graph.model_inputs.tolist()]}). Expected one: "
            "[1, height, width, channels]."
        )
    ((height, width),) = sizes
    return height, width


def resized(graph: OpGraph, height: int, width: int) -> OpGraph:
    """The same ops, with the same weights, on pictures of another size.

    Args:
        graph: A graph of a file or of an architecture, with a picture as its input.
        height: Of the pictures.
        width: Of the pictures.

    Returns:
        A graph whose ops have the same numbers.

    Raises:
        UnsupportedModelError: The weights do not fit another size (a dense layer over all pixels,
            an embedding of positions), tensors no longer fit each other, or an op is not known
            here; the message names the op.
    """
    if not graph.op_attributes:
        raise UnsupportedModelError(
            "The graph has no attributes of its ops, so nothing is known of other sizes. Expected "
            "one of a model."
        )
    old = picture_size(graph)
    shapes = list(graph.tensor_shapes)
    for tensor in pictures(graph):
        shapes[tensor] = (shapes[tensor][0], height, width, *shapes[tensor][3:])
    attributes = list(graph.op_attributes)
    for op in graph.topological_order.tolist():
        at = Place(graph, op, shapes, (height / old[0], width / old[1]))
        if at.is_touched:
            made = made_shapes(at)
            if any(size < 1 for shape in made for size in shape):
                raise at.refused("nothing is left of its input")
            for tensor, shape in zip(graph.outputs_of(op).tolist(), made, strict=True):
                shapes[tensor] = shape
            attributes[op] = made_attributes(at, made[0])
    return dataclasses.replace(
        graph,
        tensor_shapes=tuple(shapes),
        tensor_bytes=_tensor_bytes(graph, shapes),
        macs=_macs(graph, shapes),
        op_attributes=tuple(attributes),
    )


def pictures(graph: OpGraph) -> list[int]:
    """Inputs of a model that are pictures: [1, height, width, channels]."""
    return [
        t
        for t in graph.model_inputs.tolist()
        if len(graph.tensor_shapes[t]) == 4 and graph.tensor_shapes[t][0] == 1
    ]


def _tensor_bytes(graph: OpGraph, shapes: Sequence[Shape]) -> Any:
    sizes = graph.tensor_bytes.copy()
    for tensor, (new, old) in enumerate(zip(shapes, graph.tensor_shapes, strict=True)):
        if new != old and 0 not in old:
            sizes[tensor] = sizes[tensor] * math.prod(new) // math.prod(old)
    return sizes


def _macs(graph: OpGraph, shapes: list[Shape]) -> Any:
    macs = graph.macs.copy()
    for op, kind in enumerate(graph.op_types):
        height, width = graph.op_attributes[op].window
        operator = types.SimpleNamespace(
            inputs=graph.inputs_of(op).tolist(),
            outputs=graph.outputs_of(op).tolist(),
            builtinOptions=types.SimpleNamespace(filterHeight=height, filterWidth=width),
        )
        if any(shapes[t] != graph.tensor_shapes[t] for t in (*operator.inputs, *operator.outputs)):
            macs[op] = count_macs(kind, operator, tuple(shapes))
    return macs
