"""Rewritten models compute what they computed, and an Edge TPU runs the forms that are used."""

from __future__ import annotations

import math

import numpy as np
import pytest
from float_models import FloatModel
from hypothesis import given, settings
from hypothesis import strategies as st
from rewrite_checks import checked, kinds, run, values

from respect_tf import OpGraph
from respect_tf.tflite.rewrites import rewrite

_CHEAP = settings(max_examples=20, deadline=None)
_sizes = st.integers(1, 6)
_seeds = st.integers(0, 2**16)


_UNARY = {
    "NEG": ("negation", "Neg"),
    "SQUARE": ("square", "Square"),
    "ABS": ("absolute", "Abs"),
    "HARD_SWISH": ("hard-swish", "HardSwish"),
    "ELU": ("elu", ""),
}


@pytest.mark.parametrize("kind", _UNARY)
@_CHEAP
@given(height=_sizes, width=_sizes, channels=_sizes, seed=_seeds)
def test_elementwise_ops(kind, height, width, channels, seed):
    rule, options = _UNARY[kind]
    builder = FloatModel()
    shape = (1, height, width, channels)
    made = builder.make(kind, [builder.given(shape)], shape, options=options)
    checked(builder.content(made), [values(seed, shape)], [rule])


@_CHEAP
@given(alpha=st.floats(-2, 2, width=32), channels=_sizes, seed=_seeds)
def test_leaky_relu_of_any_slope(alpha, channels, seed):
    builder = FloatModel()
    shape = (1, 3, 2, channels)
    made = builder.make(
        "LEAKY_RELU", [builder.given(shape)], shape, options="LeakyRelu", alpha=alpha
    )
    checked(builder.content(made), [values(seed, shape)], ["leaky-relu"])


@_CHEAP
@given(shape=st.tuples(_sizes, _sizes, _sizes), seed=_seeds)
def test_prelu_with_a_slope_per_position(shape, seed):
    builder = FloatModel()
    alpha = builder.number(values(seed + 1, shape, 0.3))
    made = builder.make("PRELU", [builder.given((1, *shape)), alpha], (1, *shape))
    rules = ["prelu-by-position"] if shape[0] * shape[1] > 1 else []
    checked(builder.content(made), [values(seed, (1, *shape))], rules)


@_CHEAP
@given(seed=_seeds, scale=st.floats(0.01, 20))
def test_gelu_in_its_tanh_form_is_equal_and_the_other_one_near(seed, scale):
    x = values(seed, (1, 64), scale)
    for approximate, rule, bound in ((True, "gelu-tanh", 2e-6), (False, "gelu", 0.0204)):
        builder = FloatModel()
        made = builder.make(
            "GELU", [builder.given((1, 64))], (1, 64), options="Gelu", approximate=approximate
        )
        content = builder.content(made)
        after = checked(content, [x], [rule], mode="all")
        difference = np.abs(run(content, [x])[0] - run(after, [x])[0]).max()
        assert difference <= bound * (max(1.0, np.abs(x).max()) if approximate else 1.0)


def test_an_approximation_needs_to_be_asked_for():
    builder = FloatModel()
    made = builder.make("GELU", [builder.given((1, 8))], (1, 8), options="Gelu")
    content = builder.content(made)
    assert rewrite(content, "safe").content is content
    assert rewrite(content, "off").content is content
    (item,) = rewrite(content, "all").applied
    assert "approximation" in item.difference
    assert item.layer == "layer"


@_CHEAP
@given(seed=_seeds, divisor=st.floats(0.0625, 128, width=32), exponent=st.sampled_from([2, 3, 4]))
def test_quotients_and_powers(seed, divisor, exponent):
    builder = FloatModel()
    x = builder.given((1, 5))
    quotient = builder.make("DIV", [x, builder.number(divisor)], (1, 5), options="Div")
    power = builder.make("POW", [x, builder.number(exponent)], (1, 5), options="Pow")
    checked(builder.content(quotient, power), [values(seed, (1, 5))], ["division", "power"])


@_CHEAP
@given(seed=_seeds, epsilon=st.floats(2**-20, 1, width=32))
def test_division_by_a_standard_deviation(seed, epsilon):
    builder = FloatModel()
    x = builder.given((1, 5))
    squares = builder.make("SQUARE", [x], (1, 5), options="Square")
    inner = builder.make("ADD", [squares, builder.number(epsilon)], (1, 5), options="Add")
    root = builder.make("SQRT", [inner], (1, 5))
    made = builder.make("DIV", [x, root], (1, 5), options="Div")
    checked(builder.content(made), [values(seed, (1, 5))], ["division", "square"])


