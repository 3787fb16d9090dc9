"""Overlays for Google's Model Explorer (PyPI: ai-edge-model-explorer).

Format: `GraphNodeData` in the package's `node_data_builder.py`. Its reader of .tflite files numbers
the nodes as the ops of the file, so an op's index is its key. The files name no graph, so they fit
whatever the model's graph is called there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from respect_tf.report._colours import stage_colour, text_colour
from respect_tf.report._placed_graph import PlacedGraph

_ON_TPU, _STREAMED, _ON_CPU = "Edge TPU", "Edge TPU, parameters streamed", "CPU"
_DEVICE_COLOURS = {_ON_TPU: "#56B4E9", _STREAMED: "#E69F00", _ON_CPU: "#D55E00"}
_GRADIENT = ({"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#D55E00"})


def model_explorer_overlays(placed: PlacedGraph) -> dict[str, str]:
    """The stage of every op, its ms, its parameter bytes, and where it runs.

    Args:
        placed: The graph in stages; its ops are those of a .tflite file.

    Returns:
        "stage", "ms", "bytes" and "device", each with the JSON of one overlay for the whole model.
    """
    stages = placed.stages.tolist()
    devices = np.where(placed.is_streamed, _STREAMED, _ON_TPU)
    where = np.where(placed.on_cpu, _ON_CPU, devices).tolist()
    held = placed.graph.parameter_bytes.tolist()
    return {
        "stage": _by_name(
            "stage", [_stage(placed, stage) for stage in stages], [stage_colour(s) for s in stages]
        ),
        "ms": _by_size("ms (predicted)", [round(ms, 6) for ms in placed.op_ms.tolist()]),
        "bytes": _by_size("parameter bytes", held),
        "device": _by_name(
            "CPU or TPU (predicted)", where, [_DEVICE_COLOURS[name] for name in where]
        ),
    }


def _stage(placed: PlacedGraph, stage: int) -> str:
    """A stage, and on how many Edge TPUs it runs if on several."""
    count = placed.prediction.replicas[stage]
    return f"stage {stage}, on {count} Edge TPUs" if count > 1 else f"stage {stage}"


def _by_name(title: str, values: Sequence[str], colours: Sequence[str]) -> str:
    results = {
        str(op): {"value": value, "bgColor": colour, "textColor": text_colour(colour)}
        for op, (value, colour) in enumerate(zip(values, colours, strict=True))
    }
    return _json(
        {
            "name": title,
            "results": results,
            "showExpandedSummaryOnGroupNode": True,
            "showLabelCountColumnsInChildrenStatsTable": True,
        }
    )


def _by_size(title: str, values: Sequence[float]) -> str:
    results = {str(op): {"value": value} for op, value in enumerate(values)}
    data: dict[str, Any] = {"name": title, "results": results}
    if len(set(values)) > 1:  # the reader divides by the range
        data["gradient"] = list(_GRADIENT)
    return _json(data)


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, allow_nan=False, indent=1) + "\n"
