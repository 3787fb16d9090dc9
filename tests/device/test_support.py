"""Which ops stay on the CPU, and why."""

import dataclasses
import re

import numpy as np
import pytest
from model_builder import ModelBuilder

from respect_tf.device import (
    DeviceCosts,
    EdgeTpu,
    mapping_doubts,
    predict,
    unmapped_ops,
    unsupported_reason,
    version_warning,
)
from respect_tf.graph import OpGraph


def _graph(build):
    builder = ModelBuilder()
    out = build(builder, builder.input())
    return OpGraph.from_tflite(builder.build([out]))


def _unsupported(builder, tensor):
    made = builder.tensor("floor", (1, 4, 4, 8))
    builder.op("FLOOR", [tensor], [made])
    return made


def test_supported_ops_have_no_reason():
    graph = _graph(lambda b, x: b.relu(b.conv(x)))
    assert [unsupported_reason(graph, op) for op in range(2)] == [None, None]


def test_an_unknown_op_a_float_and_a_high_rank_have_the_compilers_words():
    graph = _graph(_unsupported)
    assert unsupported_reason(graph, 0) == "Operation not supported"
    graph = _graph(lambda b, x: b.dequantize(b.relu(x)))
    assert unsupported_reason(graph, 1) is not None
    builder = ModelBuilder()
    image = builder.tensor("image", (2, 3, 4, 4, 8))
    builder.inputs.append(image)
    made = builder.tensor("made", (2, 3, 4, 4, 8))
    builder.op("RELU", [image], [made])
    graph = OpGraph.from_tflite(builder.build([made]))
    assert "up to 3 innermost dimensions" in unsupported_reason(graph, 0)


def test_what_follows_an_unsupported_op_stays_on_the_cpu_until_a_cut():
    graph = _graph(lambda b, x: b.conv(_unsupported(b, b.conv(x))))
    costs = DeviceCosts.of(graph, EdgeTpu.preset("usb3-pi5"))
    assert unmapped_ops(graph, range(3), costs.chip.supported.tolist()) == [1, 2]
    assert unmapped_ops(graph, [2], costs.chip.supported.tolist()) == []
    together = predict(graph, [0, 0, 0])
    assert [op.op for op in together.stages[0].cpu_ops] == [1, 2]
    assert together.stages[0].cpu_ops[0].reason == "Operation not supported"
    assert "a cut right after that op brings it back" in together.stages[0].cpu_ops[1].reason
    apart = predict(graph, [0, 0, 1])
    assert [len(stage.cpu_ops) for stage in apart.stages] == [1, 0]


def test_unsupported_ops_before_the_first_mapped_one_hold_nothing_back():
    graph = _graph(lambda b, x: b.conv(_unsupported(b, x)))
    assert unmapped_ops(graph, [0, 1], [False, True]) == [0]


def test_branches_beside_an_unsupported_op_are_mapped():
    def build(builder, image):
        left = builder.conv(image)
        return builder.add(_unsupported(builder, left), builder.relu(left))

    graph = _graph(build)
    mask = [unsupported_reason(graph, op) is None for op in range(graph.num_ops)]
    names = [graph.op_types[op] for op in unmapped_ops(graph, range(graph.num_ops), mask)]
    assert names == ["FLOOR", "ADD"]


def _of_version(kind, version):
    builder = ModelBuilder()
    image = builder.input()
    made = builder.tensor("made", (1, 4, 4, 8))
    builder.op(kind, [image] * (2 if kind == "ADD" else 1), [made], version=version)
    return OpGraph.from_tflite(builder.build([made]))


@pytest.mark.parametrize(
    ("kind", "version", "warned"),
    [("RELU", 2, False), ("ADD", 2, False), ("ADD", 3, True), ("AVERAGE_POOL_2D", 2, False),
     ("QUANTIZE", 2, False), ("ADD", 9, False)],
)  # fmt: skip
def test_versions_above_the_known_ones_are_named_unless_the_compiler_cannot_read_them(
    kind, version, warned
):
    graph = _of_version(kind, version)
    warning = version_warning(graph, 0)
    assert (warning is not None) == warned
    assert not warned or f"op 0 {kind} 'made' has version {version}" in warning
    assert [text for _, text in mapping_doubts(graph, 0)] == (
        [warning.removeprefix("op 0 ADD 'made' ")] if warned else []
    )


