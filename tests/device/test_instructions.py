"""Instructions, predicted before anything is compiled."""

import numpy as np
import pytest
from model_builder import ModelBuilder

from benchmarks._device_instructions import fitted_costs, instruction_samples, left_out_errors
from benchmarks._device_pairs import compiled_pairs
from respect_tf.device import instruction_bytes
from respect_tf.device._instructions import BASE_BYTES, INSTRUCTION_COSTS
from respect_tf.graph import OpGraph


def _conv(side, channels):
    """A convolution of a map [1, side, side, 8] to one of so many channels."""
    builder = ModelBuilder()
    image = builder.tensor("image", (1, side, side, 8))
    builder.inputs.append(image)
    weights = builder.constant((channels, 1, 1, 8))
    made = builder.tensor("made", (1, side, side, channels))
    builder.op("CONV_2D", [image, weights], [made], builder._schema.Conv2DOptionsT())
    return OpGraph.from_tflite(builder.build([made]))


def _only(graph):
    base, per_op = instruction_bytes(graph)
    assert base == BASE_BYTES
    assert per_op.shape == (graph.num_ops,)
    assert per_op.dtype == np.float64
    (value,) = per_op.tolist()
    return value


def test_maps_that_divide_evenly_among_the_tiles_need_least():
    costs = INSTRUCTION_COSTS
    even = _only(_conv(16, 8))
    assert even == costs["convolution"] + costs["block of 64 channels"]
    assert _only(_conv(1, 8)) == even
    assert _only(_conv(18, 8)) == _only(_conv(17, 8)) == even + 3 * costs["further kind of tile"]
    assert _only(_conv(16, 65)) == even + costs["block of 64 channels"]


def test_large_maps_cost_more_only_where_they_are_uneven():
    costs = INSTRUCTION_COSTS
    assert _only(_conv(512, 8)) == _only(_conv(16, 8))
    more = 513 * 513 * 8 / 2**20 - 1.5
    expected = _only(_conv(17, 8)) + 3 * more * costs["uneven MiB"]
    assert _only(_conv(513, 8)) == pytest.approx(expected)


def test_other_ops_by_kind():
    builder = ModelBuilder()
    image = builder.input()
    tensor = builder.quantize(image)
    outs = []
    for kind in ("SOFTMAX", "PRELU", "RELU"):
        made = builder.tensor(kind, (1, 4, 4, 8))
        builder.op(kind, [tensor], [made])
        outs.append(made)
    _, per_op = instruction_bytes(OpGraph.from_tflite(builder.build(outs)))
    other = INSTRUCTION_COSTS["other"]
    assert per_op.tolist() == [0, INSTRUCTION_COSTS["softmax"], 2 * other, other]


def test_graphs_of_arrays_have_ops_of_no_known_kind():
    base, per_op = instruction_bytes(OpGraph.from_arrays([1, 2], [1, 1], [[0, 1]]))
    assert base > 0
    assert per_op.tolist() == [INSTRUCTION_COSTS["other"]] * 2


def test_public_pairs_are_predicted_within_a_quarter_in_the_median(data_folder):
    files, _ = instruction_samples(compiled_pairs(), {})
    assert len(files) == 31
    errors = [abs(sample.predicted / sample.sent - 1) for sample in files]
    assert np.median(errors) <= 0.2


def test_a_fit_that_did_not_see_the_model_is_nearly_as_good(data_folder):
    files, _ = instruction_samples(compiled_pairs(), {})
    assert np.median(np.abs(left_out_errors(files, files))) <= 0.25
    assert (fitted_costs(files) == fitted_costs(files)).all()
