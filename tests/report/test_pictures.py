"""Figures, layout, trace and overlays."""

import dataclasses
import itertools
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from model_builder import ModelBuilder

from respect_tf import ArgumentError, OpGraph, SavedPipelineError
from respect_tf._convert import segment_at
from respect_tf.device import EdgeTpu, StageTimes
from respect_tf.report import (
    PlacedGraph,
    draw_figure,
    draw_gantt,
    memory_picture,
    schedule_picture,
)
from respect_tf.report._colours import stage_colour, text_colour
from respect_tf.report._gantt import bus_bars
from respect_tf.report._layout import _spread, lay_out
from respect_tf.run import simulate


def _model():
    builder = ModelBuilder()
    first, second = builder.input("left"), builder.input("right")
    tensor = builder.conv(builder.add(builder.conv(first), second))
    for _ in range(3):
        tensor = builder.add(builder.conv(tensor), tensor)
    return builder.build([tensor, builder.conv(first)])


_STAGES = [0, 0, 1, 1, 1, 2, 2, 2, 2, 2]


@pytest.fixture(scope="module")
def pipeline():
    return segment_at(_model(), stages=_STAGES, verify=False, verbose=0)


def _random_graph(num_ops, num_stages, seed):
    random = np.random.default_rng(seed)
    edges = [(int(random.integers(max(0, v - 9), v)), v) for v in range(1, num_ops) for _ in "ab"]
    graph = OpGraph.from_arrays(
        random.integers(0, 9999, num_ops), random.integers(1, 99, num_ops), edges
    )
    return graph, np.sort(random.integers(0, num_stages, num_ops)).astype(np.int32)


# Layout


@pytest.mark.parametrize(("num_ops", "num_stages", "seed"), [(40, 3, 0), (300, 5, 1), (800, 4, 2)])
def test_ops_lie_in_the_band_of_their_stage_and_apart_from_each_other(num_ops, num_stages, seed):
    graph, stages = _random_graph(num_ops, num_stages, seed)
    layout = lay_out(graph, stages)
    for band in layout.bands:
        y = layout.y[stages == band.stage]
        assert np.all((band.top < y - 0.42) & (y + 0.42 < band.bottom))
    for above, below in zip(layout.bands, layout.bands[1:], strict=False):
        assert above.bottom < below.top
    assert np.all((layout.x >= 0.5) & (layout.x <= layout.width - 0.5))
    places = np.stack([layout.x, layout.y], axis=1)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    assert distances[~np.eye(num_ops, dtype=bool)].min() > 0.99


def test_lines_stay_inside_and_connect_every_reader_with_what_it_reads():
    graph, stages = _random_graph(120, 3, 3)
    layout = lay_out(graph, stages)
    corners = np.array([point for link in layout.links for point in link.points])
    assert np.all(corners >= 0)
    assert np.all(corners <= [layout.width, layout.height])
    step = {}  # where a line from an op leads on to
    for link in layout.links:
        step.setdefault((link.source, link.points[0]), []).append(link.points[-1])
    for maker, reader in graph.edges.tolist():
        reached, open_ends = set(), [(layout.x[maker], layout.y[maker])]
        while open_ends:
            reached |= set(open_ends)
            open_ends = [to for place in open_ends for to in step.get((maker, place), [])]
        assert (layout.x[reader], layout.y[reader]) in reached


def test_lines_that_cross_are_those_of_tensors_that_cross():
    graph, stages = _random_graph(60, 3, 4)
    crossing = {int(u) for u, v in graph.edges if stages[u] != stages[v]}
    assert {link.source for link in lay_out(graph, stages).links if link.crosses} == crossing


def test_no_line_runs_behind_an_op():
    # a -> b -> c and a -> c: the long edge passes b on a track of its own.
    graph = OpGraph.from_arrays([1, 1, 1], [1, 1, 1], [(0, 1), (1, 2), (0, 2)])
    layout = lay_out(graph, np.zeros(3, np.int32))
    passing = [p for link in layout.links for p in link.points if p[0] == layout.x[1]]
    assert {abs(y - layout.y[1]) for _, y in passing} == {0.0, 1.0}


def test_a_graph_of_long_connections_takes_bounded_time_and_room():
    num_ops = 1500
    edges = [(v - 1, v) for v in range(1, num_ops)] + [(v, num_ops - 1) for v in range(num_ops - 2)]
    graph = OpGraph.from_arrays(np.ones(num_ops), np.ones(num_ops), edges)
    assert len(lay_out(graph, np.zeros(num_ops, np.int32)).links) < 40 * num_ops


def test_spread_moves_points_as_little_as_possible():
    assert _spread([0.0, 0.0]) == [-0.5, 0.5]
    assert _spread([0.0, 5.0, 5.0, 9.0]) == [0.0, 4.5, 5.5, 9.0]
    assert _spread([]) == []


# Figures