def test_doubts_are_equal_for_equal_ops_and_name_none():
    def build(builder, image):
        first = builder.tensor("first", (1, 4, 4, 8))
        second = builder.tensor("second", (1, 4, 4, 8))
        builder.op("ADD", [image, image], [first], version=3)
        builder.op("ADD", [first, first], [second], version=3)
        return second

    graph = _graph(build)
    ((kind, text),) = mapping_doubts(graph, 0)
    assert [(kind, text)] == mapping_doubts(graph, 1)
    assert kind == "version"
    assert "first" not in text
    assert "op 0" not in text


def test_versions_that_are_known_to_fail_are_unsupported():
    builder = ModelBuilder()
    image = builder.input()
    made = builder.tensor("made", (1, 4, 4, 8))
    builder.op("QUANTIZE", [image], [made], version=3)
    graph = OpGraph.from_tflite(builder.build([made]))
    assert "version not supported" in unsupported_reason(graph, 0)


def _int32(builder, values):
    data = np.array(values, np.int32)
    return builder.tensor("settings", data.shape, "INT32", data=data, scale=None)


@pytest.mark.parametrize(
    ("paddings", "reason"),
    [([[0, 0], [1, 1], [1, 1], [0, 0]], None), ([[0, 1], [0, 0], [0, 0], [0, 0]], "batch")],
)
def test_the_batch_cannot_be_padded(paddings, reason):
    def build(builder, image):
        made = builder.tensor("made", (1, 4, 4, 8))
        builder.op("PAD", [image, _int32(builder, paddings)], [made])
        return made

    found = unsupported_reason(_graph(build), 0)
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize(("axis", "supported"), [(3, True), (-1, True), (0, False), (-4, False)])
def test_the_batch_cannot_be_split(axis, supported):
    builder = ModelBuilder()
    image = builder.input()
    halves = [builder.tensor(f"half_{i}", (1, 4, 4, 4)) for i in range(2)]
    builder.op("SPLIT", [_int32(builder, [axis]), image], halves)
    graph = OpGraph.from_tflite(builder.build(halves))
    assert (unsupported_reason(graph, 0) is None) == supported


def _one_op(kind, shapes, options=None, *, constants=(), settings=None):
    """An op of tensors of these shapes, the last one made."""
    builder = ModelBuilder()
    tensors = []
    for index, shape in enumerate(shapes[:-1]):
        if index in constants:
            tensors.append(builder.constant(shape))
        else:
            tensors.append(builder.tensor(f"in_{index}", shape))
            builder.inputs.append(tensors[-1])
    if settings is not None:
        tensors.append(_int32(builder, settings))
    made = builder.tensor("made", shapes[-1])
    filled = None
    if options is not None:
        name, values = options
        filled = getattr(builder._schema, name)()
        for key, value in values.items():
            setattr(filled, key, value)
    builder.op(kind, tensors, [made], filled)
    return OpGraph.from_tflite(builder.build([made]))


