"""Quantising rounds and clips as TFLite does."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from respect_tf.graph import Quantization
from respect_tf.run import dequantize, quantize

_AFFINE = Quantization((0.5,), (3,))


def test_halves_are_rounded_away_from_zero_and_the_rest_is_clipped():
    values = np.array([0.25, -0.25, 0.24, 1e9, -1e9])
    assert quantize(values, "int8", _AFFINE).tolist() == [4, 2, 3, 127, -128]


def test_float_tensors_are_only_cast():
    assert quantize(np.array([0.1]), "float32", None).dtype == np.float32
    assert dequantize(np.array([1.5], np.float32), None).tolist() == [1.5]


@given(st.integers(-128, 127))
def test_stored_values_survive_the_way_there_and_back(stored):
    real = dequantize(np.array([stored], np.int8), _AFFINE)
    assert quantize(real, "int8", _AFFINE).tolist() == [stored]
