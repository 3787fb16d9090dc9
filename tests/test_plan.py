"""respect_tf.plan and num_segments="auto", from a model to a pipeline."""

import dataclasses
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from model_builder import ModelBuilder

import respect_tf
from respect_tf import ArgumentError, DeviceError, EdgeTpu
from respect_tf.cli import main
from respect_tf.tflite import schema

FAST_HOST = dataclasses.replace(EdgeTpu.preset("usb3-pi5"), stage_ms=0.0, bus_ms_per_mib=0.0)


@pytest.fixture(scope="module")
def model():
    builder = ModelBuilder()
    tensor = builder.input("image")
    for _ in range(6):
        tensor = builder.conv(tensor)
    return builder.build([tensor])


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    file = tmp_path_factory.mktemp("plan") / "nét.tflite"
    file.write_bytes(model)
    return file


def test_a_plan_is_a_table_a_page_a_picture_and_json(path, tmp_path):
    plan = respect_tf.plan(path, 3, verbose=0)
    text = str(plan)
    assert "frames per second" in text
    assert "CPU" in text
    assert all(len(line) <= 100 for line in text.splitlines()[:8])
    assert plan.name in text
    assert "<table>" in plan._repr_html_()
    found = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
    assert [row["num_devices"] for row in found["rows"]] == [0, 1, 2, 3]
    assert found["rows"][3]["predicted"]["frames_per_second"] > 0
    plan.plot(path=tmp_path / "plan.svg")
    ElementTree.parse(tmp_path / "plan.svg")


def test_the_pipeline_of_a_plan_is_the_one_that_was_planned(path):
    plan = respect_tf.plan(path, 3, device="usb3-pi5", verbose=0)
    pipeline = plan.convert(compile=False, verbose=0)
    assert pipeline.replicas == plan.best.replicas
    assert np.array_equal(pipeline.schedule.stages, plan.best.schedule.stages)
    assert pipeline.prediction.interval_ms == plan.best.interval_ms
    with pytest.raises(ArgumentError, match="device is settled"):
        plan.convert(device="usb2")
    with pytest.raises(ArgumentError, match="num_devices=3"):
        respect_tf.plan(plan.graph, 3, verbose=0).convert()


def test_a_keras_model_is_planned_without_data():
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.layers.Input((16, 16, 3)), keras.layers.Conv2D(8, 3),
                              keras.layers.GlobalAveragePooling2D(),
                              keras.layers.Dense(4)])  # fmt: skip
    plan = respect_tf.plan(model, 2, verbose=0)
    assert plan.best.num_used >= 1
    assert plan.graph.num_ops >= 3


def test_auto_is_the_default_and_says_what_it_chose(model, capsys):
    pipeline = respect_tf.convert(model, device="usb3-pi5", compile=False, verbose=1)
    assert len(pipeline.segments) == len(pipeline.replicas) == pipeline.schedule.num_stages
    assert pipeline.choice in capsys.readouterr().err
    text = str(pipeline.report)
    assert "chosen" in text
    assert "by number of Edge TPUs" in text
    assert [count.num_devices for count in pipeline.frames] == list(range(9))
    assert sum(pipeline.replicas) <= 4
    x = np.zeros((2, 4, 4, 8), np.int8)
    assert pipeline.predict(x).shape == (2, 4, 4, 8)