def _layer_norm(builder, x, shape):
    """As Keras 3 makes it: x * s + (-mean) * s."""
    ones = (*shape[:-1], 1)
    axis = builder.number([-1], "INT32")
    mean = builder.make("MEAN", [x, axis], ones, options="Reducer", keepDims=True)
    minus = builder.make("NEG", [mean], ones, options="Neg")
    squares = builder.make("SQUARED_DIFFERENCE", [x, mean], shape, options="SquaredDifference")
    variance = builder.make("MEAN", [squares, axis], ones, options="Reducer", keepDims=True)
    inner = builder.make("ADD", [variance, builder.number(1e-3)], ones, options="Add")
    factor = builder.make("RSQRT", [inner], ones)
    scaled = builder.make("MUL", [x, factor], shape, options="Mul")
    shift = builder.make("MUL", [minus, factor], ones, options="Mul")
    return builder.make("ADD", [scaled, shift], shape, options="Add")


@_CHEAP
@given(length=_sizes, seed=_seeds)
def test_layer_normalization_is_equal_in_every_bit(length, seed):
    builder = FloatModel()
    shape = (1, length, 8)
    made = _layer_norm(builder, builder.given(shape), shape)
    after = checked(builder.content(made), [values(seed, shape)], ["negation"])
    assert "NEG" not in kinds(after)
    assert "SUB" in kinds(after)


@_CHEAP
@given(
    spatial=st.lists(_sizes, min_size=1, max_size=2),
    groups=st.integers(1, 4),
    width=st.integers(1, 4),
    seed=_seeds,
)
def test_group_normalization(spatial, groups, width, seed):
    builder = FloatModel()
    plain, inner = (1, *spatial, groups * width), (1, *spatial, groups, width)
    rank = len(inner)
    statistic = (*[1] * (rank - 2), groups, 1)
    axes = builder.number([*range(1, rank - 2), rank - 1], "INT32")
    x = builder.make("RESHAPE", [builder.given(plain), builder.number(inner, "INT32")], inner,
                     options="Reshape")  # fmt: skip
    mean = builder.make("MEAN", [x, axes], statistic, options="Reducer", keepDims=True)
    centred = builder.make("SUB", [x, mean], inner, options="Sub")
    squares = builder.make("SQUARE", [centred], inner, options="Square")
    variance = builder.make("MEAN", [squares, axes], statistic, options="Reducer", keepDims=True)
    added = builder.make("ADD", [variance, builder.number(1e-3)], statistic, options="Add")
    root = builder.make("RSQRT", [added], statistic)
    gamma = builder.number(values(seed + 1, (*[1] * (rank - 2), groups, width)))
    factor = builder.make("MUL", [root, gamma], (*[1] * (rank - 2), groups, width), options="Mul")
    minus = builder.make("NEG", [mean], statistic, options="Neg")
    shift = builder.make("MUL", [minus, factor], (*[1] * (rank - 2), groups, width),
                         options="Mul")  # fmt: skip
    scaled = builder.make("MUL", [x, factor], inner, options="Mul")
    total = builder.make("ADD", [scaled, shift], inner, options="Add")
    made = builder.make("RESHAPE", [total, builder.number(plain, "INT32")], plain,
                        options="Reshape")  # fmt: skip
    checked(builder.content(made), [values(seed, plain)], ["group-norm", "negation", "square"])


@_CHEAP
@given(size=st.integers(1, 16), seed=_seeds, limit=st.sampled_from([1e7, 1e12]))
def test_unit_normalization(size, seed, limit):
    builder = FloatModel()
    x = builder.given((1, size))
    squares = builder.make("SQUARE", [x], (1, size), options="Square")
    total = builder.make("SUM", [squares, builder.number([1], "INT32")], (1, 1),
                         options="Reducer", keepDims=True)  # fmt: skip
    root = builder.make("RSQRT", [total], (1, 1))
    bounded = builder.make("MINIMUM", [root, builder.number(limit)], (1, 1),
                           options="MaximumMinimum")  # fmt: skip
    made = builder.make("MUL", [x, bounded], (1, size), options="Mul")
    after = checked(builder.content(made), [values(seed, (1, size))], ["unit-norm"])
    assert kinds(after) == ["L2_NORMALIZATION"]


