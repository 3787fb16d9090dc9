"""From a Keras model to the op graph that converting it would make."""

from __future__ import annotations

import collections
from typing import Any

from respect_tf._errors import UnsupportedModelError
from respect_tf.graph._op_graph import OpGraph
from respect_tf.graph.lowering._form import Form, Value, op_graph
from respect_tf.graph.lowering._fusing import fuse
from respect_tf.graph.lowering._layers import lower_call
from respect_tf.graph.lowering._walk import (
    Call,
    UnknownLayerError,
    calls,
    flat,
    functional,
    static_shape,
)


def lower(model: Any, *, trained: bool = True) -> OpGraph:
    """The op graph of a model's architecture: no weights, no data, no conversion.

    Args:
        model: A functional or sequential model of Keras 3 or tf_keras, built.
        trained: Whether weights that are zero count as trained. TFLite removes sums with zeros,
            so a fresh model has fewer ops than the one that training makes of it.

    Returns:
        A graph with the ops, sizes and multiply-accumulates that converting the model to int8 with
        a batch of 1 makes. Weights have a scale of 1 for each channel, other tensors no
        quantisation, and ops are named after layers.

    Raises:
        UnknownLayerError: A layer that is not known here, or a subclassed model; the message names
            it.
        UnsupportedModelError: Sizes other than the batch that are not known, or no ops.
    """
    form = Form(trained=trained)
    outer = functional(model)
    values: dict[int, Value] = {}
    for tensor in flat(outer.inputs):
        whole = "int32" in str(tensor.dtype) or "int64" in str(tensor.dtype)
        value = Value(static_shape(tensor), "int32" if whole else "int8")
        values[id(tensor)] = value
        form.inputs.append(value)
    _lower_calls(form, outer, values, prefix="")
    form.outputs = [values[id(tensor)] for tensor in flat(outer.outputs)]
    fuse(form)
    if not form.ops:
        raise UnsupportedModelError("The model has no ops, so there is nothing to cut.")
    return op_graph(form)


def _lower_calls(form: Form, model: Any, values: dict[int, Value], *, prefix: str) -> None:
    """Add the ops of a model; `values` gets what its calls make."""
    made_calls = tuple(calls(model))
    dilated = collections.Counter(_dilation(call) for call in made_calls)
    for call in made_calls:
        form.shares_input = dilated[_dilation(call)] > 1
        read = [values[id(tensor)] for tensor in call.inputs]
        layer = call.layer
        form.layer = prefix + str(getattr(layer, "name", type(layer).__name__))
        if _is_model(layer):
            inner = functional(layer)
            inside = dict(zip(map(id, flat(inner.inputs)), read, strict=True))
            _lower_calls(form, inner, inside, prefix=f"{form.layer}/")
            made = [inside[id(tensor)] for tensor in flat(inner.outputs)]
        else:
            shapes = [static_shape(tensor) for tensor in call.outputs]
            form.begin(layer)
            found = lower_call(form, call, read, shapes)
            if found is None:
                what = f"Layer '{form.layer}', a {type(layer).__name__}"
                raise UnknownLayerError(
                    f"{what}: what TFLite makes of it is not known without converting it. Convert "
                    "the model, or leave the layer out.",
                    what=what,
                )
            made = found
        values.update(zip(map(id, call.outputs), made, strict=True))


def _dilation(call: Call) -> tuple[object, ...]:
    """What a convolution reads, and with which gaps; the same for all calls without gaps."""
    rate = getattr(call.layer, "dilation_rate", 1)
    rates = rate if isinstance(rate, (list, tuple)) else (rate,)
    return () if set(rates) == {1} else (id(call.inputs[0]), *rates)


def _is_model(layer: Any) -> bool:
    return hasattr(layer, "_nodes_by_depth") or type(layer).__name__ == "Sequential"
