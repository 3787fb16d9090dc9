"""The memory model against public compiled models and compiler logs."""

import csv
from pathlib import Path

import pytest

from benchmarks._device_data import DATA, is_right, log_rows
from respect_tf.device import predict_pipeline
from respect_tf.graph import OpGraph


def _pairs(folder):
    with (folder / "compiled" / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            name = Path(row["source"]).name
            yield row, folder / "compiled" / row["repo"].split("/")[1] / name


def test_compiled_models_of_a_megabyte_and_more_are_predicted_to_the_byte(data_folder):
    for row, path in _pairs(data_folder):
        real = int(row["cached_param_bytes"]) + int(row["streamed_param_bytes"])
        # Compiler 1.0 stores biases of zeros, which later ones drop.
        if real < 1e6 or row["min_runtime_version"] == "10":
            continue
        graph = OpGraph.from_tflite(path)
        prediction = predict_pipeline(graph, [0] * graph.num_ops)
        assert prediction.stages[0].stored_bytes == real, path.name


def test_ops_on_the_cpu_are_those_of_the_compiled_models(data_folder):
    for row, path in _pairs(data_folder):
        graph = OpGraph.from_tflite(path)
        cost = predict_pipeline(graph, [0] * graph.num_ops).stages[0].cost
        listed = [item.split("=") for item in row["cpu_op_types"].split(";") if item]
        expected = {kind: int(count) for kind, count in listed}
        found: dict[str, int] = {}
        for op in cost.cpu_ops:
            found[graph.op_types[op]] = found.get(graph.op_types[op], 0) + 1
        assert found == expected, path.name


@pytest.mark.parametrize(("kind", "share"), [("conv", 0.99), ("dense", 0.99)])
def test_logged_segments_are_predicted_to_print_rounding(data_folder, kind, share):
    assert data_folder == DATA
    right = [is_right(row) for row in log_rows()[0] if row.stack.kind == kind]
    assert len(right) > 1500
    assert sum(right) / len(right) >= share