def _upsampling(builder, x, shape, factors):
    """As Keras 3 makes nearest UpSampling2D: RESHAPE and TILE over five dimensions, twice."""
    _, height, width, channels = shape
    tall = (1, height * factors[0], width, channels)
    for kind, made, operand in (
        ("RESHAPE", (1, height, 1, width, channels), None),
        ("TILE", (1, height, factors[0], width, channels), (1, 1, factors[0], 1, 1)),
        ("RESHAPE", (*tall[:3], 1, channels), None),
        ("TILE", (*tall[:3], factors[1], channels), (1, 1, 1, factors[1], 1)),
        ("RESHAPE", (1, tall[1], width * factors[1], channels), None),
    ):
        constant = builder.number(made if operand is None else operand, "INT32")
        x = builder.make(
            kind, [x, constant], made, options="Reshape" if kind == "RESHAPE" else "Tile"
        )
    return x


@_CHEAP
@given(
    shape=st.tuples(st.just(1), st.integers(2, 5), st.integers(2, 5), _sizes),
    factors=st.tuples(st.integers(2, 10), st.integers(2, 10)),
    seed=_seeds,
)
def test_nearest_upsampling(shape, factors, seed):
    builder = FloatModel()
    made = _upsampling(builder, builder.given(shape), shape, factors)
    after = checked(builder.content(made), [values(seed, shape)], ["nearest-upsampling"])
    assert set(kinds(after)) == {"RESIZE_NEAREST_NEIGHBOR"}
    assert len(kinds(after)) == (1 if max(factors) <= 8 else 2)


@_CHEAP
@given(
    shape=st.tuples(st.just(1), st.integers(3, 7), st.integers(3, 7), st.integers(2, 4)),
    begin=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    steps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=_seeds,
)
def test_slices_with_steps(shape, begin, steps, seed):
    builder = FloatModel()
    sizes = [len(range(b, n, s)) for b, n, s in zip(begin, shape[1:3], steps, strict=True)]
    read = [
        builder.given(shape),
        builder.number((0, *begin, 0), "INT32"),
        builder.number(shape, "INT32"),
        builder.number((1, *steps, 1), "INT32"),
    ]
    made = builder.make("STRIDED_SLICE", read, (1, *sizes, shape[3]), options="StridedSlice")
    rules = ["strided-slice"] if max(steps) > 1 else []
    checked(builder.content(made), [values(seed, shape)], rules)


@_CHEAP
@given(height=_sizes, width=_sizes, block=st.integers(2, 3), channels=_sizes, seed=_seeds)
def test_depth_to_space(height, width, block, channels, seed):
    shape = (1, height, width, channels * block**2)
    builder = FloatModel()
    made = builder.make(
        "DEPTH_TO_SPACE", [builder.given(shape)], (1, height * block, width * block, channels),
        options="DepthToSpace", blockSize=block,
    )  # fmt: skip
    found = rewrite(builder.content(made))
    if channels == height == width == 1:  # nothing moves that a reshape would not move
        assert found.applied
        return
    (rule,) = {item.rule for item in found.applied}
    checked(builder.content(made), [values(seed, shape)], [rule])


@_CHEAP
@given(groups=st.integers(2, 4), width=st.integers(2, 4), height=st.integers(2, 4), seed=_seeds)
def test_channel_shuffles(groups, width, height, seed):
    channels = groups * width
    shape = (1, height, 3, channels)
    builder = FloatModel()
    split = (1, height, 3, groups, width)
    turned = (1, height, 3, width, groups)
    x = builder.make("RESHAPE", [builder.given(shape), builder.number(split, "INT32")], split,
                     options="Reshape")  # fmt: skip
    x = builder.make("TRANSPOSE", [x, builder.number((0, 1, 2, 4, 3), "INT32")], turned,
                     options="Transpose")  # fmt: skip
    made = builder.make("RESHAPE", [x, builder.number(shape, "INT32")], shape, options="Reshape")
    checked(builder.content(made), [values(seed, shape)], ["channel-order"])


def test_upsampling_whose_map_was_flat_before():
    shape = (1, 4, 4, 2)
    builder = FloatModel()
    x = builder.given((1, 32))
    wide = (1, 4, 1, 4, 2)
    x = builder.make("RESHAPE", [x, builder.number(wide, "INT32")], wide, options="Reshape")
    made = _upsampling(builder, x, shape, (2, 2))
    after = checked(builder.content(made), [values(0, (1, 32))], ["nearest-upsampling"])
    assert kinds(after) == ["RESHAPE", "RESIZE_NEAREST_NEIGHBOR"]


