"""One conversion in a process of its own: its resident memory before, at its peak and after.

`python -m benchmarks._peak_memory build NAME FOLDER` writes the model and its samples;
`python -m benchmarks._peak_memory convert FOLDER`, or `plain`, measures. Both print JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._models import plain_conversion

NUM_SAMPLES = 16
_NUM_SEGMENTS = 4
_DEVICE = "usb3-pi5"
_MIB = 1024  # the kernel counts in KiB


def resident_mib(field: str = "VmRSS") -> float:
    """A figure of this process that the kernel keeps: `VmRSS` now, `VmHWM` the most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / _MIB


def forget_peak() -> None:
    """Let the kernel count the most from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def _build(name: str, folder: Path) -> dict[str, float]:
    from examples.applications import build_application, calibration_samples

    model = build_application(name)
    samples = calibration_samples(name, NUM_SAMPLES, input_shape=model.input_shape[1:])
    model.save(folder / "model.keras")
    np.save(folder / "samples.npy", samples)
    return {"weights": sum(weight.nbytes for weight in model.get_weights()) / 2**20}


def _convert(model: Any, samples: Any) -> None:
    import respect_tf

    respect_tf.convert(model, _NUM_SEGMENTS, samples, device=_DEVICE, verbose=0)


_WAYS: dict[str, Callable[[Any, Any], object]] = {"plain": plain_conversion, "convert": _convert}


def _measured(way: str, folder: Path) -> dict[str, float]:
    import keras

    import respect_tf
    from respect_tf.tflite import silenced

    # Code that is loaded is no part of what a conversion takes.
    assert respect_tf.convert is not None
    with silenced():
        model = keras.models.load_model(folder / "model.keras", compile=False)
        samples = np.load(folder / "samples.npy")
        before = resident_mib()
        forget_peak()
        _WAYS[way](model, samples)
    return {"before": before, "peak": resident_mib("VmHWM"), "after": resident_mib()}


if __name__ == "__main__":
    _, what, *rest = sys.argv
    found = _build(rest[0], Path(rest[1])) if what == "build" else _measured(what, Path(rest[0]))
    print(json.dumps(found))
