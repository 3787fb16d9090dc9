"""Quantising rounds and clips as TFLite does."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from respect_tf.graph import Quantization
from respect_tf.segmentation import dequantize, quantize

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


def test_numbers_next_to_a_half_and_beyond_the_type_are_no_exceptions():
    one = Quantization(scale=(1.0,), zero_point=(0,), axis=0)
    below = np.array([0.49999997, -0.49999997, 0.5], np.float32)
    assert quantize(below, "int8", one).tolist() == [0, 0, 1]
    huge = np.array([3e9, -3e9, 1e30], np.float32)
    assert quantize(huge, "int32", one).tolist() == [2**31 - 1, -(2**31), 2**31 - 1]
