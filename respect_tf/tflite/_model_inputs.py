"""What a model takes: names, shapes and types of its inputs, with a batch of 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from respect_tf._errors import ArgumentError, UnsupportedModelError
from respect_tf.tflite._structure import leaf_names, leaves

InputShape = Sequence[int] | Mapping[str, Sequence[int]]
"""Sizes of an input without the batch, or a dict of them by input name."""

_INPUT_TYPES = (
    *("float16", "bfloat16", "float32", "float64", "bool"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)

# What TFLite quantises only as float32.
_AS_FLOAT32 = ("int8", "uint8", "float16", "bfloat16", "float64")


@dataclass(frozen=True)
class ModelInput:
    """One input of a model, batch fixed to 1.

    Attributes:
        name: The name that users know: the Keras input's, or the signature's.
        shape: All dimensions, the first one is 1.
        dtype: numpy's name of the element type.
        cast: The type that the model itself takes, where it is an 8-bit integer, another float, or
            a wider integer that it only turns into floats: here such an input is float32, so that
            it can be quantised; None elsewhere.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    cast: str | None = None


def make_inputs(
    structure: Any, *, any_batch: bool = False, input_shape: InputShape | None = None
) -> tuple[ModelInput, ...]:
    """Turn a nest of `Leaf` into inputs, batch fixed to 1.

    Args:
        structure: Dicts, lists and tuples with `Leaf` in them.
        any_batch: Whether the batch size is only that of an example.
        input_shape: See `open_source`.

    Raises:
        UnsupportedModelError: An input has unknown dimensions, or another fixed batch.
    """
    flat = leaves(structure)
    inputs = []
    for name, (_, leaf) in zip(leaf_names(structure, "input"), flat, strict=True):
        shape = _completed(leaf.shape, name, len(flat), input_shape)
        if shape is None or len(shape) == 0 or 0 in shape[1:]:
            raise UnsupportedModelError(
                f"Input '{name}' has the shape {_shape_text(shape)}. Expected a batch dimension "
                "and sizes above 0. Build the model with keras.Input(shape=...)."
            )
        if leaf.dtype not in _INPUT_TYPES:
            raise UnsupportedModelError(
                f"Input '{name}' has the dtype {leaf.dtype}. Expected numbers: leave preprocessing "
                "such as text vectorisation out of the model."
            )
        unknown = [axis for axis, size in enumerate(shape[1:], 1) if size is None]
        if unknown:
            example = tuple(224 if size is None else size for size in shape[1:])
            raise UnsupportedModelError(
                f"Input '{name}' has the shape {_shape_text(shape)}, so the size of axis "
                f"{', '.join(map(str, unknown))} is unknown. An Edge TPU needs every size fixed. "
                f"Pass input_shape={example} or other sizes, or build the model with fixed ones."
            )
        if shape[0] not in (None, 1) and not any_batch:
            raise UnsupportedModelError(
                f"Input '{name}' has the shape {_shape_text(shape)}, a batch fixed to {shape[0]}. "
                "A pipeline takes one sample at a time: build the model with a batch of 1 or None."
            )
        sizes = tuple(int(size) for size in shape[1:] if size is not None)
        as_float32 = leaf.dtype in _AS_FLOAT32
        inputs.append(
            ModelInput(
                name,
                (1, *sizes),
                "float32" if as_float32 else leaf.dtype,
                leaf.dtype if as_float32 else None,
            )
        )
    if not inputs:
        raise UnsupportedModelError("The model has no inputs. Expected at least one tensor.")
    return tuple(inputs)


def _completed(
    shape: tuple[int | None, ...] | None,
    name: str,
    count: int,
    input_shape: InputShape | None,
) -> tuple[int | None, ...] | None:
    """An input's shape with the sizes that the user gave for it.

    Raises:
        ArgumentError: They contradict the model, or it is not clear which input they are for.
    """
    if input_shape is None or shape is None:
        return shape
    if isinstance(input_shape, Mapping):
        if name not in input_shape:
            return shape
        given = input_shape[name]
    elif count > 1:
        raise ArgumentError(
            f"The model has {count} inputs, and input_shape is one shape. Expected a dict by "
            f"input name, for example {{'{name}': (224, 224, 3)}}."
        )
    else:
        given = input_shape
    try:
        sizes = tuple(int(size) for size in given)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"input_shape must be sizes, such as (224, 224, 3). Received: {given!r}."
        ) from error
    fits = len(sizes) == len(shape) - 1 and all(
        size > 0 and known in (None, size) for size, known in zip(sizes, shape[1:], strict=False)
    )
    if not fits:
        raise ArgumentError(
            f"input_shape={sizes} does not fit input '{name}' of the shape {_shape_text(shape)}. "
            f"Expected {len(shape) - 1} sizes, without the batch, equal to those that are known."
        )
    return (shape[0], *sizes)


def _shape_text(shape: tuple[int | None, ...] | None) -> str:
    return "unknown" if shape is None else f"({', '.join(map(str, shape))})"
