"""The memory model against public compiled models and compiler logs."""

import collections

import pytest

from benchmarks._device_data import DATA, is_right, log_rows, streams_as_logged, time_rows
from benchmarks._device_pairs import compiled_pairs
from respect_tf.device import EdgeTpu, blocking_reason, mapping_doubts


@pytest.fixture(scope="module")
def pairs(data_folder):
    found = compiled_pairs()
    assert len(found) == 31
    return found


def test_compiled_models_of_a_megabyte_and_more_are_predicted_within_a_percent(pairs):
    wrong, exact = [], 0
    for pair in pairs:
        real = pair.compiled.cached_bytes + pair.compiled.streamed_bytes
        if real >= 1e6:
            exact += pair.stored_bytes == real
            if abs(pair.stored_bytes / real - 1) > 0.01:
                wrong.append(pair.name)
    assert wrong == ["srgan.tflite"]  # copies of PRELU constants for each strip
    assert exact == 16


def test_streamed_bytes_are_those_of_the_compiled_models(pairs):
    wrong = [
        pair.name for pair in pairs if pair.cost.streamed_bytes != pair.compiled.streamed_bytes
    ]
    # Compiler 1.0 put block k of each layer into tile k; srgan was compiled into three parts.
    assert wrong == ["model_dense_2x2x3x100x100.tflite", "srgan.tflite"]


def test_ops_on_the_cpu_are_those_of_the_compiled_models(pairs):
    for pair in pairs:
        found = collections.Counter(pair.graph.op_types[op] for op in pair.cpu_ops)
        assert found == collections.Counter(pair.compiled.cpu_ops), pair.name


def test_what_crosses_the_bus_is_what_the_compiled_models_list(pairs):
    """Also where ops stay on the CPU; large maps enter in strips, parts of them twice."""
    listed = 0
    for pair in pairs:
        found = pair.compiled
        if pair.in_parts or found.input_bytes is None or found.output_bytes is None:
            continue
        listed += 1
        assert pair.cost.output_bytes == found.output_bytes, pair.name
        entered = -(-pair.cost.input_bytes // 8) * 8
        assert entered <= found.input_bytes <= 1.12 * entered, pair.name
    assert listed == 29


def test_no_public_model_that_was_compiled_holds_what_stops_a_file(pairs):
    for pair in pairs:
        for op in range(pair.graph.num_ops):
            assert blocking_reason(pair.graph, op) is None, pair.name
        doubts = (mapping_doubts(pair.graph, op) for op in pair.mapped_ops)
        assert not any(kind == "version" for found in doubts for kind, _ in found), pair.name


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
