"""Remarks on the mapping of ops: one for equal ones, and what stops a file before all others."""

import numpy as np
from model_builder import ModelBuilder

import respect_tf
from respect_tf.device import blocking_remarks, mapping_remarks, predict
from respect_tf.graph import OpGraph


def _chain(kinds):
    """Unary ops (type, version) one after the other on an image."""
    builder = ModelBuilder()
    tensor = builder.tensor("image", (1, 4, 4, 8), "INT8")
    builder.inputs.append(tensor)
    for number, (kind, version) in enumerate(kinds):
        made = builder.tensor(f"layer_{number}/out", (1, 4, 4, 8), "INT8")
        builder.op(kind, [tensor], [made], version=version)
        tensor = made
    return builder.build([tensor])


def test_equal_remarks_are_one_with_a_count_and_names():
    graph = OpGraph.from_tflite(_chain([("RESHAPE", 9)] * 6))
    graph_ops = range(graph.num_ops)
    assert not mapping_remarks(OpGraph.from_tflite(_chain([("LOGISTIC", 1)])), [0])
    found = [*mapping_remarks(graph, graph_ops), *blocking_remarks(graph, graph_ops)]
    assert len(found) == 1
    assert "6 ops" in found[0]
    assert "layer_0/out" in found[0]
    assert "2 more" in found[0]


def test_what_stops_a_file_is_said_with_the_layer_and_the_remedy():
    graph = OpGraph.from_tflite(_chain([("LOGISTIC", 1), ("GELU", 1), ("TANH", 1)]))
    prediction = predict(graph, [0, 0, 1])
    (said,) = prediction.stages[0].blockers
    assert "GELU" in said
    assert "layer_1/out" in said
    assert "keep its segment on the CPU" in said
    assert prediction.stages[1].blockers == ()
    assert prediction.to_dict()["stages"][0]["blockers"] == [said]


def test_convert_names_what_stops_a_file_and_the_report_says_it_last(capsys):
    content = _chain([("LOGISTIC", 1), ("EXP", 2), ("TANH", 1)])
    pipeline = respect_tf.convert(
        content, 2, strict=False, compile=False, verify=False, device="usb3-pc"
    )
    shown = capsys.readouterr()
    assert "Google's compiler will refuse every file" in shown.out + shown.err
    assert pipeline.report.warnings[-1].startswith("Google's compiler will refuse")
    said = [line for line in str(pipeline.report).splitlines() if line.startswith("warning")]
    assert "EXP" in said[-1]


def test_instructions_of_compiled_files_take_the_place_of_predicted_ones():
    graph = OpGraph.from_tflite(_chain([("LOGISTIC", 1), ("TANH", 1)]))
    known = predict(graph, [0, 1], "usb3-pc", instruction_bytes=[50_000, None])
    guess = predict(graph, [0, 1], "usb3-pc")
    first, second = (stage.cost for stage in known.stages)
    assert first.instruction_bytes == 50_000
    assert second == guess.stages[1].cost
    assert np.isclose(first.instruction_ms, 2.14 * 50_000 / 2**20)
