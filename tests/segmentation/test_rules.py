"""Every rule of the pipeline runner is seen to be enforced on segments that break it."""

import dataclasses

import numpy as np
import pytest
from model_builder import ModelBuilder

import respect_tf
from respect_tf import SegmentError
from respect_tf.segmentation import Segment, check_runner_rules
from respect_tf.tflite import read_model, text, write_model


def _segments() -> list[Segment]:
    builder = ModelBuilder()
    first = builder.relu(builder.input("image"))
    second = builder.conv(first)
    return list(respect_tf.segment(builder.build([builder.add(second, first)]), [0, 1, 2]))


def _edit(segment: Segment, edit) -> Segment:
    model = read_model(segment.content)
    edit(model.subgraphs[0])
    return dataclasses.replace(segment, content=write_model(model))


def _renamed(segment: Segment, old: str, new: str) -> Segment:
    def edit(subgraph):
        for tensor in subgraph.tensors:
            if text(tensor.name) == old:
                tensor.name = new

    return _edit(segment, edit)


def test_proper_segments_pass_without_warnings():
    assert check_runner_rules(_segments()) == ()


def test_no_segments():
    with pytest.raises(SegmentError, match="at least one"):
        check_runner_rules([])


def test_an_input_that_nobody_made():
    segments = _segments()
    segments[1] = _renamed(segments[1], segments[1].inputs[0].name, "elsewhere")
    with pytest.raises(SegmentError, match=r"segment 1: input 'elsewhere'"):
        check_runner_rules(segments)


def test_an_output_that_no_later_segment_reads():
    segments = _segments()
    made = segments[0].outputs[0].tensor
    assert made

    def also_return_input_of_op(subgraph):
        subgraph.outputs = np.append(subgraph.outputs, [len(subgraph.tensors) - 1]).astype(np.int32)
        extra = read_model(segments[0].content).subgraphs[0].tensors[0]
        extra.name = "unread"
        subgraph.tensors.append(extra)
        subgraph.outputs[-1] = len(subgraph.tensors) - 1

    segments[0] = _edit(segments[0], also_return_input_of_op)
    with pytest.raises(SegmentError, match="no later segment reads output 'unread'"):
        check_runner_rules(segments)


def test_an_output_that_is_also_an_input():
    segments = _segments()

    def return_input(subgraph):
        subgraph.outputs = np.append(subgraph.outputs, subgraph.inputs[0]).astype(np.int32)

    segments[2] = _edit(segments[2], return_input)
    with pytest.raises(SegmentError, match="both input and output"):
        check_runner_rules(segments)


def test_two_outputs_of_one_name():
    segments = _segments()

    def twice(subgraph):
        subgraph.outputs = np.append(subgraph.outputs, subgraph.outputs).astype(np.int32)

    segments[2] = _edit(segments[2], twice)
    with pytest.raises(SegmentError, match="not unique"):
        check_runner_rules(segments)


def test_a_final_output_that_some_segment_reads():
    segments = _segments()
    taken = segments[1].inputs[0].name
    segments[2] = _renamed(segments[2], segments[2].outputs[0].name, taken)
    with pytest.raises(SegmentError, match="segment 2"):
        check_runner_rules(segments)


def test_a_border_whose_type_changes():
    segments = _segments()

    def other_shape(subgraph):
        subgraph.tensors[subgraph.inputs[0]].shape = np.array([1, 2, 8, 8], np.int32)

    segments[1] = _edit(segments[1], other_shape)
    with pytest.raises(SegmentError, match="was made as"):
        check_runner_rules(segments)


def test_a_name_that_is_not_ascii():
    segments = _segments()
    segments[2] = _renamed(segments[2], segments[2].outputs[0].name, "größe")
    with pytest.raises(SegmentError, match="not ASCII"):
        check_runner_rules(segments)


def test_a_model_input_that_a_later_segment_reads_directly():
    segments = _segments()
    segments[1] = _renamed(segments[1], segments[1].inputs[0].name, "image")
    with pytest.raises(SegmentError, match="leak"):
        check_runner_rules(segments)


def test_an_unknown_dimension():
    segments = _segments()

    def unknown(subgraph):
        subgraph.tensors[subgraph.inputs[0]].shapeSignature = np.array([-1, 4, 4, 8], np.int32)

    segments[0] = _edit(segments[0], unknown)
    with pytest.raises(SegmentError, match="unknown dimension"):
        check_runner_rules(segments)


def test_what_a_user_may_stumble_over_is_a_warning():
    builder = ModelBuilder()
    image = builder.input("image", dtype="FLOAT32")
    out = builder.dequantize(builder.relu(builder.quantize(image)))
    segments = respect_tf.segment(builder.build([out]), [0, 1, 1])
    (warning,) = check_runner_rules(segments)
    assert "float32" in warning
    assert "inference_output_type='int8'" in warning
