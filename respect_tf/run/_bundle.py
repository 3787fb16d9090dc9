"""What a saved pipeline needs to run where respect_tf is not installed, and what comes back."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.device import DeviceCosts, DeviceLike, calibrate, stage_tensors
from respect_tf.graph import OpGraph
from respect_tf.run._measure import stages_around

RUN_SCRIPT = "run_pipeline.py"


def run_script() -> bytes:
    """The text of `run_pipeline.py`, which runs a saved folder with numpy and pycoral alone."""
    return resources.files("respect_tf.run").joinpath(f"_{RUN_SCRIPT}").read_bytes()


def measure_from_csv(
    measurements_csv: str | os.PathLike[str], graph: OpGraph, *, device: DeviceLike | None = None
) -> Callable[[npt.NDArray[np.int64]], float]:
    """A `measure` for `schedule(..., scheduler="profile")` from times measured on the hardware.

    The file is what `run_pipeline.py --benchmark N` writes, or any other that `calibrate` reads;
    those of several cuts may be joined. Segments that are in it have their measured time, all
    others the time that the device predicts after it was fitted to the file.

    Args:
        measurements_csv: The columns of `calibrate`, and `ops`: the segment's ops in the whole
            model, separated by spaces; may be empty or left out.
        graph: The whole model.
        device: Where the fit starts; all hosts that are known if left out.

    Returns:
        A function from the ops of a segment, int [num_segment_ops], to milliseconds.

    Raises:
        ArgumentError: The file is none that `calibrate` takes, or `ops` are none of the model.
    """
    fitted = calibrate(measurements_csv, device).device
    known = _known_times(Path(measurements_csv), graph.num_ops)
    costs = DeviceCosts.of(graph, fitted)

    def measure(segment_ops: npt.NDArray[np.int64]) -> float:
        ops = np.sort(np.asarray(segment_ops))
        stages, place = stages_around(graph, ops)
        if tuple(ops.tolist()) in known:
            return known[tuple(ops.tolist())]
        entering, leaving = stage_tensors(graph, stages.astype(np.int64), place)
        return costs.stage(ops.tolist(), entering, leaving).total_ms

    return measure


def _known_times(path: Path, num_ops: int) -> dict[tuple[int, ...], float]:
    """Measured ms by ops; the mean where a segment was measured several times."""
    times: dict[tuple[int, ...], list[float]] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        for row in reader:
            words = (row.get("ops") or "").split()
            # Numbers of so many digits could not be ops; int() refuses to read thousands of them.
            if any(not word.isdecimal() or len(word) > 9 or int(word) >= num_ops for word in words):
                raise ArgumentError(
                    f"{path}, line {reader.line_num}, column ops: expected ops of the model, 0 to "
                    f"{num_ops - 1}, separated by spaces. Received: {row['ops']!r}."
                )
            if words:
                ops = tuple(sorted(int(word) for word in words))
                times.setdefault(ops, []).append(float(row["ms"]))
    return {ops: float(np.mean(values)) for ops, values in times.items()}
