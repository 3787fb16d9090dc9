"""Amounts whose sums are exact, in any order and on every machine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError

EXACT = 2.0**53
"""Whole numbers up to here are exact in float64, so sums of them are, in any order."""


def on_grid(name: str, values: npt.NDArray[Any], repeats: int = 1) -> npt.NDArray[np.float64]:
    """float64 values whose sums are exact. Fractions are rounded to a power of two.

    Args:
        name: What messages call them.
        values: Numbers, 0 or more.
        repeats: How often each may count in a sum.

    Raises:
        ArgumentError: Whole numbers sum up to 2**53 or more.
    """
    numbers = values.astype(np.float64)
    total = float(numbers.sum()) * repeats
    if values.dtype.kind in "iu":
        if total >= EXACT:
            raise ArgumentError(
                f"The {name} sum up to {total:.3g}. Expected less than 2**53; use a larger unit."
            )
        return numbers
    exponent = 51 - math.frexp(total)[1]
    rounded: npt.NDArray[np.float64] = np.ldexp(np.rint(np.ldexp(numbers, exponent)), -exponent)
    return rounded
