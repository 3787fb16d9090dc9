"""Cuts given by the names of layers and tensors."""

import pytest
from model_builder import ModelBuilder

import respect_tf


def _model() -> bytes:
    builder = ModelBuilder()
    stem = builder.conv(builder.input("image"))
    left, right = builder.conv(stem), builder.relu(stem)
    joined = builder.add(left, right)
    out = builder.conv(joined)
    names = {
        stem: "net/stem_relu/Relu;net/stem_bn/Fused;net/stem/BiasAdd;net/head/Conv2D",
        left: "net/left/BiasAdd;net/left/Conv2D;net/head/Conv2D",
        right: "net/right_1/Relu",
        joined: "net/join/add",
        out: "net/out_relu/Relu;net/head/BiasAdd;net/head/Conv2D",
    }
    for tensor, name in names.items():
        builder.rename(tensor, name)
    return builder.build([out])


def _ops(cuts) -> list[tuple[int, ...]]:
    return [segment.ops for segment in respect_tf.segment(_model(), cuts=cuts)]


def test_a_cut_after_a_layer_takes_all_that_the_layer_needs():
    assert _ops(["join"]) == [(0, 1, 2, 3), (4,)]


def test_a_layer_fused_into_another_is_found():
    assert _ops(["stem"]) == [(0,), (1, 2, 3, 4)]


def test_a_name_that_every_op_shares_means_the_op_that_names_it_most():
    with pytest.raises(respect_tf.ScheduleError, match=r"after the cut at .*head"):
        _ops(["stem", "head"])


def test_a_tensor_name_is_exact():
    assert _ops(["net/join/add"]) == [(0, 1, 2, 3), (4,)]


def test_the_number_that_keras_adds_to_a_scope_is_ignored():
    assert _ops(["right"]) == [(0, 2), (1, 3, 4)]


def test_a_cut_through_parallel_branches():
    assert _ops([["left", "right"]]) == [(0, 1, 2), (3, 4)]


def test_several_cuts():
    assert _ops(["stem", "join"]) == [(0,), (1, 2, 3), (4,)]


def test_unknown_names_list_similar_ones():
    with pytest.raises(respect_tf.ArgumentError, match=r"Similar ones: .*join"):
        _ops(["joint"])


def test_cuts_out_of_order_would_leave_a_stage_empty():
    with pytest.raises(respect_tf.ScheduleError, match="would be empty"):
        _ops(["join", "stem"])


def test_either_a_schedule_or_cuts():
    with pytest.raises(respect_tf.ArgumentError, match="either"):
        respect_tf.segment(_model())
    with pytest.raises(respect_tf.ArgumentError, match="either"):
        respect_tf.segment(_model(), [0] * 5, cuts=["join"])
    with pytest.raises(respect_tf.ArgumentError, match="list of names"):
        respect_tf.segment(_model(), cuts="join")
