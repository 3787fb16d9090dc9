"""Models with ops that Google's compiler refuses become pipelines whose other segments compile."""

from __future__ import annotations

import json

import numpy as np
import pytest
from flatbuffers import flexbuffers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_builder import ModelBuilder
from random_models import blocked_models

import respect_tf
from respect_tf import OpGraph, QuantizationError, ScheduleError
from respect_tf.device import blocking_reason
from respect_tf.segmentation import check_runner_rules, random_inputs
from respect_tf.tflite import Interpreter, mark_made_here


def _gelu(builder: ModelBuilder, tensor: int) -> int:
    out = builder.tensor(f"gelu_{tensor}", (1, 4, 4, builder.channels(tensor)))
    builder.op("GELU", [tensor], [out])
    return out


def _arg_max(builder: ModelBuilder, tensor: int) -> int:
    axis = builder.tensor("axis", (), "INT32", data=np.array(3, np.int32), scale=None)
    out = builder.tensor("class", (1, 4, 4), "INT64", scale=None)
    options = builder._schema.ArgMaxOptionsT()
    options.outputType = builder._schema.TensorType.INT64
    builder.op("ARG_MAX", [tensor, axis], [out], options, version=2)
    return out


def _float_tail(builder: ModelBuilder, tensor: int) -> int:
    floats = builder.dequantize(tensor)
    out = builder.tensor("squared", (1, 4, 4, builder.channels(tensor)), "FLOAT32", scale=None)
    builder.op("SQUARE", [floats], [out])
    return out


def _detections(builder: ModelBuilder, tensor: int) -> list[int]:
    """TFLite_Detection_PostProcess on four boxes of two classes."""
    shape = builder.tensor("shape", (3,), "INT32", data=np.array([1, 16, 8], np.int32), scale=None)
    boxes = builder.tensor("boxes", (1, 16, 8))
    builder.op("RESHAPE", [tensor, shape], [boxes], builder._schema.ReshapeOptionsT())
    parts = []
    for name, begin, size in (("corners", 0, 4), ("scores", 4, 3)):
        at = [
            builder.tensor(f"{name}_{what}", (3,), "INT32", data=np.array(v, np.int32), scale=None)
            for what, v in (("begin", [0, 0, begin]), ("size", [1, 16, size]))
        ]
        part = builder.tensor(name, (1, 16, size))
        builder.op("SLICE", [boxes, *at], [part], builder._schema.SliceOptionsT())
        parts.append(builder.dequantize(part))
    anchors = np.tile(np.array([[0.5, 0.5, 0.2, 0.2]], np.float32), (16, 1))
    parts.append(builder.tensor("anchors", (16, 4), "FLOAT32", data=anchors, scale=None))
    outs = [
        builder.tensor(name, found, "FLOAT32", scale=None)
        for name, found in (("where", (1, 3, 4)), ("what", (1, 3)), ("how", (1, 3)), ("many", (1,)))
    ]
    options = flexbuffers.Builder()
    with options.Map():
        for name, number in (("max_detections", 3), ("max_classes_per_detection", 1),
                             ("num_classes", 2)):  # fmt: skip
            options.Int(name, number)
        for name, value in (("nms_score_threshold", 0.1), ("nms_iou_threshold", 0.5),
                            ("y_scale", 10.0), ("x_scale", 10.0), ("h_scale", 5.0),
                            ("w_scale", 5.0)):  # fmt: skip
            options.Float(name, value)
    builder.custom_op("TFLite_Detection_PostProcess", parts, outs, options.Finish())
    return outs


def _tail(kind: str) -> bytes:
    builder = ModelBuilder()
    tensor = builder.conv(builder.relu(builder.conv(builder.input("image"))))
    made = {"gelu": _gelu, "arg_max": _arg_max, "float": _float_tail, "detections": _detections}
    out = made[kind](builder, tensor)
    return builder.build(out if isinstance(out, list) else [out])


def _unfit(graph: OpGraph, segment) -> list[int]:
    """Ops of a segment that no segment of an Edge TPU may hold."""
    return [
        op
        for op in segment.ops
        if blocking_reason(graph, op) is not None
        or {
            graph.tensor_dtypes[t]
            for t in [*graph.inputs_of(op), *graph.outputs_of(op)]
            if not graph.is_constant[t]
        }
        - {"int8"}
    ]


