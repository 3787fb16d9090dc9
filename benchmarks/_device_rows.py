"""Rows of the device model's tables, and the Keras networks that were measured in segments."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import Any

from benchmarks._device_data import DATA
from benchmarks._models import int8_model
from respect_tf.graph import OpGraph

Row = dict[str, Any]
Network = tuple[OpGraph, list[dict[str, str]], list[list[int]]]

_NETWORKS = {"resnet50": "ResNet50", "inceptionv3": "InceptionV3", "densenet201": "DenseNet201"}


def table_row(
    kind: str, count: int, unit: str, columns: Sequence[str], figures: dict[str, float]
) -> Row:
    """A row whose figures are shares; columns without a figure stay empty."""
    shown = {name: f"{figures[name]:.1%}" if name in figures else "" for name in columns}
    return {"kind": kind, "count": count, "of": unit, **shown}


def measured_networks() -> dict[str, Network]:
    """Each network, its measured segments, and the ops of each, by the measurements' name."""
    return {name: _network(name) for name in _NETWORKS}


def _network(name: str) -> Network:
    graph = OpGraph.from_tflite(int8_model(_NETWORKS[name]))
    with (DATA / "measurements" / "measured_segments_usb3.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == name]
    segments, start = [], 0
    for row in rows:
        layer = re.compile(rf"(^|/){row['last_layer']}(_\d+)?(/|$|;)")
        ends = [op for op in range(graph.num_ops) if layer.search(graph.op_names[op])]
        end = ends[0] if ends else graph.num_ops - 1
        segments.append(list(range(start, end + 1)))
        start = end + 1
    return graph, rows, segments
