"""Rewrites of convolutions in phases, exponentials, choices, extremes and resizing are equal."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tf_keras
from float_models import FloatModel
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rewrite_checks import checked, kinds, values

from respect_tf import OpGraph
from respect_tf.device import unsupported_reason
from respect_tf.tflite import to_int8
from respect_tf.tflite.rewrites import rewrite

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

_CHEAP = settings(max_examples=20, deadline=None)
_sizes = st.integers(1, 6)
_seeds = st.integers(0, 2**16)


def _phases(builder, x, length, *, step, taps, pads, crops, kind, seed):
    """A convolution of a series in phases, as TensorFlow writes one with dilation."""
    channels = 2
    padded = length + sum(pads)
    inner = padded // step - taps + 1
    read = [x, builder.number([step], "INT32"), builder.number([pads], "INT32")]
    y = builder.make("SPACE_TO_BATCH_ND", read, (step, padded // step, channels))
    flat = (step, 1, padded // step, channels)
    y = builder.make("RESHAPE", [y, builder.number(flat, "INT32")], flat, options="Reshape")
    shape = (channels, 1, taps, channels) if kind == "CONV_2D" else (1, 1, taps, channels)
    read = [y, builder.number(values(seed, shape)), builder.number(values(seed + 1, (channels,)))]
    options = {"CONV_2D": {"options": "Conv2D"}}.get(
        kind, {"options": "DepthwiseConv2D", "depthMultiplier": 1}
    )
    y = builder.make(kind, read, (step, 1, inner, channels), padding=1, strideH=1, strideW=1,
                     dilationHFactor=1, dilationWFactor=1, **options)  # fmt: skip
    rows = (step, inner, channels)
    y = builder.make("RESHAPE", [y, builder.number(rows, "INT32")], rows, options="Reshape")
    read = [y, builder.number([step], "INT32"), builder.number([crops], "INT32")]
    return builder.make("BATCH_TO_SPACE_ND", read, (1, step * inner - sum(crops), channels))


@_CHEAP
@given(
    step=st.integers(2, 3),
    taps=st.integers(1, 3),
    blocks=st.integers(3, 5),
    front=st.integers(0, 2),
    crops=st.tuples(st.integers(0, 1), st.integers(0, 2)),
    kind=st.sampled_from(["CONV_2D", "DEPTHWISE_CONV_2D"]),
    seed=_seeds,
)
def test_convolutions_in_phases_that_two_read(step, taps, blocks, front, crops, kind, seed):
    length = step * blocks - front - 1
    crops = (min(crops[0], step - 1), min(crops[1], step - 1))
    assume(step * (blocks - taps + 1) > sum(crops))  # else nothing is left of the output
    builder = FloatModel()
    x = builder.given((1, length, 2))
    made = [
        _phases(builder, x, length, step=step, taps=taps, pads=(front, 1), crops=crops, kind=kind,
                seed=seed + n)
        for n in (0, 7)
    ]  # fmt: skip
    after = checked(builder.content(*made), [values(seed, (1, length, 2))], ["dilation"])
    assert kinds(after).count(kind) == 2
    assert not {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"} & {*kinds(after)}


@_CHEAP
@given(
    rows=st.integers(2, 4),
    columns=st.integers(2, 4),
    channels=st.integers(2, 4),
    factor=st.integers(2, 3),
    seed=_seeds,
)
def test_upsampling_behind_any_reshape(rows, columns, channels, factor, seed):
    builder = FloatModel()
    flat = (1, rows * columns, channels)
    x = builder.given(flat)
    shapes = [
        (1, rows, 1, columns, channels),
        (1, rows, factor, columns, channels),
        (1, rows * factor, columns, channels),
    ]
    x = builder.make("RESHAPE", [x, builder.number(shapes[0], "INT32")], shapes[0],
                     options="Reshape")  # fmt: skip
    x = builder.make("TILE", [x, builder.number((1, 1, factor, 1, 1), "INT32")], shapes[1],
                     options="Tile")  # fmt: skip
    made = builder.make("RESHAPE", [x, builder.number(shapes[2], "INT32")], shapes[2],
                        options="Reshape")  # fmt: skip
    after = checked(builder.content(made), [values(seed, flat)], ["nearest-upsampling"])
    assert kinds(after) == ["RESHAPE", "RESIZE_NEAREST_NEIGHBOR"]


def _selu(builder, x, shape, *, scale=1.0507, alpha=1.6733, compare="GREATER"):
    condition = builder.make(compare, [x, builder.number(0.0)], shape, dtype="BOOL")
    above = builder.make("MUL", [x, builder.number(scale)], shape, options="Mul")
    power = builder.make("EXP", [x], shape)
    less = builder.make("SUB", [power, builder.number(1.0)], shape, options="Sub")
    below = builder.make("MUL", [less, builder.number(scale * alpha)], shape, options="Mul")
    sides = [above, below] if compare == "GREATER" else [below, above]
    return builder.make("SELECT", [condition, *sides], shape)


@_CHEAP
@given(shape=st.tuples(st.just(1), _sizes, _sizes, _sizes), seed=_seeds,
       scale=st.floats(0.5, 2, width=32), compare=st.sampled_from(["GREATER", "LESS"]))  # fmt: skip
def test_selu(shape, seed, scale, compare):
    builder = FloatModel()
    made = _selu(builder, builder.given(shape), shape, scale=scale, compare=compare)
    checked(builder.content(made), [values(seed, shape)], ["select", "exponential"])


@_CHEAP
@given(shape=st.tuples(st.just(1), _sizes), seed=_seeds, slope=st.floats(-1, 1, width=32))
def test_a_choice_of_two_slopes(shape, seed, slope):
    builder = FloatModel()
    x = builder.given(shape)
    condition = builder.make("GREATER", [x, builder.number(0.0)], shape, dtype="BOOL")
    sloped = builder.make("MUL", [x, builder.number(slope)], shape, options="Mul")
    made = builder.make("SELECT", [condition, x, sloped], shape)
    checked(builder.content(made), [values(seed, shape)], ["select"])


def test_a_choice_that_jumps_is_left():
    """A thresholded ReLU: no sum of continuous functions is equal."""
    builder = FloatModel()
    shape = (1, 4)
    x = builder.given(shape)
    for limit, sides in ((0.5, (x, builder.number(0.0))), (0.0, (x, builder.number(1.0)))):
        condition = builder.make("GREATER", [x, builder.number(limit)], shape, dtype="BOOL")
        made = builder.make("SELECT_V2", [condition, *sides], shape)
        assert not rewrite(builder.content(made)).applied


@_CHEAP
@given(shape=st.tuples(st.just(1), _sizes, _sizes, _sizes), seed=_seeds,
       factor=st.floats(0.25, 4, width=32))  # fmt: skip
def test_exponentials_of_what_is_never_positive(shape, seed, factor):
    builder = FloatModel()
    x = builder.make("MINIMUM", [builder.given(shape), builder.number(0.0)], shape,
                     options="MaximumMinimum")  # fmt: skip
    scaled = builder.make("MUL", [x, builder.number(factor)], shape, options="Mul")
    made = builder.make("EXP", [scaled], shape)
    checked(builder.content(made), [values(seed, shape)], ["exponential"])


@_CHEAP
@given(seed=_seeds, scale=st.floats(0.1, 15))
def test_mish(seed, scale):
    builder = FloatModel()
    shape = (1, 64)
    x = builder.given(shape)
    total = builder.make("ADD", [builder.make("EXP", [x], shape), builder.number(1.0)], shape,
                         options="Add")  # fmt: skip
    gate = builder.make("TANH", [builder.make("LOG", [total], shape)], shape)
    made = builder.make("MUL", [x, gate], shape, options="Mul")
    checked(builder.content(made), [values(seed, shape, scale)], ["mish"])


@_CHEAP
@given(kind=st.sampled_from(["MAXIMUM", "MINIMUM"]), seed=_seeds, scale=st.floats(0.01, 100),
       constant=st.booleans())  # fmt: skip
def test_extremes_of_tensors_that_others_read(kind, seed, scale, constant):
    shape = (1, 3, 3, 4)
    builder = FloatModel()
    a = builder.given(shape)
    b = builder.number(np.float32(scale / 2)) if constant else builder.given(shape)
    made = [
        builder.make(kind, [a, b], shape, options="MaximumMinimum"),
        builder.make("RELU", [a], shape),
    ]
    inputs = [values(seed, shape)] + [values(seed + 1, shape, scale)] * (not constant)
    content = builder.content(*made)
    checked(content, inputs, ["extremes"])
    alone = FloatModel()
    read = [alone.given(shape), alone.number(np.float32(1)) if constant else alone.given(shape)]
    content = alone.content(alone.make(kind, read, shape, options="MaximumMinimum"))
    assert rewrite(content).content is content


@_CHEAP
@given(kind=st.sampled_from(["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"]), seed=_seeds,
       height=st.integers(9, 20), width=st.integers(1, 20), channels=_sizes)  # fmt: skip
def test_one_pixel_drawn_large(kind, seed, height, width, channels):
    builder = FloatModel()
    options = "ResizeBilinear" if kind == "RESIZE_BILINEAR" else "ResizeNearestNeighbor"
    read = [builder.given((1, 1, 1, channels)), builder.number((height, width), "INT32")]
    made = builder.make(kind, read, (1, height, width, channels), options=options)
    after = checked(builder.content(made), [values(seed, (1, 1, 1, channels))], ["resizing"])
    assert kinds(after) == ["MUL"]


@_CHEAP
@given(seed=_seeds, size=st.tuples(_sizes, _sizes), factor=st.sampled_from([9, 10, 12, 16]))
def test_nearest_resizing_in_steps(seed, size, factor):
    builder = FloatModel()
    made = (1, size[0] * factor, size[1] * factor, 3)
    read = [builder.given((1, *size, 3)), builder.number(made[1:3], "INT32")]
    made = builder.make("RESIZE_NEAREST_NEIGHBOR", read, made, options="ResizeNearestNeighbor",
                        halfPixelCenters=True)  # fmt: skip
    after = checked(builder.content(made), [values(seed, (1, *size, 3))], ["resizing"])
    assert {*kinds(after)} == ({"MUL"} if size == (1, 1) else {"RESIZE_NEAREST_NEIGHBOR"})


def test_bilinear_resizing_by_more_is_left():
    """Two bilinear steps are not one: their maps differ between the pixels."""
    builder = FloatModel()
    read = [builder.given((1, 2, 2, 3)), builder.number((32, 32), "INT32")]
    made = builder.make("RESIZE_BILINEAR", read, (1, 32, 32, 3), options="ResizeBilinear",
                        halfPixelCenters=True)  # fmt: skip
    assert not rewrite(builder.content(made)).applied


@_CHEAP
@given(seed=_seeds, epsilon=st.floats(0.0625, 2, width=32),
       kind=st.sampled_from(["ABS", "SQUARE", "LOGISTIC", "RELU"]))  # fmt: skip
def test_division_by_what_is_above_zero(seed, epsilon, kind):
    builder = FloatModel()
    shape = (1, 5)
    x = builder.given(shape)
    inner = builder.make(kind, [x], shape, options={"SQUARE": "Square", "ABS": "Abs"}.get(kind, ""))
    total = builder.make("ADD", [inner, builder.number(epsilon)], shape, options="Add")
    made = builder.make("DIV", [x, total], shape, options="Div")
    more = {"ABS": ["absolute"], "SQUARE": ["square"]}.get(kind, [])
    checked(builder.content(made), [values(seed, shape)], ["division", *more])


def test_division_by_what_may_be_zero_or_less_is_left():
    builder = FloatModel()
    x = builder.given((1, 5))
    total = builder.make("ADD", [x, builder.number(0.5)], (1, 5), options="Add")
    content = builder.content(builder.make("DIV", [x, total], (1, 5), options="Div"))
    assert rewrite(content).content is content


@_CHEAP
@given(channels=st.integers(1, 9), seed=_seeds)
def test_means_over_everything(channels, seed):
    shape = (1, 3, 4, channels)
    builder = FloatModel()
    made = builder.make("MEAN", [builder.given(shape), builder.number([1, 2, 3], "INT32")], (1,),
                        options="Reducer", keepDims=False)  # fmt: skip
    rules = [] if channels % 4 == 0 else ["channel-mean"]
    content = builder.content(made)
    if rules:
        checked(content, [values(seed, shape)], rules)
    else:
        assert rewrite(content).content is content


def test_an_extreme_leaves_other_readers_their_range():
    """TFLite gives all that a MAXIMUM reads the scale of what it makes: the rest is cut off."""
    keras.utils.set_random_seed(0)
    image, other = keras.Input((6, 6, 4)), keras.Input((6, 6, 4))
    large = keras.layers.Conv2D(4, 1)(image)
    small = keras.layers.Conv2D(4, 1, activation="tanh")(other)
    read = keras.layers.Conv2D(2, 1)(large)
    model = keras.Model([image, other], [keras.ops.maximum(large, small), read])
    samples = [values(0, (12, 6, 6, 4), 20.0), values(1, (12, 6, 6, 4), 1.0)]
    errors = {}
    for mode in ("off", "safe"):
        found = to_int8(model, samples, rewrite=mode, verbose=0).accuracy
        errors[mode] = max(output.relative_error for output in found.outputs)
    assert errors["off"] > 0.4
    assert errors["safe"] < 0.05


@_CHEAP
@given(kind=st.sampled_from(["MEAN", "SUM", "REDUCE_MAX"]), shape=st.tuples(_sizes, _sizes, _sizes),
       axes=st.sampled_from([(0, 1, 2), (0, 1), (0,), (0, 2), (0, -3)]), keep=st.booleans(),
       seed=_seeds)  # fmt: skip
def test_reductions_over_a_batch_of_one(kind, shape, axes, keep, seed):
    given_shape = (1, *shape)
    over = {axis % 4 for axis in axes}
    made = [1 if a in over else n for a, n in enumerate(given_shape) if keep or a not in over]
    builder = FloatModel()
    read = [builder.given(given_shape), builder.number(axes, "INT32")]
    made = builder.make(kind, read, made, options="Reducer", keepDims=keep)
    checked(builder.content(made), [values(seed, given_shape)], ["batch-reduction"])


@pytest.mark.parametrize("layer", ["LayerNormalization", "GroupNormalization"])
@pytest.mark.parametrize("shape", [(4, 4, 8), (6, 8)])
def test_norms_of_tf_keras_map(layer, shape):
    given = tf_keras.Input(shape)
    made = {"groups": 2} if layer == "GroupNormalization" else {}
    model = tf_keras.Model(given, getattr(tf_keras.layers, layer)(**made)(given))
    samples = values(0, (12, *shape))
    result = to_int8(model, samples, verbose=0)
    assert result.accuracy.is_good
    graph = OpGraph.from_tflite(result.content)
    assert [unsupported_reason(graph, op) for op in range(graph.num_ops)] == [None] * graph.num_ops
