"""Which ops stay on the CPU, and why."""

import pytest
from model_builder import ModelBuilder

from respect_tf.device import (
    DeviceCosts,
    EdgeTpu,
    predict_pipeline,
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
    costs = DeviceCosts.of(graph, EdgeTpu.preset("usb3"))
    assert unmapped_ops(graph, range(3), costs.supported.tolist()) == [1, 2]
    assert unmapped_ops(graph, [2], costs.supported.tolist()) == []
    together = predict_pipeline(graph, [0, 0, 0])
    assert [op.op for op in together.stages[0].cpu_ops] == [1, 2]
    assert together.stages[0].cpu_ops[0].reason == "Operation not supported"
    assert "a cut right after that op brings it back" in together.stages[0].cpu_ops[1].reason
    apart = predict_pipeline(graph, [0, 0, 1])
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


@pytest.mark.parametrize(("kind", "version", "warned"), [("RELU", 2, False), ("ADD", 9, True)])
def test_versions_above_the_known_ones_are_named(kind, version, warned):
    builder = ModelBuilder()
    image = builder.input()
    made = builder.tensor("made", (1, 4, 4, 8))
    builder.op(kind, [image] * (2 if kind == "ADD" else 1), [made], version=version)
    warning = version_warning(OpGraph.from_tflite(builder.build([made])), 0)
    assert (warning is not None) == warned
    assert not warned or "version 9" in warning


def test_versions_that_are_known_to_fail_are_unsupported():
    builder = ModelBuilder()
    image = builder.input()
    made = builder.tensor("made", (1, 4, 4, 8))
    builder.op("QUANTIZE", [image], [made], version=3)
    graph = OpGraph.from_tflite(builder.build([made]))
    assert "version not supported" in unsupported_reason(graph, 0)


def test_graphs_of_arrays_are_supported():
    graph = OpGraph.from_arrays([1, 2], [1, 1], [[0, 1]])
    assert unsupported_reason(graph, 0) is None
    assert version_warning(graph, 0) is None
