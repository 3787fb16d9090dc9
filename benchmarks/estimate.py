"""Estimates of architectures against the models that converting them makes.

    python -m benchmarks estimate

One model of every family of `keras.applications` at its own size, ResNet152, and the architectures
of the coverage benchmark. Converted models are kept, see `_models`, so that a run that was stopped
goes on where it was; `estimate.main(names)` compares some of them only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks._tables import markdown, update_page, write_results

FAMILIES = (
    "MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "ResNet50", "ResNet50V2",
    "ResNet152", "DenseNet121", "Xception", "EfficientNetB0", "EfficientNetV2B0", "InceptionV3",
    "InceptionResNetV2", "NASNetMobile", "VGG16", "VGG19", "ConvNeXtTiny",
)  # fmt: skip
_TOGETHER = 8  # models per process
_HOST = "usb3-pi5"
_NUM_DEVICES = 4


def main() -> None:
    """Compare, several models in a process, and write `results/estimate.md`."""
    write_table(_rows([*_architectures(), *FAMILIES]))


def write_table(rows: Sequence[dict[str, Any]]) -> None:
    """Write `results/estimate.md` and the block of `docs/measured.md`."""
    known = [row for row in rows if row["derived"] == "yes"]
    equal = [row for row in known if row["equal"]]
    near = [
        row for row in known if row["fps / converted"] and abs(row["fps / converted"] - 1) <= 0.03
    ]
    slowest = max(known, key=lambda row: row["graph s"])
    columns = (
        "model", "derived", "ops", "parameter bytes", "MACs", "equal", "fps / converted", "graph s",
        "estimate s",
    )  # fmt: skip
    write_results(
        "estimate",
        "Estimates against converted models",
        [{column: row.get(column, "") for column in columns} for row in rows],
        f"Of {len(rows)} models, {len(known)} are derived from their layers; the others hold what "
        'is named under "derived", and are converted. Derived / converted: ops, parameter bytes '
        f"and multiply-accumulates. Equal are those whose ops are of the same types, with the same "
        f"parameter bytes and multiply-accumulates op by op: {len(equal)} of {len(known)}. Frames "
        f"per second of the best plan for up to {_NUM_DEVICES} devices ({_HOST}), estimate by plan "
        f"of the converted model, are within 3 % for {len(near)}. Seconds are CPU seconds, of "
        "deriving the graph and of the whole estimate.",
    )
    update_page("estimate", markdown([{
        "models": len(rows), "derived": len(known), "equal": len(equal), "within 3 %": len(near),
        "ResNet152's graph, CPU s": next(
            row["graph s"] for row in rows if row["model"] == "ResNet152"
        ),
        "slowest graph, CPU s": f"{slowest['graph s']} ({slowest['model']})",
    }]))  # fmt: skip


def _rows(names: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for start in range(0, len(names), _TOGETHER):
        left = list(names[start : start + _TOGETHER])
        while left:  # a process that dies takes one model with it
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.estimate", *left],
                stdout=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
            found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            rows += found
            if len(found) < len(left):
                rows.append({"model": left[len(found)], "derived": "failed"})
            left = left[len(found) + 1 :]
    return rows


def compare(name: str) -> dict[str, Any]:
    """The row of one model."""
    import numpy as np

    import respect_tf
    from benchmarks._models import converted
    from respect_tf import OpGraph
    from respect_tf.graph.lowering import UnknownLayerError, lower

    model = _model(name)
    started = time.process_time()
    try:
        graph = lower(model, trained=False)
    except UnknownLayerError as error:
        return {"model": name, "derived": f"no: {error.what}"}
    seconds = time.process_time() - started
    started = time.process_time()
    found = respect_tf.estimate(model, _NUM_DEVICES, device=_HOST, verbose=0)
    estimated = time.process_time() - started
    path = converted(name.replace(" ", "_"), model, _samples(name, model), strict=False)
    graph_of_file = OpGraph.from_tflite(path)
    planned = respect_tf.plan(graph_of_file, _NUM_DEVICES, device=_HOST, verbose=0)
    graphs = (graph, graph_of_file)
    equal = sorted(graph.op_types) == sorted(graph_of_file.op_types) and all(
        np.array_equal(*(np.sort(getattr(g, figure)) for g in graphs))
        for figure in ("parameter_bytes", "macs")
    )
    return {
        "model": name,
        "derived": "yes",
        "ops": " / ".join(f"{g.num_ops}" for g in graphs),
        "parameter bytes": " / ".join(f"{g.parameter_bytes.sum():,}" for g in graphs),
        "MACs": " / ".join(f"{g.macs.sum():,}" for g in graphs),
        "equal": equal,
        "fps / converted": found.best.frames_per_second / planned.best.frames_per_second,
        "graph s": round(seconds, 3),
        "estimate s": round(estimated, 3),
    }


def _model(name: str) -> Any:
    import keras

    from benchmarks._models import application

    if name in FAMILIES:
        return application(name)[0]
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    return _architectures()[name]()


def _samples(name: str, model: Any) -> Any:
    """What to calibrate a model with."""
    from benchmarks._models import application_samples
    from respect_tf._architecture import random_samples
    from respect_tf.tflite import open_source

    if name in FAMILIES:
        return application_samples(name, model)
    return random_samples(open_source(model))


def _architectures() -> dict[str, Any]:
    from benchmarks._architectures_classes import CLASSES
    from benchmarks._architectures_maps import MAPS
    from benchmarks._architectures_series import SERIES

    return {**MAPS, **CLASSES, **SERIES}


if __name__ == "__main__":
    for model_name in sys.argv[1:]:
        print(json.dumps(compare(model_name)), flush=True)
