"""Between real numbers and the integers that a quantised model takes and gives.

Formula: real = scale * (stored - zero_point), TFLite's quantisation specification.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.graph import Quantization


def quantize(
    values: npt.NDArray[Any], dtype: str, quantization: Quantization | None
) -> npt.NDArray[Any]:
    """Real numbers to stored ones, rounded half away from zero and clipped, as TFLite does.

    Args:
        values: Floats of any shape; finite.
        dtype: The stored type. To one that holds no integers, they are only cast.
        quantization: Scale and zero point; None for float tensors.
    """
    kind = np.dtype(dtype)
    if quantization is None or kind.kind not in "iu":
        return values.astype(kind)
    # The quotient is TFLite's, in float32. Next to it, one half and int32's limits are float64:
    # 0.49999997 + 0.5 is 1 in float32, and 2**31 - 1 is no float32.
    scaled = (np.asarray(values, np.float32) / np.float32(quantization.scale[0])).astype(np.float64)
    rounded = np.trunc(scaled + np.copysign(0.5, scaled))
    limits = np.iinfo(kind)
    stored = rounded + quantization.zero_point[0]
    clipped: npt.NDArray[Any] = np.clip(stored, limits.min, limits.max)
    return clipped.astype(kind)


def dequantize(
    values: npt.NDArray[Any], quantization: Quantization | None
) -> npt.NDArray[np.float32]:
    """Stored numbers to real ones, float32 of the same shape."""
    if quantization is None:
        return values.astype(np.float32)
    shifted = values.astype(np.float32) - np.float32(quantization.zero_point[0])
    real: npt.NDArray[np.float32] = shifted * np.float32(quantization.scale[0])
    return real
