"""What an op must look like for anything to be said about it: inputs, ranks, steps of windows.

TFLite's kernels refuse other ops when a model is loaded. Here a model is read long before that, and
whoever counts operations, bytes or support of an op may rely on the form of its type.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from respect_tf._errors import InvalidModelError


@dataclasses.dataclass(frozen=True)
class _Form:
    """Inputs that an op has at least, the ranks of some, and the rank of what it makes.

    Ranks are "as many" for positive numbers and "at least" for negative ones.
    """

    num_inputs: int
    ranks: Mapping[int, int] = dataclasses.field(default_factory=dict)
    made: int | None = None


_POOL = _Form(1, {0: 4}, 4)
_CONVOLUTION = _Form(2, {0: 4, 1: 4}, 4)
_REDUCTION = _Form(1, {0: -1})
_ANY = _Form(1)
# The types whose inputs or axes are looked at here, and what is needed to look.
_FORMS = {
    "AVERAGE_POOL_2D": _POOL,
    "MAX_POOL_2D": _POOL,
    "L2_POOL_2D": _POOL,
    "CONV_2D": _CONVOLUTION,
    "DEPTHWISE_CONV_2D": _CONVOLUTION,
    "CONV_3D": _Form(2, {0: 5, 1: 5}, 5),
    "TRANSPOSE_CONV": _Form(3, {1: 4, 2: 4}, 4),
    "FULLY_CONNECTED": _Form(2, {0: -1, 1: 2}, -1),
    "BATCH_MATMUL": _Form(2, {0: -2, 1: -2}, -2),
    "MEAN": _REDUCTION,
    "SUM": _REDUCTION,
    "REDUCE_MAX": _REDUCTION,
    "REDUCE_MIN": _REDUCTION,
    "REDUCE_PROD": _REDUCTION,
    "LSTM": _ANY,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _ANY,
    "SVDF": _ANY,
    "PRELU": _Form(2),
    "PAD": _Form(2),
    "PADV2": _Form(2),
    "SPLIT": _Form(2),
    "STRIDED_SLICE": _ANY,
    "SOFTMAX": _Form(1, {0: -1}, -1),
    "LOGISTIC": _ANY,
    "CONCATENATION": _ANY,
    "RESIZE_BILINEAR": _Form(1, {0: 4}, 4),
    "RESIZE_NEAREST_NEIGHBOR": _Form(1, {0: 4}, 4),
    "QUANTIZE": _ANY,
    "DEQUANTIZE": _ANY,
    "RESHAPE": _ANY,
    "TRANSPOSE": _ANY,
    "ADD": _ANY,
    "SUB": _ANY,
    "MUL": _ANY,
    "DIV": _ANY,
    "MAXIMUM": _ANY,
    "MINIMUM": _ANY,
    "SQUARED_DIFFERENCE": _ANY,
}
_STRICT = {"PAD", "PADV2", "SPLIT"}  # what they do is in their other inputs
_STEPS = ("strideH", "strideW", "dilationHFactor", "dilationWFactor", "filterHeight", "filterWidth")


def check_form(
    where: Callable[[], str],
    kind: str,
    inputs: Sequence[int],
    made: int,
    shapes: Sequence[tuple[int, ...]],
    options: Any,
) -> None:
    """Check an op against the form of its type; types without one are left alone.

    Args:
        where: Makes the name that messages give the op.
        kind: Its type.
        inputs: Tensors that it reads, -1 for absent ones.
        made: The first tensor that it makes.
        shapes: Of all tensors.
        options: The schema's options of the op, or None.

    Raises:
        InvalidModelError: It has too few inputs, a tensor of another rank, or steps below 0.
    """
    form = _FORMS.get(kind)
    if form is not None:
        needed = inputs[: form.num_inputs]
        # With its first input alone, an op says nothing of its weights, and nothing is asked.
        alone = len(inputs) == 1 and kind not in _STRICT
        if (len(needed) < form.num_inputs and not alone) or min(needed, default=0) < 0:
            raise InvalidModelError(
                f"{where()} reads {sum(tensor >= 0 for tensor in needed)} of the {form.num_inputs} "
                "tensors that every op of its type reads. Export the model again."
            )
        there = range(len(inputs))
        ranks = [(inputs[place], rank) for place, rank in form.ranks.items() if place in there]
        ranks += [] if form.made is None else [(made, form.made)]
        for tensor, rank in ranks:
            received = len(shapes[tensor])
            if received != rank if rank > 0 else received < -rank:
                raise InvalidModelError(
                    f"{where()}: tensor {tensor} has the shape {list(shapes[tensor])}. Expected "
                    f"{'' if rank > 0 else 'at least '}{abs(rank)} dimensions. Export the model "
                    "again."
                )
    for name in _STEPS:
        if int(getattr(options, name, 1)) < 0:  # 0 is what an absent option reads as
            raise InvalidModelError(
                f"{where()} has the option {name} {getattr(options, name)}. Expected 0 or more. "
                "Export the model again."
            )
