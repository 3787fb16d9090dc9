"""Tensors that are listed twice as outputs, and states, which no stage hands to another."""

import dataclasses

import numpy as np
import pytest
from model_builder import ModelBuilder

from respect_tf.device import predict
from respect_tf.graph import OpGraph
from respect_tf.scheduling import check_schedule, schedule

OBJECTIVES = ("throughput", "latency", "memory")


def _chain():
    builder = ModelBuilder()
    tensor = builder.input()
    made = []
    for _ in range(3):
        tensor = builder.conv(tensor)
        made.append(tensor)
    return builder, made


@pytest.mark.parametrize("num_stages", [1, 2, 3])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("device", ["usb3-pc", "usb2"])
def test_an_output_that_is_listed_twice_leaves_once(num_stages, objective, device):
    builder, made = _chain()
    twice = OpGraph.from_tflite(builder.build([made[-1], made[-1]]))
    builder, made = _chain()
    once = OpGraph.from_tflite(builder.build([made[-1]]))
    found = schedule(twice, num_stages, objective=objective, device=device)
    check_schedule(twice, found)
    assert found.cost == schedule(once, num_stages, objective=objective, device=device).cost


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_state_enters_no_stage(objective):
    builder, made = _chain()
    graph = OpGraph.from_tflite(builder.build([made[-1]]))
    # The second input of the last op becomes a tensor that nobody makes or gives: a state.
    weights = int(graph.inputs_of(2)[1])
    is_constant = graph.is_constant.copy()
    is_constant[weights] = False
    graph = dataclasses.replace(graph, is_constant=is_constant)
    found = schedule(graph, 2, objective=objective, device="usb3-pc")
    check_schedule(graph, found)
    prediction = predict(graph, found, "usb3-pc")
    moved = sum(stage.cost.input_bytes for stage in prediction.stages)
    tensors = [*graph.model_inputs.tolist(), *np.flatnonzero(graph.producer >= 0).tolist()]
    assert moved <= graph.tensor_bytes[tensors].sum()