def test_squares_come_before_reshapes():
    builder = FloatModel()
    x = builder.make("RELU", [builder.given((1, 4, 2))], (1, 4, 2))
    x = builder.make("RESHAPE", [x, builder.number((1, 8), "INT32")], (1, 8), options="Reshape")
    made = builder.make("SQUARE", [x], (1, 8), options="Square")
    after = checked(builder.content(made), [values(0, (1, 4, 2))], ["square"])
    assert kinds(after) == ["RELU", "MUL", "RESHAPE"]


def test_transposes_that_cancel_are_nothing():
    shape, turned = (1, 4, 5, 3), (1, 3, 4, 5)
    builder = FloatModel()
    x = builder.given(shape)
    y = builder.make("TRANSPOSE", [x, builder.number((0, 3, 1, 2), "INT32")], turned,
                     options="Transpose")  # fmt: skip
    y = builder.make("TRANSPOSE", [y, builder.number((0, 2, 3, 1), "INT32")], shape,
                     options="Transpose")  # fmt: skip
    made = builder.make("RELU", [y], shape)
    after = checked(builder.content(made), [values(0, shape)], ["moves-that-cancel"])
    assert kinds(after) == ["RELU"]


@_CHEAP
@given(leading=st.lists(_sizes, min_size=1, max_size=2), inner=_sizes, outputs=_sizes, seed=_seeds)
def test_dense_layers_on_sequences_and_maps(leading, inner, outputs, seed):
    builder = FloatModel()
    shape = (1, *leading, inner)
    read = [
        builder.given(shape),
        builder.number(values(seed + 1, (outputs, inner))),
        builder.number(values(seed + 2, (outputs,))),
    ]
    made = builder.make("FULLY_CONNECTED", read, (1, *leading, outputs), version=5,
                        options="FullyConnected", keepNumDims=True,
                        fusedActivationFunction=1)  # fmt: skip
    rules = ["dense-on-sequence"] if math.prod(leading) > 1 else []
    checked(builder.content(made), [values(seed, shape)], rules)


@_CHEAP
@given(groups=st.integers(2, 6), narrow=_sizes, wide=_sizes, seed=_seeds)
def test_grouped_convolutions(groups, narrow, wide, seed):
    shape = (1, 4, 5, groups * narrow)
    builder = FloatModel()
    read = [
        builder.given(shape),
        builder.number(values(seed + 1, (groups * wide, 3, 2, narrow))),
        builder.number(values(seed + 2, (groups * wide,))),
    ]
    made = builder.make("CONV_2D", read, (1, 4, 5, groups * wide), version=6, options="Conv2D",
                        strideH=1, strideW=1, fusedActivationFunction=1)  # fmt: skip
    checked(builder.content(made), [values(seed, shape)], ["grouped-convolution"])


def test_a_group_for_each_channel_is_a_depthwise_convolution_and_others_need_no_groups():
    shape = (1, 5, 5, 96)
    builder = FloatModel()
    read = [
        builder.given(shape),
        builder.number(values(1, (96, 3, 3, 1))),
        builder.number(values(2, (96,))),
    ]
    made = builder.make("CONV_2D", read, shape, version=6, options="Conv2D",
                        strideH=1, strideW=1, fusedActivationFunction=1)  # fmt: skip
    read = [made, builder.number(values(3, (4, 1, 1, 96))), builder.number(values(4, (4,)))]
    made = builder.make("CONV_2D", read, (1, 5, 5, 4), version=6, options="Conv2D",
                        strideH=1, strideW=1)  # fmt: skip
    after = checked(builder.content(made), [values(0, shape)], ["grouped-convolution"])
    assert kinds(after) == ["DEPTHWISE_CONV_2D", "CONV_2D"]
    graph = OpGraph.from_tflite(after)
    assert [attributes.version for attributes in graph.op_attributes] == [1, 1]


def test_wide_groups_are_convolutions_of_their_own():
    shape = (1, 2, 2, 192)
    builder = FloatModel()
    read = [
        builder.given(shape),
        builder.number(values(1, (192, 1, 1, 48))),
        builder.number(values(2, (192,))),
    ]
    made = builder.make("CONV_2D", read, shape, version=6, options="Conv2D",
                        strideH=1, strideW=1)  # fmt: skip
    after = checked(builder.content(made), [values(0, shape)], ["grouped-convolution"])
    assert kinds(after) == ["SPLIT", *["CONV_2D"] * 4, "CONCATENATION"]


