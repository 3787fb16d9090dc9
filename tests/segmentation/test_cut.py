"""Segments compute what the whole model computes, and the runner takes them."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_builder import ModelBuilder
from random_models import models, stages

import respect_tf
from respect_tf import OpGraph
from respect_tf.segmentation import check_runner_rules
from respect_tf.tflite import Interpreter, mark_made_here, op_type, read_model, text


def _op_types(content: bytes) -> list[str]:
    model = read_model(content)
    return [op_type(model, op) for op in model.subgraphs[0].operators]


def _names(specs) -> list[str]:
    return [spec.name for spec in specs]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_models_and_schedules_are_bit_exact_and_obey_the_runner(data):
    model = data.draw(models())
    mark_made_here(model)  # hundreds of processes would take their time
    graph = OpGraph.from_tflite(model)
    schedule = data.draw(stages(graph))
    segments = respect_tf.segment(model, schedule)
    check_runner_rules(segments)
    respect_tf.verify(model, segments)
    assert sorted(op for segment in segments for op in segment.ops) == list(range(graph.num_ops))


@pytest.mark.slow
@settings(max_examples=750, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_many_random_models_and_schedules_are_bit_exact(data):
    model = data.draw(models(max_ops=20))
    mark_made_here(model)
    schedule = data.draw(stages(OpGraph.from_tflite(model)))
    respect_tf.verify(model, respect_tf.segment(model, schedule))


def test_a_tensor_that_skips_a_stage_goes_from_its_maker_to_its_reader():
    #  0 ─► 1 ─► 2(+)
    #  └────────┘
    builder = ModelBuilder()
    first = builder.conv(builder.input("image"))
    last = builder.add(builder.relu(first), first)
    segments = respect_tf.segment(builder.build([last]), [0, 1, 2])
    skipping = segments[0].outputs[0].name
    assert _names(segments[1].inputs) == [skipping]
    assert skipping in _names(segments[2].inputs)
    assert _names(segments[1].outputs) != [skipping]


def test_an_early_model_output_leaves_the_last_segment_under_a_new_name():
    builder = ModelBuilder()
    early = builder.relu(builder.input("image"))
    late = builder.conv(early)
    model = builder.build([early, late])
    segments = respect_tf.segment(model, [0, 1])
    carried = segments[1].outputs[0]
    assert carried.tensor == early
    assert carried.name not in _names(segments[0].outputs) + _names(segments[1].inputs)
    assert _op_types(segments[1].content) == ["CONV_2D", "RESHAPE"]
    respect_tf.verify(model, segments)


def test_a_model_input_read_late_passes_through_an_op_in_segment_0():
    builder = ModelBuilder()
    image, mask = builder.input("image"), builder.input("mask")
    last = builder.add(builder.relu(image), mask)
    model = builder.build([last])
    segments = respect_tf.segment(model, [0, 1])
    assert _names(segments[0].inputs) == ["image", "mask"]
    assert "mask" not in _names(segments[1].inputs)
    assert _op_types(segments[0].content) == ["RELU", "RESHAPE"]
    respect_tf.verify(model, segments)


def test_a_model_input_that_is_an_output_is_carried_to_the_end():
    builder = ModelBuilder()
    image = builder.input("image")
    model = builder.build([builder.relu(image), image])
    for schedule in ([0], [0]):
        segments = respect_tf.segment(model, schedule)
        assert segments[0].outputs[1].name != "image"
        respect_tf.verify(model, segments)


def test_a_scalar_can_be_carried():
    builder = ModelBuilder()
    image = builder.input("image")
    scalar = builder.tensor("scalar", ())
    axes = builder.tensor("axes", (4,), "INT32", data=np.arange(4, dtype=np.int32), scale=None)
    options = builder._schema.ReducerOptionsT()
    builder.op("REDUCE_MAX", [image, axes], [scalar], options, version=2)
    model = builder.build([scalar, builder.relu(image)])
    respect_tf.verify(model, respect_tf.segment(model, [0, 1]))


def test_an_output_that_is_listed_twice_gets_two_names():
    builder = ModelBuilder()
    out = builder.relu(builder.input())
    model = builder.build([out, out])
    (segment,) = respect_tf.segment(model, [0])
    assert len(set(_names(segment.outputs))) == 2
    respect_tf.verify(model, [segment])


def test_unused_outputs_of_an_op_stay_inside():
    builder = ModelBuilder()
    left, _right = builder.split(builder.input())
    model = builder.build([builder.relu(left)])
    segments = respect_tf.segment(model, [0, 1])
    assert len(segments[0].outputs) == 1


def test_shared_constants_are_copied_into_every_segment_once():
    builder = ModelBuilder()
    tensor = builder.input()
    for _ in range(4):
        tensor = builder.conv(tensor, shared=True)
    model = builder.build([tensor])
    segments = respect_tf.segment(model, [0, 0, 1, 1])
    for segment in segments:
        buffers = read_model(segment.content).buffers
        assert sum(b.data is not None and len(b.data) == 64 for b in buffers) == 1


def test_names_become_unique_and_printable():
    builder = ModelBuilder()
    first = builder.relu(builder.input("größe"))
    second = builder.relu(first)
    third = builder.relu(second)
    builder.rename(first, "same")
    builder.rename(second, "same")
    builder.rename(third, b"\xff\x00broken")
    segments = respect_tf.segment(builder.build([third]), [0, 1, 2])
    names = {name for s in segments for name in _names(s.inputs) + _names(s.outputs)}
    assert len(names) == 4
    assert all(name.isascii() and name.isprintable() for name in names)


def test_state_of_a_recurrent_op_stays_with_it(data_folder):
    path = data_folder / "compiled" / "test_data" / "keras_lstm_mnist_ptq.tflite"
    model = path.read_bytes()
    graph = OpGraph.from_tflite(model)
    segments = respect_tf.segment(model, np.arange(graph.num_ops))
    respect_tf.verify(model, segments)


def test_signatures_metadata_and_descriptions_survive_where_they_make_sense():
    builder = ModelBuilder()
    middle = builder.relu(builder.input("image"))
    metadata = {"min_runtime_version": b"1.14.0", "TFLITE_METADATA": b"about the inputs"}
    model = builder.build(
        [builder.relu(middle)], signature=(["picture"], ["scores"]), metadata=metadata
    )
    segments = respect_tf.segment(model, [0, 1])
    parts = [read_model(segment.content) for segment in segments]
    assert [text(part.description) for part in parts] == ["made op by op"] * 2
    assert [[text(entry.name) for entry in part.metadata] for part in parts] == [
        ["min_runtime_version"]
    ] * 2
    assert text(parts[0].signatureDefs[0].inputs[0].name) == "picture"
    assert text(parts[1].signatureDefs[0].outputs[0].name) == "scores"
    (whole,) = respect_tf.segment(model, [0, 0])
    assert len(read_model(whole.content).metadata) == 2


def test_the_model_given_is_not_changed():
    builder = ModelBuilder()
    middle = builder.conv(builder.input())
    model = builder.build([builder.conv(middle)])
    unpacked = read_model(model)
    from respect_tf.graph import op_graph_of
    from respect_tf.segmentation import cut
    from respect_tf.tflite import write_model

    before = write_model(unpacked)
    cut(unpacked, op_graph_of(unpacked), np.array([0, 1], np.int32), name="m")
    assert write_model(unpacked) == before


def test_constants_are_aligned_to_16_bytes():
    builder = ModelBuilder()
    model = builder.build([builder.conv(builder.add(builder.input(), builder.constant((8,))))])
    for segment in respect_tf.segment(model, [0, 1]):
        start = np.frombuffer(segment.content, np.uint8).ctypes.data
        for buffer in read_model(segment.content).buffers:
            if buffer.data is not None:
                assert (buffer.data.ctypes.data - start) % 16 == 0


def test_the_same_cut_gives_the_same_bytes():
    builder = ModelBuilder()
    model = builder.build([builder.conv(builder.relu(builder.input()))])
    left, right = (respect_tf.segment(model, [0, 1]) for _ in range(2))
    assert [s.content for s in left] == [s.content for s in right]


def test_a_batch_of_unknown_size_becomes_1():
    builder = ModelBuilder()
    image = builder.input()
    out = builder.relu(image)
    for tensor in (image, out):
        builder._tensors[tensor].shapeSignature = np.array([-1, 4, 4, 8], np.int32)
    (segment,) = respect_tf.segment(builder.build([out]), [0])
    Interpreter(segment.content).run([np.zeros((1, 4, 4, 8), np.int8)])
    check_runner_rules([segment])


@pytest.mark.parametrize(
    ("schedule", "match"),
    [
        ([0, 0], "2"),
        ([1, 0, 1], "op"),
        ([0, 0, 2], "empty"),
        ([0, 1, -1], "stage"),
    ],
)
def test_invalid_schedules_are_refused(schedule, match):
    builder = ModelBuilder()
    first = builder.relu(builder.input())
    model = builder.build([builder.relu(builder.relu(first))])
    with pytest.raises(respect_tf.ScheduleError, match=match):
        respect_tf.segment(model, schedule)


def test_a_dequantize_is_never_parted_from_its_maker():
    builder = ModelBuilder()
    out = builder.dequantize(builder.relu(builder.input()))
    model = builder.build([out])
    with pytest.raises(respect_tf.ScheduleError, match="DEQUANTIZE"):
        respect_tf.segment(model, [0, 1])