def test_figures_are_drawn_without_pyplot_and_show_themselves(pipeline, tmp_path):
    for draw in (pipeline.plot_schedule, pipeline.plot_memory, pipeline.plot_pipeline):
        figure = draw(path=tmp_path / "a.svg")
        draw(path=tmp_path / "b.svg")
        assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
        ET.fromstring((tmp_path / "a.svg").read_text())
        assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_figure_can_be_drawn_into_axes(pipeline):
    from matplotlib.figure import Figure

    mine = Figure()
    axes = mine.subplots(3)
    assert pipeline.plot_schedule(ax=axes[0]) is mine
    assert pipeline.plot_memory(ax=axes[1]) is mine
    assert pipeline.plot_pipeline(ax=axes[2]) is mine


def test_memory_bars_add_up_to_what_is_predicted(pipeline):
    on_device = [stage.on_device for stage in pipeline.report.stages]
    room = pipeline._placed.room_bytes
    for strip, stage in zip(memory_picture(on_device, room).strips, on_device, strict=True):
        *bars, limit = strip.shapes
        predicted = stage.predicted
        expected = predicted.cost.activation_bytes + predicted.stored_bytes
        assert limit.style == "room"
        assert sum(bar.width for bar in bars) / limit.x == pytest.approx(expected / room)


def test_any_graph_can_be_drawn_in_its_stages():
    graph, stages = _random_graph(50, 12, 5)  # more stages than colours
    figure = draw_figure(schedule_picture(PlacedGraph.of(graph, stages, "usb3")))
    text = [entry.get_text() for entry in figure.axes[0].texts]
    assert len(text) == len(set(stages.tolist()))
    assert text[0].startswith("stage 0: ")


def test_an_unknown_format_is_refused(pipeline, tmp_path):
    with pytest.raises(ArgumentError, match=r"\.svg"):
        pipeline.plot_memory(path=tmp_path / "picture.xyz")


def test_colours_of_neighbouring_stages_differ_and_their_text_can_be_read():
    assert all(stage_colour(stage) != stage_colour(stage + 1) for stage in range(20))
    assert text_colour("#0072B2") == "#ffffff"
    assert text_colour("#F0E442") == "#000000"


# Gantt and trace


def test_the_gantt_shows_the_steady_state_with_the_bottleneck(pipeline):
    gantt = draw_gantt(pipeline._placed.prediction)
    assert gantt.bottleneck == pipeline.report.speed.limited_by
    assert gantt.end_ms - gantt.start_ms == pytest.approx(6 * gantt.simulation.interval_ms)
    assert {bar.stage for bar in gantt.bars if bar.input == gantt.highlighted} == {0, 1, 2}
    assert all(b.start_ms < gantt.end_ms and b.end_ms > gantt.start_ms for b in gantt.bars)


def test_the_gantt_from_the_first_input_shows_the_pipeline_filling(pipeline):
    gantt = draw_gantt(pipeline._placed.prediction, first=0, num_inputs=2)
    assert gantt.start_ms == gantt.simulation.start_ms[0, 0]
    assert gantt.end_ms == gantt.simulation.end_ms[1, -1]


@pytest.mark.parametrize("wrong", [{"first": -1}, {"num_inputs": 0}, {"first": 0.5}])
def test_the_gantt_refuses_numbers_out_of_range(pipeline, wrong):
    with pytest.raises(ArgumentError):
        pipeline.plot_pipeline(**wrong)


def test_a_slow_bus_is_the_bottleneck_and_gets_a_row(pipeline):
    device = dataclasses.replace(EdgeTpu.preset("usb3-pi5"), bus_ms_per_mib=1e5)
    gantt = draw_gantt(PlacedGraph.of(pipeline.graph, _STAGES, device).prediction)
    assert gantt.bottleneck == "bus"
    busy = [bar for bar in gantt.bars if gantt.label(bar.stage) == "bus"]
    shown = sum(min(b.end_ms, gantt.end_ms) - max(b.start_ms, gantt.start_ms) for b in busy)
    assert shown == pytest.approx(gantt.end_ms - gantt.start_ms, rel=0.01)


def test_the_bus_is_replayed_as_the_simulator_played_it():
    stages = [StageTimes(busy_ms=2.0, alone_ms=2.0, bus_ms=bus) for bus in (3.0, 1.0, 4.0)]
    simulation = simulate(stages, 30)
    begun = sorted(simulation.gantt(0, 30), key=lambda bar: (bar.start_ms, -bar.stage))
    done = {
        (bar.input, bar.stage): bus.end_ms
        for bus, bar in zip(bus_bars(simulation), begun, strict=True)
    }
    for (index, stage), free in done.items():
        if 5 < index < 25:
            end = simulation.end_ms[index, stage]
            assert end == pytest.approx(max(free, simulation.start_ms[index, stage] + 2.0))


