from __future__ import annotations

import numpy as np
import pytest
from model_builder import ModelBuilder

from respect_tf.graph import OpGraph, op_graph_of
from respect_tf.segmentation import part_of
from respect_tf.tflite import Interpreter, read_model


@pytest.fixture
def content() -> bytes:
    builder = ModelBuilder()
    early = builder.conv(builder.input())
    left, right = builder.split(early)
    joined = builder.concatenate([builder.relu(left), right])
    return builder.build([early, builder.add(joined, builder.input())])


@pytest.mark.parametrize("first", range(5))
def test_a_part_holds_its_ops_and_nothing_else(content: bytes, first: int) -> None:
    model = read_model(content)
    graph = op_graph_of(model)
    for last in range(first, graph.num_ops):
        part = OpGraph.from_tflite(part_of(model, graph, range(first, last + 1)))
        assert part.op_types == graph.op_types[first : last + 1]
        assert [part.op_names[i] for i in range(part.num_ops)] == list(
            graph.op_names[first : last + 1]
        )


def test_its_borders_are_what_others_make_and_read(content: bytes) -> None:
    model = read_model(content)
    graph = op_graph_of(model)
    part = OpGraph.from_tflite(part_of(model, graph, [1, 2]))  # SPLIT and RELU
    assert [part.tensor_names[t] for t in part.model_inputs] == [graph.op_names[0]]
    relu, right = graph.op_names[2], graph.tensor_names[graph.outputs_of(1)[1]]
    assert {part.tensor_names[t] for t in part.model_outputs} == {relu, right}


def test_it_computes_what_the_ops_compute(content: bytes) -> None:
    model = read_model(content)
    graph = op_graph_of(model)
    sample = np.arange(128, dtype=np.int8).reshape(1, 4, 4, 8)
    whole = Interpreter(content, label="whole").run([sample, sample])
    first = Interpreter(part_of(model, graph, [0]), label="first").run([sample])
    rest = Interpreter(part_of(model, graph, [1, 2, 3, 4]), label="rest")
    np.testing.assert_array_equal(first[0], whole[0])
    np.testing.assert_array_equal(rest.run([first[0], sample])[0], whole[1])


def test_the_model_is_not_changed(content: bytes) -> None:
    model = read_model(content)
    graph = op_graph_of(model)
    assert part_of(model, graph, [1, 2]) == part_of(model, graph, [1, 2])
    assert op_graph_of(model).op_types == graph.op_types
