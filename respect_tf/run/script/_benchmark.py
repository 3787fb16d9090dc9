"""How long segments take on their devices."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from respect_tf.run.script._folder import SavedFolder, write_whole
from respect_tf.run.script._samples import Samples
from respect_tf.run.script._stages import LoadedModel

CSV_COLUMNS = (
    "segment",
    "model",  # the uncompiled model, relative to the CSV file; of a pipeline, all with "|" between
    "device",
    "ops",  # indices in the whole model, separated by spaces
    "runs",
    "ms",  # median time of an invocation
    "min_ms",
    "p90_ms",
    "max_ms",
    "first_ms",  # the first invocation, which loads the parameters
)
PIPELINE = "all"  # the segment of the row for all segments at once: the time between two results


def invoke_all(
    folder: SavedFolder, models: Sequence[LoadedModel], sample: dict[str, Any]
) -> list[float]:
    """Run all segments one after another; the seconds that each invocation took."""
    values = dict(sample)
    seconds = []
    for segment, model in zip(folder.segments, models):
        inputs = [values[tensor["name"]] for tensor in segment["inputs"]]
        started = time.perf_counter()
        made = model.run(inputs)
        seconds.append(time.perf_counter() - started)
        values.update(zip([tensor["name"] for tensor in segment["outputs"]], made))
    return seconds


def time_segments(
    folder: SavedFolder, models: Sequence[Sequence[LoadedModel]], samples: Samples, runs: int
) -> list[dict[str, Any]]:
    """A row of times per segment and device."""
    rows: list[dict[str, Any]] = []
    for replica in range(max(map(len, models))):
        chain = [replicas[min(replica, len(replicas) - 1)] for replicas in models]
        first = invoke_all(folder, chain, samples[0])
        timed = [invoke_all(folder, chain, samples[i % samples.count]) for i in range(runs)]
        for index, (column, slow) in enumerate(zip(1000 * np.array(timed).T, first)):
            if replica >= len(models[index]):
                continue
            rows.append(
                {
                    "segment": index,
                    "device": chain[index].device,
                    "ops": " ".join(map(str, folder.segments[index]["ops"])),
                    "runs": runs,
                    "ms": round(float(np.median(column)), 6),
                    "min_ms": round(float(column.min()), 6),
                    "p90_ms": round(float(np.percentile(column, 90)), 6),
                    "max_ms": round(float(column.max()), 6),
                    "first_ms": round(1000 * slow, 6),
                }
            )
    rows.sort(key=lambda row: row["segment"])
    for row in rows:
        print(f"segment {row['segment']} on {row['device']}: {row['ms']:.3f} ms")
    return rows


def pipeline_row(
    models: Sequence[Sequence[LoadedModel]], arrivals: Sequence[float]
) -> dict[str, Any] | None:
    """A row for all segments at once: it tells `respect-tf calibrate` about the bus they share.

    Args:
        models: Of each segment, its model on each of its devices.
        arrivals: Seconds at which results arrived, in order.

    Returns:
        None if a stage runs on the host, or if there are too few results to tell the time between
        two of them: the first half comes while the pipeline fills.
    """
    settled = np.diff(np.sort(np.array(arrivals, np.float64))[len(arrivals) // 2 :]) * 1000
    if any(replicas[0].device == "cpu" for replicas in models) or len(settled) < 2:
        return None
    return {
        "segment": PIPELINE,
        "device": ",".join(model.device for replicas in models for model in replicas),
        "ops": "",
        "runs": len(settled),
        "ms": round(float(settled.mean()), 6),  # the mean: results come in bursts
        "min_ms": round(float(settled.min()), 6),
        "p90_ms": round(float(np.percentile(settled, 90)), 6),
        "max_ms": round(float(settled.max()), 6),
        "first_ms": "",
        "counts": [len(replicas) for replicas in models],
    }


def write_csv(path: str, folder: SavedFolder, rows: Sequence[dict[str, Any]]) -> None:
    """Write the times for `respect-tf calibrate` and the scheduler "profile"."""
    target = Path(path).resolve()
    files = [
        os.path.relpath(str(folder.path / segment["file"]), str(target.parent))
        for segment in folder.segments
    ]
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, CSV_COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        if row["segment"] == PIPELINE:
            listed = [name for name, count in zip(files, row["counts"]) for _ in range(count)]
            writer.writerow({**row, "model": "|".join(listed)})
        else:
            writer.writerow({**row, "model": files[row["segment"]]})
    write_whole(target, file.getvalue().encode())