_MAP = (1, 4, 4, 8)


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (_one_op("AVERAGE_POOL_2D", [_MAP, _MAP], ("Pool2DOptionsT", {})), None),
        (
            _one_op(
                "MAX_POOL_2D", [_MAP, _MAP], ("Pool2DOptionsT", {"fusedActivationFunction": 1})
            ),
            "Fused activation RELU",
        ),
        (
            _one_op(
                "CONCATENATION",
                [_MAP, _MAP, (1, 4, 4, 16)],
                ("ConcatenationOptionsT", {"fusedActivationFunction": 3}),
            ),
            "Fused activation RELU6",
        ),
        (_one_op("CONCATENATION", [_MAP, _MAP, _MAP, (1, 4, 4, 24)], constants=(2,)), "two inputs"),
        (_one_op("SOFTMAX", [(1, 16_384), (1, 16_384)]), None),
        (_one_op("SOFTMAX", [(1, 16_385), (1, 16_385)]), "More than 16,384"),
        (_one_op("SOFTMAX", [(1, 4, 10), (1, 4, 10)]), "one-dimensional"),
        (
            _one_op("FULLY_CONNECTED", [(4, 8), (16, 8), (4, 16)], constants=(1,)),
            "one-dimensional outputs",
        ),
        (_one_op("PRELU", [_MAP, (1, 1, 8), _MAP], constants=(1,)), None),
        (_one_op("PRELU", [_MAP, (4, 4, 8), _MAP], constants=(1,)), "one-dimensional alpha"),
        (_one_op("MEAN", [_MAP, (1, 8)], settings=[1, 2]), None),
        (_one_op("MEAN", [_MAP, (4, 4, 8)], settings=[0]), "batch"),
        (_one_op("SUM", [_MAP, (4, 4, 8)], settings=[-4]), "batch"),
        (_one_op("MEAN", [_MAP, (1, 4, 4)], settings=[3]), None),
        (_one_op("MEAN", [(1, 4, 4, 6), (1, 4, 4)], settings=[3]), "multiple of 4"),
        (_one_op("RESIZE_BILINEAR", [_MAP, (1, 32, 32, 8)], settings=[32, 32]), None),
        (_one_op("RESIZE_BILINEAR", [_MAP, (1, 64, 64, 8)], settings=[64, 64]), "16|8-fold"),
        (_one_op("RELU", [(1, 2, 4, 4, 8), (1, 2, 4, 4, 8)]), "3 innermost dimensions"),
        (_one_op("TRANSPOSE", [_MAP, _MAP], settings=[0, 2, 1, 3]), None),
        (_one_op("TILE", [(1, 1, 1, 8), (1, 33, 33, 8)], settings=[1, 33, 33, 1]), None),
        (_one_op("TILE", [_MAP, (1, 8, 8, 8)], settings=[1, 2, 2, 1]), "not supported"),
    ],
)
def test_constraints_of_the_compilers_documentation(graph, reason):
    found = unsupported_reason(graph, 0)
    if reason is None:
        assert found is None
    else:
        assert re.search(reason, found)


_SQUARE = (1, 256, 256, 4)
_LARGE = (1, 512, 512, 4)


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (_one_op("PRELU", [(1, 384, 384, 64), (64,), (1, 384, 384, 64)], constants=(1,)), None),
        (_one_op("PRELU", [_LARGE, (4,), _LARGE], constants=(1,)), "512x512 pixels"),
        (_one_op("RESIZE_BILINEAR", [(1, 128, 128, 4), _SQUARE], settings=[256, 256]), None),
        (_one_op("RESIZE_BILINEAR", [_SQUARE, _LARGE], settings=[512, 512]), "512x512"),
        (_one_op("MEAN", [(1, 64, 128, 3), (1, 3)], settings=[1, 2]), None),
        (_one_op("MEAN", [(1, 256, 128, 3), (1, 3)], settings=[1, 2]), "256x128 pixels"),
    ],
)
def test_sizes_that_public_logs_show_as_refused(graph, reason):
    found = unsupported_reason(graph, 0)
    assert found is None if reason is None else reason in found


def _behind_relu(shape, axes):
    """A TRANSPOSE that does not read an input of the model."""
    builder = ModelBuilder()
    image = builder.tensor("image", shape)
    builder.inputs.append(image)
    read = builder.tensor("read", shape)
    builder.op("RELU", [image], [read])
    made = builder.tensor("made", tuple(shape[axis] for axis in axes))
    builder.op("TRANSPOSE", [read, _int32(builder, axes)], [made])
    return OpGraph.from_tflite(builder.build([made]))


@pytest.mark.parametrize(
    ("shape", "axes", "mapped"),
    [
        ((1, 14, 14, 144), [0, 3, 1, 2], True),  # YOLOv8n at 224 pixels
        ((1, 28, 28, 144), [0, 3, 1, 2], False),
        ((1, 196, 3, 85), [0, 2, 1, 3], True),  # YOLOv5s at 224 pixels
        ((1, 784, 3, 85), [0, 2, 1, 3], False),
        ((1, 24, 24, 64), [0, 3, 1, 2], True),
        ((1, 32, 32, 64), [0, 3, 1, 2], False),
        ((1, 128, 128, 4), [0, 3, 1, 2], True),
        ((1, 128, 128, 8), [0, 3, 1, 2], False),
    ],
)
def test_large_transposes_are_not_mapped(shape, axes, mapped):
    assert (unsupported_reason(_behind_relu(shape, axes), 1) is None) == mapped


