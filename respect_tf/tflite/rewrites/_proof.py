"""Whether a rewritten model computes what it computed before, in float, on the user's samples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.tflite._interpreter import Interpreter

MOST_SAMPLES = 16
"""Samples that a model and its rewritten form are compared on at most."""

# Rounding of single ops, at most 1e-5 of a tensor's largest value, grows through deep models; in
# 40 architectures it stayed below 2e-4 at the outputs. What a wrong form does is far above it.
_MOST_DIFFERENCE = 1e-3
_MOST_SECONDS = 10.0


def largest_difference(
    before: bytes, after: bytes, samples: Sequence[Sequence[npt.NDArray[Any]]]
) -> float:
    """The largest difference of float outputs, relative to each output's largest absolute value.

    Args:
        before: The model; made in this process, as is
        after: its rewritten form.
        samples: Arrays by input, in the order of the file; `MOST_SAMPLES` are used, fewer where
            they take longer than ten seconds.
    """
    difference, started = 0.0, time.monotonic()
    with (
        Interpreter(before, label="the float model") as plain,
        Interpreter(after, label="the rewritten model") as rewritten,
    ):
        for sample in samples[:MOST_SAMPLES]:
            pairs = zip(plain.run(sample), rewritten.run(sample), strict=True)
            difference = max(difference, *(_relative(*pair) for pair in pairs))
            if time.monotonic() - started > _MOST_SECONDS:
                break
    return difference


def is_equal(difference: float) -> bool:
    """Whether a difference is one of rounding."""
    return difference <= _MOST_DIFFERENCE


def _relative(expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    if expected.dtype.kind != "f":
        return 0.0 if (expected == found).all() else float("inf")
    if expected.size == 0:
        return 0.0
    finite = np.isfinite(expected)
    if not (np.isfinite(found) == finite).all():
        return float("inf")
    difference = np.abs(expected - found)[finite].max(initial=0.0)
    return float(difference / max(float(np.abs(expected[finite]).max(initial=0.0)), 1e-12))