def _check(pipeline) -> None:
    """Other segments hold nothing that keeps them from being compiled, and all is proved."""
    assert pipeline.parity is not None
    check_runner_rules(pipeline.segments)
    assert [s.on_cpu for s in pipeline.segments] == [
        stage in pipeline.schedule.cpu_stages for stage in range(pipeline.schedule.num_stages)
    ]
    for segment in pipeline.segments:
        assert segment.on_cpu or not _unfit(pipeline.graph, segment)


@pytest.mark.parametrize("kind", ["gelu", "arg_max", "float", "detections"])
@pytest.mark.parametrize("num_segments", [2, 3])
def test_a_tail_that_cannot_be_compiled_becomes_the_last_segment(kind, num_segments):
    model = _tail(kind)
    mark_made_here(model)
    pipeline = respect_tf.convert(model, num_segments, compile=False, verbose=0)
    _check(pipeline)
    assert pipeline.schedule.cpu_stages == (num_segments - 1,)
    x = np.random.default_rng(0).integers(-128, 128, (3, 4, 4, 8)).astype(np.int8)
    made = pipeline.predict(x)
    first = made if isinstance(made, np.ndarray) else next(iter(made.values()))
    whole = Interpreter(model)
    for row in range(3):
        assert first[row].tobytes() == whole.run([x[row : row + 1]])[0][0].tobytes()


@pytest.mark.parametrize(
    ("before", "after", "num_segments", "cpu_stages"),
    [(0, 2, 2, (0,)), (2, 2, 3, (1,)), (2, 2, 4, None), (1, 0, 2, (1,))],
)
def test_heads_middles_and_tails(before, after, num_segments, cpu_stages):
    builder = ModelBuilder()
    tensor = builder.input("image")
    for _ in range(before):
        tensor = builder.conv(tensor)
    tensor = _gelu(builder, tensor)
    for _ in range(after):
        tensor = builder.conv(tensor)
    model = builder.build([tensor])
    mark_made_here(model)
    pipeline = respect_tf.convert(model, num_segments, compile=False, verbose=0)
    _check(pipeline)
    assert cpu_stages in (None, pipeline.schedule.cpu_stages)


def test_the_report_the_manifest_the_simulator_and_a_saved_folder_say_so(tmp_path):
    pipeline = respect_tf.convert(_tail("gelu"), 3, compile=False, device="usb3-pc", verbose=0)
    text = str(pipeline.report)
    assert "stage 2 runs on the host and is never compiled" in text
    assert "2 (CPU)" in text
    assert "It is in a CPU stage, which is never compiled" in text
    assert pipeline.report.to_dict()["stages"][2]["on_device"]["on_cpu"] is True
    folder = pipeline.save(tmp_path / "saved", verbose=0)
    manifest = json.loads((folder / "pipeline.json").read_text())
    assert [entry["on_cpu"] for entry in manifest["segments"]] == [False, False, True]
    assert "_segment_2_of_3" not in (folder / "compile.sh").read_text()
    loaded = respect_tf.load(folder)
    assert loaded.schedule == pipeline.schedule
    assert loaded.schedule.cpu_stages == (2,)
    simulated = pipeline.simulate(100)
    assert simulated.stages[2].bus_ms == 0
    assert simulated.stages[2].busy_ms == pytest.approx(pipeline.prediction.stages[2].total_ms)
    assert pipeline.prediction.num_devices == 2


def test_too_few_segments_are_refused_with_the_number_that_would_do():
    with pytest.raises(ScheduleError, match=r"GELU.*num_segments=2 or more.*strict=False"):
        respect_tf.convert(_tail("gelu"), 1, compile=False, verbose=0)
    with pytest.raises(QuantizationError, match=r"squared.*float32(.|\n)*num_segments=2 or more"):
        respect_tf.convert(_tail("float"), 1, compile=False, verbose=0)
    for kind in ("gelu", "float"):
        pipeline = respect_tf.convert(_tail(kind), 1, strict=False, compile=False, verbose=0)
        assert pipeline.schedule.cpu_stages == ()


