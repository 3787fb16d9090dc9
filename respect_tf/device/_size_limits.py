"""Sizes above which the compiler maps no op of a kind, or stops at the whole file.

Each limit lies between the largest size that public files and logs show as mapped and the smallest
that they show as refused; the names of the constants say which, their comments by what.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Shape = tuple[int, ...]

# Smallest known to be refused: 64x32x32 and 144x28x28; 64x24x24, 144x14x14 and 32x32x32 are mapped,
# and so are 4 channels of 128x128 (onnxsim's measurements with compiler 16; YOLOv8n; YOLOv5s logs).
_TRANSPOSE_ELEMENTS, _TRANSPOSE_CHANNELS = 65_536, 8
# 16,384 are mapped (LibrEdgeTPU); nobody has seen more.
_SOFTMAX_CLASSES = 16_384
# 512x512x4 is refused (google-coral/edgetpu issue 597), 384x384x64 mapped (SR-GAN-Edge-TPU).
_PRELU_PIXELS = 512 * 512
# 256x256 to 512x512 is refused (issue 31), 128x128 to 256x256 mapped.
_RESIZED_PIXELS = 512 * 512
_ENLARGEMENT = 8  # guess: 1x1 to 33x33 and 33x33 to 513x513 stay on the CPU (DeepLab)
# 64x64x512 of 32x32x1024 is refused (issue 686), 128x128x64 mapped (U-Net MobileNet v2).
_TRANSPOSE_CONV_ELEMENTS = 64 * 64 * 512
# The mean of 256x128 pixels is refused (issue 461), of 64x128 mapped.
_MEAN_PIXELS = 256 * 128
# Five steps of 1,000 values and more make the compiler fail without a word, up to 900 it works
# (issue 598).
_LSTM_VALUES, _LSTM_VALUES_SEEN = 1_000, 900

_RECURRENT = {"LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"}


def size_constraint(kind: str, read: Sequence[Shape], made: Shape) -> str | None:
    """Why an op of this size is not mapped, or None.

    Args:
        kind: The op's type.
        read: Shapes of its inputs, constants too.
        made: Shape of its first output.
    """
    elements = math.prod(made)
    pixels = math.prod(made[1:-1])
    if kind == "TRANSPOSE" and _is_large_transpose(read[0]):
        return (
            f"Transpose of {elements:,} elements in {read[0][-1]} channels: from "
            f"{_TRANSPOSE_ELEMENTS:,} on, only fewer than {_TRANSPOSE_CHANNELS} channels are mapped"
        )
    if kind == "SOFTMAX" and elements > _SOFTMAX_CLASSES:
        return f"More than {_SOFTMAX_CLASSES:,} elements"
    if kind == "PRELU" and len(made) == 4 and pixels >= _PRELU_PIXELS:
        return f"{_pixels(made)} pixels are too many: {_PRELU_PIXELS:,} are known not to be mapped"
    if kind.startswith("RESIZE") and len(made) == 4:
        return _resize_constraint(read[0], made)
    if kind == "TRANSPOSE_CONV" and elements >= _TRANSPOSE_CONV_ELEMENTS:
        return (
            f"A map of {_pixels(made)}x{made[-1]} is too large: {_TRANSPOSE_CONV_ELEMENTS:,} "
            "elements are known not to be mapped"
        )
    if kind == "MEAN" and len(read[0]) == 4 and math.prod(read[0][1:3]) >= _MEAN_PIXELS:
        return (
            f"Mean of {_pixels(read[0])} pixels: {_MEAN_PIXELS:,} are known not to be mapped; "
            "smaller parts and the mean of their means are"
        )
    return None


def size_block(kind: str, read: Sequence[Shape], *, is_entry: bool) -> str | None:
    """Why an op of this size makes the compiler fail at the whole file, or None.

    Args:
        kind: The op's type.
        read: Shapes of its inputs, constants too.
        is_entry: Whether its first input is an input of the model.
    """
    if kind in _RECURRENT and _values(read) >= _LSTM_VALUES:
        return (
            f"An LSTM of {_values(read):,} values a step makes the compiler fail at the whole "
            f"file: {_LSTM_VALUES:,} are known to, {_LSTM_VALUES_SEEN} are not"
        )
    if kind == "TRANSPOSE" and is_entry and _is_large_transpose(read[0]):
        return (
            f"A transpose of {math.prod(read[0]):,} elements right behind an input makes the "
            "compiler fail at the whole file (large activation tensors): give the model its input "
            "with the channels last"
        )
    return None


def size_doubt(kind: str, read: Sequence[Shape]) -> str | None:
    """What the size of an op leaves open, or None."""
    if kind in _RECURRENT and _LSTM_VALUES_SEEN < _values(read) < _LSTM_VALUES:
        return (
            f"reads {_values(read)} values a step; {_LSTM_VALUES_SEEN} are known to compile, "
            f"{_LSTM_VALUES:,} make the compiler fail"
        )
    return None


def _values(read: Sequence[Shape]) -> int:
    """Values that a recurrent op reads in each step."""
    return math.prod(read[0][-1:]) if read else 0


def _is_large_transpose(read: Shape) -> bool:
    return math.prod(read) >= _TRANSPOSE_ELEMENTS and read[-1] >= _TRANSPOSE_CHANNELS


def _resize_constraint(read: Shape, made: Shape) -> str | None:
    if any(made[axis] > _ENLARGEMENT * read[axis] for axis in (1, 2)):
        return f"Resizing {_pixels(read)} to {_pixels(made)} is more than {_ENLARGEMENT}-fold"
    if made[1] * made[2] >= _RESIZED_PIXELS:
        return f"Resizing to {_pixels(made)}: {_RESIZED_PIXELS:,} pixels are known not to be mapped"
    return None


def _pixels(shape: Shape) -> str:
    return "x".join(str(size) for size in shape[1:-1])
