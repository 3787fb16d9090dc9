"""Multiply-accumulate operations of a TFLite op."""

from __future__ import annotations

import math
from typing import Any

# Ops that only move or rename data.
_MOVES = {
    "RESHAPE", "TRANSPOSE", "CONCATENATION", "SPLIT", "SPLIT_V", "PACK", "UNPACK", "PAD", "PADV2",
    "MIRROR_PAD", "SLICE", "STRIDED_SLICE", "SQUEEZE", "EXPAND_DIMS", "GATHER", "GATHER_ND",
    "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "TILE", "SHAPE",
    "BROADCAST_TO", "REVERSE_V2", "FILL", "EMBEDDING_LOOKUP", "RANK", "RESIZE_NEAREST_NEIGHBOR",
}  # fmt: skip
_POOLS = {"AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"}
_REDUCTIONS = {"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "ARG_MAX", "ARG_MIN"}
# Weight matrices [num_units, num_inputs] among the inputs of the recurrent ops (the public
# schema's kernels lstm.cc, unidirectional_sequence_lstm.cc, bidirectional_sequence_lstm.cc,
# basic_rnn.cc, unidirectional_sequence_rnn.cc and svdf.cc).
_LSTM_WEIGHTS = (*range(1, 9), 16)
_RECURRENT_WEIGHTS = {
    "LSTM": _LSTM_WEIGHTS,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _LSTM_WEIGHTS,
    "BIDIRECTIONAL_SEQUENCE_LSTM": (*_LSTM_WEIGHTS, *range(18, 26), 33),
    "RNN": (1, 2),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (1, 2),
    "BIDIRECTIONAL_SEQUENCE_RNN": (1, 2, 5, 6),
    "SVDF": (1, 2),
}

Shape = tuple[int, ...]


def count_macs(kind: str, operator: Any, shapes: tuple[Shape, ...]) -> int:
    """Multiply-accumulate operations of one run of an op.

    Convolutions, dense layers, matrix products and recurrent ops count their products; pools and
    reductions one operation per element read; other arithmetic one per element made; ops that only
    move data none.

    Args:
        kind: The op's type, for example `"CONV_2D"`.
        operator: The schema's `OperatorT`.
        shapes: Shapes of all tensors of the subgraph.
    """
    inputs = [] if operator.inputs is None else [int(tensor) for tensor in operator.inputs]
    read = [shapes[tensor] if tensor >= 0 else None for tensor in inputs]
    made = shapes[int(operator.outputs[0])]
    options = operator.builtinOptions
    weights = read[1] if len(read) > 1 else None
    if kind in _RECURRENT_WEIGHTS:
        return _recurrent(kind, read, options)
    if kind in ("CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED") and weights:
        return math.prod(made) * _products_per_output(kind, weights)
    if kind == "TRANSPOSE_CONV" and weights and len(read) > 2 and read[2]:
        # Weights are [channels_out, height, width, channels_in]; every input element meets one
        # kernel of every output channel.
        return math.prod(read[2]) * math.prod(weights[:-1])
    if kind == "BATCH_MATMUL" and read and len(read[0] or ()) >= 2:
        adjoint = bool(getattr(options, "adjX", False))
        left = read[0] or ()
        return math.prod(made) * (left[-2] if adjoint else left[-1])
    if kind in _MOVES or kind.startswith("CUSTOM"):
        return 0
    if kind in _POOLS:
        height, width = (getattr(options, f"filter{side}", 1) for side in ("Height", "Width"))
        return math.prod(made) * int(height) * int(width)
    if kind in _REDUCTIONS and read and read[0] is not None:
        return math.prod(read[0])
    return math.prod(made)


def _products_per_output(kind: str, weights: Shape) -> int:
    """Products that one output element takes."""
    if kind == "CONV_2D":  # [channels_out, height, width, channels_in_of_group]
        return math.prod(weights[1:])
    if kind == "CONV_3D":  # [depth, height, width, channels_in, channels_out]
        return math.prod(weights[:-1])
    if kind == "DEPTHWISE_CONV_2D":  # [1, height, width, channels_out]
        return math.prod(weights[1:-1])
    return weights[-1]  # FULLY_CONNECTED: [units, inputs]


def _recurrent(kind: str, read: list[Shape | None], options: Any) -> int:
    """Every weight is used once per time step and batch row."""
    per_step: int = sum(
        math.prod(shape)
        for index in _RECURRENT_WEIGHTS[kind]
        if index < len(read) and (shape := read[index]) is not None
    )
    data = (read[0] if read else None) or ()
    # Sequence ops read [batch, time, features] or [time, batch, features]: both are counted; the
    # others read [batch, features].
    steps: int = math.prod(data[:-1]) if "SEQUENCE" in kind else math.prod(data[:1])
    return per_step * steps
