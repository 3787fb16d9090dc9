"""Estimates of architectures against the models that converting them makes.

    python -m benchmarks estimate

One model of every family of `keras.applications`, at 96 x 96 pixels so that converting all of them
takes minutes, and the architectures of the coverage benchmark.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from benchmarks._tables import markdown, update_page, write_results

FAMILIES = (
    "ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionResNetV2",
    "InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small",
    "NASNetMobile", "ResNet50", "ResNet152", "ResNet50V2", "VGG16", "Xception",
)  # fmt: skip
_SIZE = 96
_TOGETHER = 8  # models per process
_HOST = "usb3-pi5"


def main() -> None:
    """Compare, several models in a process, and write `results/estimate.md`."""
    names = [*FAMILIES, *_architectures()]
    rows: list[dict[str, Any]] = []
    for start in range(0, len(names), _TOGETHER):
        group = names[start : start + _TOGETHER]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.estimate", *group],
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        rows += found + [{"model": name, "derived": "failed"} for name in group[len(found) :]]
    known = [row for row in rows if row.get("derived")]
    equal = [row for row in known if row["equal"]]
    near = [
        row for row in known if row["fps / converted"] and 0.97 <= row["fps / converted"] <= 1.03
    ]
    columns = ("model", "derived", "ops", "equal", "fps / converted", "graph s", "estimate s")
    write_results(
        "estimate",
        "Estimates against converted models",
        [{column: row.get(column, "") for column in columns} for row in rows],
        f"Of {len(rows)} models, {len(known)} are derived from their layers; the others hold a "
        "layer that is not known, and are converted. Equal are those with the same ops, parameter "
        f"bytes and multiply-accumulates: {len(equal)} of {len(known)}. Frames per second of the "
        f"best plan for up to four devices ({_HOST}) are within 3 % for {len(near)}. Seconds are "
        "CPU seconds, of deriving the graph and of the whole estimate.",
    )
    update_page("estimate", markdown([{
        "models": len(rows), "derived": len(known), "equal": len(equal), "within 3 %": len(near),
        "slowest graph, CPU s": max(row["graph s"] for row in known),
    }]))  # fmt: skip


def compare(name: str) -> dict[str, Any]:
    """The row of one model."""
    import numpy as np

    import respect_tf
    from respect_tf import OpGraph
    from respect_tf.graph.lowering import UnknownLayerError, lower
    from respect_tf.tflite import to_int8

    model, samples = _model(name)
    started = time.process_time()
    try:
        graph = lower(model, trained=False)
    except UnknownLayerError:
        return {"model": name, "derived": False}
    seconds = time.process_time() - started
    started = time.process_time()
    found = respect_tf.estimate(model, 4, device=_HOST, verbose=0)
    estimated = time.process_time() - started
    converted = OpGraph.from_tflite(to_int8(model, samples, strict=False, verbose=0).content)
    equal = sorted(graph.op_types) == sorted(converted.op_types) and all(
        np.array_equal(np.sort(getattr(graph, name)), np.sort(getattr(converted, name)))
        for name in ("parameter_bytes", "macs")
    )
    planned = respect_tf.plan(converted, 4, device=_HOST, verbose=0)
    return {
        "model": name,
        "derived": True,
        "ops": f"{graph.num_ops} / {converted.num_ops}",
        "equal": equal,
        "fps / converted": found.best.frames_per_second / planned.best.frames_per_second,
        "graph s": round(seconds, 3),
        "estimate s": round(estimated, 3),
    }


def _model(name: str) -> tuple[Any, Any]:
    """A model and samples to calibrate it with."""
    if name in FAMILIES:
        from examples.applications import build_application, calibration_samples

        shape = (_SIZE, _SIZE, 3)
        samples = calibration_samples(name, 2, input_shape=shape)
        return build_application(name, input_shape=shape), samples
    from respect_tf._architecture import random_samples
    from respect_tf.tflite import open_source

    model = _architectures()[name]()
    return model, random_samples(open_source(model))


def _architectures() -> dict[str, Any]:
    from benchmarks._architectures_classes import CLASSES
    from benchmarks._architectures_maps import MAPS
    from benchmarks._architectures_series import SERIES

    return {**MAPS, **CLASSES, **SERIES}


if __name__ == "__main__":
    for model_name in sys.argv[1:]:
        print(json.dumps(compare(model_name)), flush=True)
