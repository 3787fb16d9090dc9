import dataclasses
import json

import pytest
from model_builder import ModelBuilder

import respect_tf
from respect_tf.device import EdgeTpu, predict


@pytest.fixture(scope="module")
def model():
    builder = ModelBuilder()
    tensor = builder.input("image")
    for _ in range(4):
        tensor = builder.conv(tensor)
    return builder.build([tensor])


@pytest.fixture(scope="module")
def pipeline(model):
    return respect_tf.convert(model, 3, device="usb2-pi3", verbose=0)


def test_every_predicted_figure_says_so_and_is_the_models(pipeline):
    figures = pipeline.report.to_dict()
    prediction = predict(pipeline.graph, pipeline.schedule.stages, "usb2-pi3")
    assert figures["speed"]["source"] == "predicted"
    assert figures["speed"]["interval_ms"] == prediction.interval_ms == figures["cost"]
    assert figures["speed"]["latency_ms"] == prediction.latency_ms
    assert figures["speed"]["first_inference_ms"] == prediction.first_ms
    for stage, expected in zip(figures["stages"], prediction.stages, strict=True):
        memory, time = stage["on_device"]["memory"], stage["on_device"]["time"]
        assert memory["source"] == time["source"] == "predicted"
        assert memory["cached_bytes"] == expected.cost.cached_bytes
        assert memory["stored_bytes"] == expected.stored_bytes
        assert memory["room_left_bytes"] == expected.room_left_bytes
        causes = ("compute", "stream", "instruction", "input", "output", "overhead", "cpu")
        assert sum(time[f"{cause}_ms"] for cause in causes) == pytest.approx(time["total_ms"])
        assert time["total_ms"] == expected.cost.total_ms
    json.dumps(figures)


def test_the_table_fits_a_terminal_and_names_device_and_rivals(pipeline):
    text = str(pipeline.report)
    assert "usb2" in text
    assert "one Edge TPU" in text
    assert "the compiler's own cut" in text
    tables = text[: text.index("throughput ")]
    assert max(map(len, tables.splitlines())) <= 110


def test_a_model_that_fits_one_edge_tpu_gets_a_warning(pipeline):
    # Small maps and few parameters: more devices only add work for the host.
    busy = dataclasses.replace(EdgeTpu.preset("usb2-pi3"), stage_ms=2.0)
    made = dataclasses.replace(pipeline, device=busy)
    assert made.report.speed.one_tpu_frames_per_second is None  # compared for another device
    made = made.compared()
    assert any("one Edge TPU would be as fast" in text for text in made.report.warnings)


def test_no_warning_where_all_stages_are_needed(model):
    # A device whose compute is slow and whose transfers are fast.
    slow = dataclasses.replace(
        EdgeTpu.preset("pcie-m2"),
        fixed_ms=0.0,
        clock_mhz=0.001,
        link_ms_per_mib=0.0,
        output_ms_per_request=0.0,
        stage_ms=0.0,
    )
    made = respect_tf.convert(model, 4, device=slow, verbose=0)
    assert made.report.speed.fewest_tpus is None
    assert not made.report.warnings
    assert made.report.speed.frames_per_second > made.report.speed.one_tpu_frames_per_second


def test_where_the_host_is_unknown_the_report_says_what_each_gets(model, tmp_path):
    made = respect_tf.convert(model, 2, device="usb2", verbose=0)
    hosts = made.report.speed.by_host
    assert [host.device for host in hosts] == list(made.prediction.by_host)
    ratios = [host.interval_ms / host.optimum_ms for host in hosts]
    assert max(ratios) == pytest.approx(made.schedule.cost)
    assert min(host.regret for host in hosts) >= -1e-9
    text = str(made.report)
    assert "on each host that it may be (predicted)" in text
    assert "above the best for one of these hosts alone" in text
    assert "over all hosts" in text  # the range
    assert "usb2-jetson, " in text
    loaded = respect_tf.load(made.save(tmp_path / "out", verbose=0))
    assert loaded.schedule == made.schedule
    assert loaded.device == made.device


def test_a_saved_pipeline_keeps_device_predictions_and_sources(pipeline, tmp_path):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    manifest = json.loads((folder / "pipeline.json").read_text())
    assert manifest["device"]["name"] == "usb2-pi3"
    assert manifest["schedule"]["cost"] == pipeline.schedule.cost
    assert manifest["predicted"]["predicted"]["interval_ms"] == pipeline.schedule.cost
    assert "predicted" in manifest["figures"]["schedule.cost"]
    loaded = respect_tf.load(folder)
    assert loaded.schedule == pipeline.schedule
    assert loaded.device == pipeline.device
    assert loaded.report.to_dict()["speed"] == pipeline.report.to_dict()["speed"]


def test_a_cut_for_memory_is_still_predicted_for_the_device(model):
    made = respect_tf.convert(model, 2, objective="memory", device="pcie-m2", verbose=0)
    assert made.schedule.device is None
    assert made.report.speed.device == "pcie-m2"
    assert made.report.cost == made.report.peak_parameter_bytes


def test_figures_from_a_compiler_log_stand_beside_the_predictions(pipeline):
    log = (
        "Edge TPU Compiler version 16.0.384591198\n"
        "Started a compilation timeout timer of 180 seconds.\n\n"
        "Model compiled successfully in 5 ms.\n\n"
        "Input model: a.tflite\nInput size: 3.00KiB\n"
        "Output model: a_edgetpu.tflite\nOutput size: 30.00KiB\n"
        "On-chip memory used for caching model parameters: 5.50KiB\n"
        "On-chip memory remaining for caching model parameters: 7.50MiB\n"
        "Off-chip memory used for streaming uncached model parameters: 0.00B\n"
        "Number of Edge TPU subgraphs: 1\nTotal number of operations: 2\n"
        "Operation log: a_edgetpu.log\n"
        "See the operation log file for individual operation details.\n"
        "Compilation child process completed within timeout period.\n"
        "Compilation succeeded! \n"
    )
    first, *others = pipeline.segments
    segments = (dataclasses.replace(first, compiled=b"compiled", compile_log=log), *others)
    report = dataclasses.replace(pipeline, segments=segments).report
    logged = report.stages[0].on_device.logged
    assert (logged.on_chip_used_bytes, logged.off_chip_bytes) == (5632, 0)
    assert logged.on_chip_remaining_bytes == 7_864_320
    assert report.to_dict()["stages"][0]["on_device"]["logged"]["source"] == "compiler log"
    assert report.stages[1].on_device.logged is None
    [row] = [line for line in str(report).splitlines() if "compiler log" in line]
    assert "5.50 KiB" in row
    assert "7.50 MiB" in row


def test_looking_at_a_pipeline_runs_no_scheduler(pipeline, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a scheduler was run")

    fresh = dataclasses.replace(pipeline)
    monkeypatch.setattr("respect_tf.report._comparison.choose_schedule", refuse)
    assert "one Edge TPU" in str(fresh.report)
    loaded = respect_tf.load(fresh.save(tmp_path / "out", verbose=0))
    assert loaded.comparison == pipeline.comparison
    assert loaded.report.to_html() == fresh.report.to_html()
    nobody_looked = dataclasses.replace(pipeline, comparison=None).report
    assert "speed-up" not in str(nobody_looked)
    assert "as fast as one Edge TPU" not in nobody_looked.to_html()
    assert nobody_looked.to_dict()["speed"]["one_tpu_frames_per_second"] is None
