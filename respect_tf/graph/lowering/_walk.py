"""The calls of a Keras model's layers, in an order in which they can run, models inside included.

Keras 3 and tf_keras keep the calls in nodes: Keras 3 in `operation._inbound_nodes` with `arguments`
and `outputs`, tf_keras in `layer._inbound_nodes` with `keras_inputs` and `outputs`. Both list the
nodes of a functional model by depth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from respect_tf._errors import UnsupportedModelError


class UnknownLayerError(UnsupportedModelError):
    """A layer, or a model, of which it is not known without converting it what TFLite makes of it.

    Attributes:
        what: The layer or model, for messages.
    """

    def __init__(self, message: str, *, what: str) -> None:
        super().__init__(message)
        self.what = what


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer, or of a function of `keras.ops` or TensorFlow.

    Attributes:
        layer: What is called.
        args: Positional arguments, with symbolic tensors in their places.
        kwargs: Keyword arguments, likewise.
        inputs: The symbolic tensors among them, in order.
        outputs: Symbolic tensors.
    """

    layer: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def functional(model: Any) -> Any:
    """A model as one that knows its calls.

    Raises:
        UnknownLayerError: A subclassed model, or one that is not built yet: what it computes is
            known only when it runs.
    """
    inner = getattr(model, "_functional", None)
    if type(model).__name__ == "Sequential" and inner is not None:  # Keras 3
        return inner
    if not getattr(model, "_nodes_by_depth", None):
        what = f"'{getattr(model, 'name', model)}', a {type(model).__name__},"
        raise UnknownLayerError(
            f"{what} calls its layers by code of its own. Expected a functional or sequential "
            "model that is built: give it an Input, or convert it.",
            what=what.rstrip(","),
        )
    return model


def calls(model: Any) -> Iterator[Call]:
    """The calls of a functional model, those that others need first."""
    nodes = model._nodes_by_depth
    for depth in sorted(nodes, reverse=True):
        for node in nodes[depth]:
            call = _call(node)
            if call.inputs:  # an input layer's node has none
                yield call


def _call(node: Any) -> Call:
    layer = getattr(node, "operation", None) or node.layer
    arguments = getattr(node, "arguments", None)
    if arguments is not None:  # Keras 3
        args, kwargs = arguments.args, arguments.kwargs
        inputs = node.input_tensors
    else:
        args, kwargs = node.call_args, node.call_kwargs
        inputs = node.keras_inputs
    return Call(layer, tuple(args), dict(kwargs), tuple(inputs), tuple(flat(node.outputs)))


def flat(value: Any) -> list[Any]:
    """The leaves of lists, tuples and dicts, in order."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in flat(value[key])]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flat(item)]
    return [value]


def static_shape(tensor: Any) -> tuple[int, ...]:
    """The shape of a symbolic tensor with a batch of 1.

    Raises:
        UnsupportedModelError: Another size is unknown.
    """
    sizes: Sequence[int | None] = tuple(tensor.shape)
    shape = (1 if sizes and sizes[0] is None else (sizes[0] if sizes else 1), *sizes[1:])
    if any(size is None for size in shape):
        raise UnsupportedModelError(
            f"A tensor '{getattr(tensor, 'name', '')}' has the shape {list(sizes)}. Only the batch "
            "may be unknown: build the model with every other size fixed."
        )
    return tuple(int(size) for size in shape if size is not None) if sizes else ()