@_CHEAP
@given(rows=_sizes, inner=_sizes, columns=_sizes, adjoint=st.booleans(), seed=_seeds)
def test_products_with_constants(rows, inner, columns, adjoint, seed):
    builder = FloatModel()
    shape = (columns, inner) if adjoint else (inner, columns)
    matrix = builder.number(values(seed + 1, (1, *shape)))
    made = builder.make("BATCH_MATMUL", [builder.given((1, rows, inner)), matrix],
                        (1, rows, columns), options="BatchMatMul", adjY=adjoint)  # fmt: skip
    found = rewrite(builder.content(made))
    rules = {item.rule for item in found.applied}
    assert rules
    assert rules <= {"constant-product", "vector-product"}
    checked(builder.content(made), [values(seed, (1, rows, inner))], rules)


@_CHEAP
@given(inner=st.integers(2, 6), others=st.integers(1, 4), flags=st.tuples(st.booleans(),
       st.booleans()), left=st.booleans(), seed=_seeds)  # fmt: skip
def test_products_with_vectors(inner, others, flags, left, seed):
    builder = FloatModel()
    rows, columns = (1, others) if left else (others, 1)
    first = (1, inner, rows) if flags[0] else (1, rows, inner)
    second = (1, columns, inner) if flags[1] else (1, inner, columns)
    read = [builder.given(first), builder.given(second)]
    made = builder.make("BATCH_MATMUL", read, (1, rows, columns), options="BatchMatMul",
                        adjX=flags[0], adjY=flags[1])  # fmt: skip
    inputs = [values(seed, first), values(seed + 1, second)]
    checked(builder.content(made), inputs, ["vector-product"])


@_CHEAP
@given(channels=st.integers(1, 9), seed=_seeds)
def test_means_over_channels(channels, seed):
    shape = (1, 3, 4, channels)
    builder = FloatModel()
    made = builder.make("MEAN", [builder.given(shape), builder.number([3], "INT32")],
                        (1, 3, 4, 1), options="Reducer", keepDims=True)  # fmt: skip
    rules = [] if channels % 4 == 0 else ["channel-mean"]
    checked(builder.content(made), [values(seed, shape)], rules)


@_CHEAP
@given(shape=st.tuples(_sizes, _sizes), count=st.integers(2, 9), axis=st.integers(1, 2),
       seed=_seeds)  # fmt: skip
def test_repetition(shape, count, axis, seed):
    """As RepeatVector makes it: one row, or one column, over all."""
    one = [1, *shape]
    one[axis] = 1
    made = list(one)
    made[axis] = count
    times = [1, 1, 1]
    times[axis] = count
    builder = FloatModel()
    tiled = builder.make("TILE", [builder.given(one), builder.number(times, "INT32")], made,
                         options="Tile")  # fmt: skip
    found = rewrite(builder.content(tiled))
    rules = {item.rule for item in found.applied}
    assert rules <= {"repetition", "nearest-upsampling", "channel-order", "depth-to-space"}
    checked(builder.content(tiled), [values(seed, one)], rules)


@_CHEAP
@given(seed=_seeds, epsilon=st.floats(2**-20, 1, width=32))
def test_roots_of_what_is_above_zero(seed, epsilon):
    builder = FloatModel()
    squares = builder.make("SQUARE", [builder.given((1, 5))], (1, 5), options="Square")
    inner = builder.make("ADD", [squares, builder.number(epsilon)], (1, 5), options="Add")
    made = builder.make("SQRT", [inner], (1, 5))
    checked(builder.content(made), [values(seed, (1, 5))], ["root", "square"])


def test_fused_activations_stand_alone():
    builder = FloatModel()
    size = builder.number((1, 8, 8, 4), "INT32")
    weights = builder.number(values(1, (4, 2, 2, 3)))
    bias = builder.number(values(2, (4,)))
    made = builder.make("TRANSPOSE_CONV", [size, weights, builder.given((1, 4, 4, 3)), bias],
                        (1, 8, 8, 4), version=4, options="TransposeConv", strideH=2, strideW=2,
                        fusedActivationFunction=1)  # fmt: skip
    after = checked(builder.content(made), [values(0, (1, 4, 4, 3))], ["fused-activation"])
    assert kinds(after) == ["TRANSPOSE_CONV", "RELU"]


def test_a_tensor_that_others_read_too_stays():
    builder = FloatModel()
    x = builder.given((1, 4))
    squares = builder.make("SQUARE", [x], (1, 4), options="Square")
    made = builder.make("RELU", [squares], (1, 4))
    checked(builder.content(squares, made), [values(0, (1, 4))], ["square"])


def test_nothing_to_rewrite_leaves_the_very_bytes():
    builder = FloatModel()
    content = builder.content(builder.make("RELU", [builder.given((1, 4, 4, 2))], (1, 4, 4, 2)))
    assert rewrite(content).content is content