def test_the_trace_holds_every_inference_in_microseconds(pipeline, tmp_path):
    path = pipeline.to_chrome_trace(tmp_path / "new" / "trace.json", 5)
    events = json.loads(path.read_text())["traceEvents"]
    bars = [event for event in events if event.get("cat") == "inference"]
    assert len(bars) == 5 * 3
    simulation = pipeline.simulate(5)
    for event in bars:
        start = simulation.start_ms[event["args"]["input"], event["tid"]]
        assert event["ts"] == pytest.approx(1000 * start)
    names = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert names == ["stage 0", "stage 1", "stage 2"]
    # An arrow is bound to the bar that its time lies in.
    for event in events:
        if event["ph"] in "stf":
            [bar] = [
                b for b in bars if b["tid"] == event["tid"] and b["args"]["input"] == event["id"]
            ]
            assert bar["ts"] <= event["ts"] <= bar["ts"] + bar["dur"]


def test_the_parts_of_an_inference_fill_its_bar(pipeline, tmp_path):
    path = pipeline.to_chrome_trace(tmp_path / "trace.json", 4)
    events = json.loads(path.read_text())["traceEvents"]
    bars = [event for event in events if event.get("cat") == "inference"]
    parts = [event for event in events if event.get("cat") == "part"]
    assert {"input", "compute", "output"} <= {part["name"] for part in parts}
    for bar in bars:
        end = bar["ts"] + bar["dur"]
        own = [
            part
            for part in parts
            if part["tid"] == bar["tid"] and bar["ts"] - 1e-6 <= part["ts"] < end - 1e-6
        ]
        assert sum(part["dur"] for part in own) == pytest.approx(bar["dur"])
        assert own[0]["ts"] == pytest.approx(bar["ts"])
        for before, after in itertools.pairwise(own):
            assert after["ts"] == pytest.approx(before["ts"] + before["dur"])
        cost = pipeline.prediction.stages[bar["tid"]].cost
        compute = [part["dur"] for part in own if part["name"] == "compute"]
        assert compute == pytest.approx([1000 * cost.compute_ms] if cost.compute_ms else [])


def test_a_trace_that_cannot_be_written_is_an_error_of_ours(pipeline, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SavedPipelineError, match="cannot be written"):
        pipeline.to_chrome_trace(tmp_path / "file" / "trace.json", 2)


# Model Explorer


def test_overlays_say_stage_time_bytes_and_device_of_every_op(pipeline, tmp_path):
    paths = pipeline.to_model_explorer(tmp_path / "overlay.json")
    assert paths["stage"] == (tmp_path / "overlay.json").resolve()
    assert {path.name for path in paths.values()} == {
        "overlay.json", "overlay_ms.json", "overlay_bytes.json", "overlay_device.json"
    }  # fmt: skip
    overlays = {name: json.loads(path.read_text()) for name, path in paths.items()}
    for op, stage in enumerate(_STAGES):
        values = {name: data["results"][str(op)]["value"] for name, data in overlays.items()}
        assert values["stage"] == f"stage {stage}"
        assert values["bytes"] == pipeline.graph.parameter_bytes[op]
        assert values["device"] == "Edge TPU"
    for stage, report in enumerate(pipeline.report.stages):
        ops = [str(op) for op, other in enumerate(_STAGES) if other == stage]
        total = sum(overlays["ms"]["results"][op]["value"] for op in ops)
        time = report.on_device.predicted.cost
        assert total == pytest.approx(time.compute_ms + time.stream_ms + time.cpu_ms, abs=1e-4)


def test_ops_on_the_cpu_are_marked(tmp_path):
    builder = ModelBuilder()
    tensor = builder.conv(builder.input("image"))
    builder.op("ABS", [tensor], [made := builder._map(8)])
    pipeline = segment_at(
        builder.build([builder.conv(made)]), stages=[0, 0, 1], verify=False, verbose=0
    )
    paths = pipeline.to_model_explorer(tmp_path / "folder")
    results = json.loads(paths["device"].read_text())["results"]
    assert [results[str(op)]["value"] for op in range(3)] == ["Edge TPU", "CPU", "Edge TPU"]
    assert 'class="cpu"' in pipeline.report.to_html()
    legend = pipeline.plot_schedule().axes[0].get_legend()
    assert "op on the CPU" in [text.get_text() for text in legend.get_texts()]


def test_the_real_reader_finds_our_keys_and_our_fields(pipeline, tmp_path):
    explorer = pytest.importorskip("model_explorer")
    from model_explorer.builtin_tflite_flatbuffer_adapter import BuiltinTfliteFlatbufferAdapter
    from model_explorer.node_data_builder import GraphNodeData, NodeDataResult

    path = tmp_path / "model.tflite"
    path.write_bytes(pipeline.model)
    [collection] = BuiltinTfliteFlatbufferAdapter().convert(str(path), {})["graphCollections"]
    nodes = {node["id"]: node["label"] for node in collection.graphs[0]["nodes"]}
    overlays = pipeline.to_model_explorer(tmp_path)
    config = explorer.config()
    config.add_model_from_path(str(path))
    for overlay in overlays.values():
        data = GraphNodeData(**json.loads(overlay.read_text()))
        for op, result in data.results.items():
            assert nodes[op].upper() == pipeline.graph.op_types[int(op)]
            NodeDataResult(**result)
        config.add_node_data_from_path(str(overlay))
    assert len(config.node_data_sources) == len(overlays)