def test_replicas_are_saved_loaded_predicted_simulated_and_drawn(model, tmp_path):
    pipeline = respect_tf.convert(
        model, 2, num_devices=4, device=FAST_HOST, compile=False, verbose=0
    )
    assert pipeline.replicas == (2, 2)
    assert pipeline.prediction.replicas == pipeline.replicas
    loaded = respect_tf.load(pipeline.save(tmp_path / "out", verbose=0))
    assert loaded.replicas == pipeline.replicas
    assert loaded.frames == pipeline.frames
    manifest = json.loads((tmp_path / "out" / "pipeline.json").read_text("utf-8"))
    assert manifest["replicas"] == list(pipeline.replicas)
    simulation = loaded.simulate(400)
    assert simulation.interval_ms == pytest.approx(loaded.prediction.interval_ms, rel=0.01)
    assert "TPU 2" in (tmp_path / "out" / "report.html").read_text("utf-8")
    loaded.plot_pipeline(path=tmp_path / "pipeline.svg")
    trace = json.loads(loaded.to_chrome_trace(tmp_path / "trace.json").read_text())
    rows = {event["tid"] for event in trace["traceEvents"] if event["ph"] == "X"}
    assert len(rows) == 4
    stages = json.loads(loaded.to_model_explorer(tmp_path / "overlays")["stage"].read_text())
    assert any("Edge TPUs" in entry["value"] for entry in stages["results"].values())


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_segments": "car"}, '"auto"'),
        ({"num_segments": 0}, "num_segments"),
        ({"num_devices": 0}, "without an Edge TPU"),
        ({"num_devices": "all"}, '"attached"'),
        ({"num_devices": 1.5}, "num_devices"),
        ({"num_segments": 3, "num_devices": 2}, "3 segments need as many"),
    ],
)
def test_numbers_that_do_not_fit(model, arguments, match):
    with pytest.raises(ArgumentError, match=match):
        respect_tf.convert(model, compile=False, verbose=0, **arguments)


def test_attached_asks_the_machine(model, monkeypatch):
    monkeypatch.setattr("respect_tf._choosing.list_edge_tpus", lambda: ("usb:0", "usb:1"))
    pipeline = respect_tf.convert(
        model, num_devices="attached", device="usb3-pi5", compile=False, verbose=0
    )
    assert 1 <= sum(pipeline.replicas) <= 2
    assert respect_tf.plan(model, "attached", device="usb3-pi5", verbose=0).num_devices == 2
    monkeypatch.setattr("respect_tf._choosing.list_edge_tpus", tuple)
    with pytest.raises(DeviceError, match="No Edge TPU is attached"):
        respect_tf.convert(model, num_devices="attached", compile=False, verbose=0)
    with pytest.raises(DeviceError, match="No Edge TPU is attached"):
        respect_tf.plan(model, "attached", verbose=0)


@pytest.mark.parametrize("scheduler", ["slicing", "compiler", "policy-greedy", "exact"])
def test_every_scheduler_can_cut_what_is_planned(model, scheduler):
    pipeline = respect_tf.convert(
        model, scheduler=scheduler, device="usb3-pi5", compile=False, verify=False, verbose=0
    )
    assert len(pipeline.replicas) == len(pipeline.segments)


def test_memory_uses_all_devices(model):
    pipeline = respect_tf.convert(
        model, num_devices=3, objective="memory", compile=False, verify=False, verbose=0
    )
    assert pipeline.replicas == (1, 1, 1)


