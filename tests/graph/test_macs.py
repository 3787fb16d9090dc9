"""Multiply-accumulate operations by op type, against hand-worked cases."""

import types

import numpy as np
import pytest

from respect_tf.graph._macs import count_macs


def _count(kind: str, read, made, **options) -> int:
    shapes = tuple(shape for shape in [*read, made])
    operator = types.SimpleNamespace(
        inputs=np.arange(len(read)),
        outputs=np.array([len(read)]),
        builtinOptions=types.SimpleNamespace(**options) if options else None,
    )
    return count_macs(kind, operator, shapes)


@pytest.mark.parametrize(
    ("kind", "read", "made", "expected"),
    [
        ("CONV_2D", [(1, 8, 8, 3), (16, 3, 3, 3), (16,)], (1, 8, 8, 16), 8 * 8 * 16 * 27),
        ("CONV_2D", [(1, 8, 8, 4), (16, 1, 1, 2)], (1, 8, 8, 16), 8 * 8 * 16 * 2),  # grouped
        ("DEPTHWISE_CONV_2D", [(1, 8, 8, 4), (1, 3, 3, 8)], (1, 6, 6, 8), 6 * 6 * 8 * 9),
        ("TRANSPOSE_CONV", [(4,), (5, 2, 2, 3), (1, 4, 4, 3)], (1, 8, 8, 5), 4 * 4 * 3 * 20),
        ("FULLY_CONNECTED", [(1, 100), (10, 100), (10,)], (1, 10), 1000),
        ("BATCH_MATMUL", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), 2 * 3 * 4 * 5),
        ("CONV_3D", [(1, 4, 4, 4, 2), (3, 3, 3, 2, 6)], (1, 2, 2, 2, 6), 8 * 6 * 54),
        ("ADD", [(1, 4, 4, 8), (1, 4, 4, 8)], (1, 4, 4, 8), 128),
        ("MEAN", [(1, 4, 4, 8), (2,)], (1, 8), 128),
        ("RESHAPE", [(1, 4, 4, 8), (2,)], (1, 128), 0),
        ("CUSTOM:anything", [(1, 4)], (1, 4), 0),
    ],
)
def test_counts(kind, read, made, expected):
    assert _count(kind, read, made) == expected


def test_pools_count_their_window():
    assert _count("MAX_POOL_2D", [(1, 4, 4, 8)], (1, 2, 2, 8), filterHeight=2, filterWidth=2) == 128


def test_a_product_with_its_left_side_transposed():
    assert _count("BATCH_MATMUL", [(2, 4, 3), (2, 4, 5)], (2, 3, 5), adjX=True) == 120


def test_recurrent_ops_use_every_weight_at_every_step():
    # 8 matrices of an LSTM with 5 units and 3 inputs, over 7 time steps.
    weights = [(5, 3)] * 4 + [(5, 5)] * 4
    read = [(1, 7, 3), *weights]
    expected = 7 * (4 * 15 + 4 * 25)
    assert _count("UNIDIRECTIONAL_SEQUENCE_LSTM", read, (1, 7, 5)) == expected


@pytest.mark.parametrize("kind", ["BATCH_MATMUL", "TRANSPOSE_CONV", "CONV_2D", "MEAN", "LSTM"])
def test_ops_without_their_inputs_do_not_fail(kind):
    assert _count(kind, [(), ()], ()) >= 0
    assert _count(kind, [], ()) >= 0