def test_a_model_of_which_nothing_is_left_for_an_edge_tpu_is_refused():
    builder = ModelBuilder()
    image = builder.input("image", dtype="FLOAT32")
    out = builder.tensor("out", (1, 4, 4, 8), "FLOAT32", scale=None)
    builder.op("SQUARE", [image], [out])
    with pytest.raises(QuantizationError, match="Nothing would be left for an Edge TPU"):
        respect_tf.convert(builder.build([out]), 2, compile=False, verbose=0)


def test_the_user_s_own_schedule_has_to_name_its_cpu_stages():
    model = _tail("gelu")
    with pytest.raises(ScheduleError, match=r"cpu_stages=\.\.\."):
        respect_tf.convert(
            model, scheduler=respect_tf.Schedule([0, 0, 0, 1]), compile=False, verbose=0
        )
    given_one = respect_tf.Schedule([0, 0, 0, 1], cpu_stages=[1])
    pipeline = respect_tf.convert(model, scheduler=given_one, compile=False, verbose=0)
    _check(pipeline)
    assert pipeline.segments == respect_tf.segment(model, given_one)


def test_a_warning_says_how_many_segments_would_bring_ops_back():
    builder = ModelBuilder()
    tensor = builder.conv(_gelu(builder, builder.conv(builder.input("image"))))
    model = builder.build([tensor])
    pipeline = respect_tf.convert(model, 2, compile=False, verbose=0)
    (told,) = [warning for warning in pipeline.warnings if "for want of segments" in warning]
    assert "num_segments=3 or more" in told
    pipeline = respect_tf.convert(model, 3, compile=False, verbose=0)
    assert not [warning for warning in pipeline.warnings if "for want of segments" in warning]


def test_without_strict_ops_on_floats_stay_where_they_are_and_blocking_ops_do_not():
    pipeline = respect_tf.convert(_tail("float"), 2, strict=False, compile=False, verbose=0)
    assert pipeline.schedule.cpu_stages == ()
    pipeline = respect_tf.convert(_tail("gelu"), 2, strict=False, compile=False, verbose=0)
    assert pipeline.schedule.cpu_stages == (1,)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_models_with_blocking_ops_are_bit_exact(data):
    model = data.draw(blocked_models(max_ops=8))
    mark_made_here(model)
    graph = OpGraph.from_tflite(model)
    num_segments = data.draw(st.integers(2, 4))
    try:
        pipeline = respect_tf.convert(
            model, num_segments, scheduler="slicing", compile=False, verbose=0
        )
    except (QuantizationError, ScheduleError):
        return  # too few ops or segments, or nothing is left
    _check(pipeline)
    whole = Interpreter(model)
    for inputs in random_inputs(graph, 2):
        made = pipeline.predict(list(inputs))
        made = [made] if isinstance(made, np.ndarray) else list(made.values())
        for left, right in zip(made, whole.run(inputs), strict=True):
            assert left.tobytes() == right.tobytes()


@pytest.mark.parametrize("kind", ["gelu", "float"])
def test_a_plan_counts_edge_tpus_and_not_cpu_stages(kind):
    pipeline = respect_tf.convert(_tail(kind), num_devices=2, compile=False, verbose=0)
    _check(pipeline)
    assert len(pipeline.schedule.cpu_stages) == 1
    on_host = pipeline.schedule.cpu_stages[0]
    assert pipeline.replicas[on_host] == 1
    assert 1 <= sum(pipeline.replicas) - 1 <= 2
    plan = respect_tf.plan(_tail("gelu"), 1)
    assert plan.best.num_used == 1
    assert plan.best.num_segments == 2
    assert plan.best.schedule.cpu_stages == (1,)


def test_a_segment_of_which_nothing_is_mapped_needs_no_edge_tpu():
    builder = ModelBuilder()
    tensor = builder.input("image", channels=64)
    for _ in range(2):
        tensor = builder.conv(tensor, 2048)
    for number in range(2):
        made = builder.tensor(f"swish_{number}", (1, 4, 4, 2048))
        builder.op("HARD_SWISH", [tensor], [made])
        tensor = made
    model = builder.build([tensor])
    pipeline = respect_tf.convert(
        model, 4, rewrite="off", compile=False, device="usb3-pc", verbose=0
    )
    _check(pipeline)
    assert pipeline.schedule.cpu_stages == (2, 3)
    assert pipeline.prediction.num_devices == 2