@pytest.mark.parametrize(
    ("read", "made", "mapped"),
    [((1, 64, 64, 272), (1, 128, 128, 64), True), ((1, 32, 32, 1024), (1, 64, 64, 512), False)],
)
def test_transposed_convolutions_make_no_very_large_maps(read, made, mapped):
    builder = ModelBuilder()
    image = builder.tensor("image", read)
    builder.inputs.append(image)
    weights = builder.constant((made[-1], 2, 2, read[-1]))
    out = builder.tensor("made", made)
    options = builder._schema.TransposeConvOptionsT()
    builder.op("TRANSPOSE_CONV", [_int32(builder, made), weights, image], [out], options)
    graph = OpGraph.from_tflite(builder.build([out]))
    assert (unsupported_reason(graph, 0) is None) == mapped


def _dilated(kernel, dilation):
    builder = ModelBuilder()
    image = builder.input()
    weights = builder.constant((8, *kernel, 8))
    options = builder._schema.Conv2DOptionsT()
    options.dilationHFactor, options.dilationWFactor = dilation
    made = builder.tensor("made", (1, 4, 4, 8))
    builder.op("CONV_2D", [image, weights], [made], options)
    return OpGraph.from_tflite(builder.build([made]))


@pytest.mark.parametrize(
    ("kernel", "dilation", "mapped"),
    [((3, 1), (2, 1), True), ((1, 3), (1, 4), True), ((3, 3), (2, 2), True),
     ((3, 3), (2, 1), False)],
)  # fmt: skip
def test_dilation_may_differ_along_an_axis_without_kernel(kernel, dilation, mapped):
    assert (unsupported_reason(_dilated(kernel, dilation), 0) is None) == mapped


def test_a_split_into_one_output_is_a_copy():
    builder = ModelBuilder()
    image = builder.input()
    made = builder.tensor("made", (1, 4, 4, 8))
    builder.op("SPLIT", [_int32(builder, [0]), image], [made])
    assert unsupported_reason(OpGraph.from_tflite(builder.build([made])), 0) is None


def test_float_tensors_have_the_words_of_the_logs():
    builder = ModelBuilder()
    image = builder.input(dtype="FLOAT32")
    graph = OpGraph.from_tflite(builder.build([builder.dequantize(builder.quantize(image))]))
    assert "unspecified limitation (a float32 tensor)" in unsupported_reason(graph, 0)
    assert "unsupported data type (float32)" in unsupported_reason(graph, 1)


def test_a_constant_to_concatenate_is_warned_of():
    graph = _one_op("CONCATENATION", [_MAP, _MAP, (1, 4, 4, 16)], constants=(1,))
    (warning,) = predict(graph, [0]).stages[0].warnings
    assert "only maps if it is zero everywhere" in warning


def test_a_cut_right_after_an_unsupported_op_pays_when_the_tail_is_heavy():
    def build(builder, image):
        tensor = _unsupported(builder, builder.conv(image))
        for _ in range(6):
            tensor = builder.conv(tensor)
        return tensor

    graph = _graph(build)
    slow = dataclasses.replace(EdgeTpu.preset("pcie-m2"), cpu_ms_per_mib=1e5)
    right_after, later = ([0, 0] + [1] * 6, [0, 0, 0] + [1] * 5)
    fast, tailed = (predict(graph, cut, slow) for cut in (right_after, later))
    assert [len(stage.cpu_ops) for stage in fast.stages] == [1, 0]
    assert [len(stage.cpu_ops) for stage in tailed.stages] == [2, 0]
    assert fast.interval_ms < tailed.interval_ms


def test_graphs_of_arrays_are_supported():
    graph = OpGraph.from_arrays([1, 2], [1, 1], [[0, 1]])
    assert unsupported_reason(graph, 0) is None
    assert version_warning(graph, 0) is None