def test_the_command_line_plans_and_converts(path, tmp_path):
    result = CliRunner().invoke(main, ["plan", str(path), "-d", "3", "--fps", "1", "--json", "-q"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found["rows"]) == 4
    assert found["wanted"]["num_devices"] is not None
    result = CliRunner().invoke(main, ["plan", str(path), "-d", "2", "--fps", "1e9"])
    assert "more than 2" in result.stdout
    folder = tmp_path / "out"
    result = CliRunner().invoke(
        main, ["convert", str(path), "-d", "3", "-o", str(folder), "--compile", "no", "-q"]
    )
    assert result.exit_code == 0, result.output
    assert sum(respect_tf.load(folder).replicas) <= 3
    result = CliRunner().invoke(main, ["convert", str(path), "-n", "car"])
    assert result.exit_code == 2


def test_runners_have_the_replicas_that_there_are_devices_for(model, monkeypatch):
    pipeline = respect_tf.convert(
        model, 2, num_devices=4, device=FAST_HOST, compile=False, verbose=0
    )
    seen = []
    monkeypatch.setattr(
        "respect_tf._pipeline.create_runner",
        lambda *args, replicas, **options: seen.append(tuple(replicas)),
    )
    monkeypatch.setattr("respect_tf._at_hand.list_edge_tpus", lambda: ("usb:0", "usb:1", "usb:2"))
    for options in (
        {},
        {"device": "cpu"},
        {"devices": ["pci:0", "pci:1"]},
        {"backend": "pycoral"},
        {"reset_states": False},
        {"replicas": (1, 2)},
    ):
        pipeline.runner(**options)
    assert sum(seen[0]) <= 3
    assert seen[1:] == [(2, 2), (1, 1), (1, 1), (1, 1), (1, 2)]


def test_without_the_edge_tpu_runtime_auto_means_the_cpu(model, monkeypatch):
    def absent():
        raise DeviceError("libedgetpu cannot be loaded")

    monkeypatch.setattr("respect_tf._at_hand.list_edge_tpus", absent)
    pipeline = respect_tf.convert(model, num_devices=2, device=FAST_HOST, compile=False, verbose=0)
    assert pipeline.replicas == (2,)
    x = np.zeros((3, 4, 4, 8), np.int8)
    with pipeline.runner(verbose=0) as runner:
        assert np.array_equal(pipeline.predict(x, runner=runner), pipeline.predict(x))
    with pytest.raises(DeviceError, match="cannot be loaded"):
        pipeline.runner("edgetpu", verbose=0)


def test_a_runner_with_replicas_gives_what_predict_gives(model):
    pipeline = respect_tf.convert(
        model, 2, num_devices=4, device=FAST_HOST, compile=False, verbose=0
    )
    x = np.random.default_rng(0).integers(-128, 128, (7, 4, 4, 8)).astype(np.int8)
    with pipeline.runner("cpu") as runner:
        assert np.array_equal(pipeline.predict(x, runner=runner), pipeline.predict(x))


def test_a_model_with_an_op_for_the_host_is_planned_around_it():
    builder = ModelBuilder()
    tensor = builder.input("image")
    tensor = builder.conv(tensor)
    after = builder._map(builder.channels(tensor))
    builder.op("GELU", [tensor], [after], schema().GeluOptionsT())
    model = builder.build([builder.conv(builder.conv(after))])
    plan = respect_tf.plan(model, 3, device="usb3-pi5", verbose=0)
    assert plan.copies == ()
    best = plan.best
    assert best.schedule.cpu_stages
    assert all(best.replicas[stage] == 1 for stage in best.schedule.cpu_stages)
    assert best.num_used == sum(best.replicas) - len(best.schedule.cpu_stages) <= 3
    assert "copies" not in str(plan).splitlines()[2]
    pipeline = plan.convert(compile=False, verbose=0)
    assert pipeline.replicas == best.replicas
    assert [segment.on_cpu for segment in pipeline.segments].count(True) >= 1


def test_a_planned_pipeline_says_what_the_network_alone_would_have_given():
    builder = ModelBuilder()
    tensor = builder.conv(builder.input(), 512)
    for _ in range(3):
        tensor = builder.conv(tensor, 512)
    usb2 = EdgeTpu.preset("usb2-pi3")
    small = dataclasses.replace(usb2, tile_bytes=512 * 64.0, stage_ms=0.0, bus_ms_per_mib=0.0)
    pipeline = respect_tf.convert(
        builder.build([tensor]), num_devices=3, device=small, compile=False, verbose=0
    )
    schedule = pipeline.schedule
    assert schedule.num_stages > 1
    assert schedule.proposal_cost >= schedule.cost
    assert "by the network alone" in str(pipeline.report)
    whole = respect_tf.convert(builder.build([tensor]), num_devices=1, compile=False, verbose=0)
    assert whole.schedule.proposal_cost is None
