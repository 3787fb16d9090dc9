"""The memory model against public compiled models and compiler logs."""

import csv
from pathlib import Path

from benchmarks._device_data import DATA, is_right, log_rows, streams_as_logged, time_rows
from respect_tf.device import EdgeTpu, op_parameters, predict
from respect_tf.graph import OpGraph


def _pairs(folder):
    with (folder / "compiled" / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            name = Path(row["source"]).name
            yield row, folder / "compiled" / row["repo"].split("/")[1] / name


def test_compiled_models_of_a_megabyte_and_more_are_predicted_to_the_byte(data_folder):
    for row, path in _pairs(data_folder):
        real = int(row["cached_param_bytes"]) + int(row["streamed_param_bytes"])
        if real < 1e6:
            continue
        graph = OpGraph.from_tflite(path)
        stage = predict(graph, [0] * graph.num_ops).stages[0]
        if row["min_runtime_version"] == "10":  # compiler 1.0
            mapped = [op for op in range(graph.num_ops) if op not in stage.cost.cpu_ops]
            stored = op_parameters(graph, keeps_zero_biases=True).stored[mapped].sum()
        else:
            stored = stage.stored_bytes
        assert stored == real, path.name


def test_ops_on_the_cpu_are_those_of_the_compiled_models(data_folder):
    for row, path in _pairs(data_folder):
        graph = OpGraph.from_tflite(path)
        cost = predict(graph, [0] * graph.num_ops).stages[0].cost
        listed = [item.split("=") for item in row["cpu_op_types"].split(";") if item]
        expected = {kind: int(count) for kind, count in listed}
        found: dict[str, int] = {}
        for op in cost.cpu_ops:
            found[graph.op_types[op]] = found.get(graph.op_types[op], 0) + 1
        assert found == expected, path.name


def test_logged_segments_of_known_cuts_are_predicted_to_print_rounding(data_folder):
    assert data_folder == DATA
    device = EdgeTpu.preset("pcie-m2")
    known = [row for row in log_rows()[0] if not row.profiled]
    assert len(known) > 2500
    for kind in ("conv", "dense"):
        right = [is_right(row, device) for row in known if row.stack.kind == kind]
        assert sum(right) / len(right) >= 0.99
    assert all(streams_as_logged(row, device) for row in known)


def test_every_measured_time_is_used_once_and_is_possible(data_folder):
    assert data_folder == DATA
    rows, skipped = time_rows()
    assert len(rows) > 1400
    assert sum(skipped.values()) < 300
    assert {row.stack.width - row.named_width for row in rows} == {0, 1}
    keys = {(row.stack, row.profiled, row.ms) for row in rows}
    assert len(keys) == len(rows)
    for row in rows:  # 4 TOPS
        slowest = max(row.stack.graph.macs[first:end].sum() for first, end in row.stack.stages)
        assert row.ms >= slowest / 2e9
