"""One conversion in a process of its own: its resident memory before, at its peak and after.

`python -m benchmarks._peak_memory build NAME FOLDER` writes the model and its samples;
`python -m benchmarks._peak_memory convert FOLDER`, or one of the other ways, measures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

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


def _build(name: str, folder: Path) -> None:
    from examples.applications import build_application, calibration_samples

    model = build_application(name)
    samples = calibration_samples(name, NUM_SAMPLES, input_shape=model.input_shape[1:])
    model.save(folder / "model.keras")
    np.save(folder / "samples.npy", samples)


def _plain(model: Any, samples: Any) -> None:
    """What users write without us."""
    import tensorflow as tf

    _settled(tf.lite.TFLiteConverter.from_keras_model(model), samples).convert()


def _plain_function(model: Any, samples: Any) -> None:
    """TensorFlow's other way, which `respect_tf.convert` takes."""
    import tensorflow as tf

    spec = tf.TensorSpec((1, *model.input_shape[1:]), model.inputs[0].dtype)
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    _settled(tf.lite.TFLiteConverter.from_concrete_functions([function]), samples).convert()


def _settled(converter: Any, samples: Any) -> Any:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter


def _to_int8(model: Any, samples: Any) -> None:
    from respect_tf.tflite import to_int8

    to_int8(model, samples, verbose=0)


def _convert(model: Any, samples: Any) -> None:
    import respect_tf

    respect_tf.convert(model, _NUM_SEGMENTS, samples, device=_DEVICE, verbose=0)


WAYS: dict[str, Callable[[Any, Any], None]] = {
    "plain": _plain,
    "plain_function": _plain_function,
    "to_int8": _to_int8,
    "convert": _convert,
}


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
        WAYS[way](model, samples)
    return {"before": before, "peak": resident_mib("VmHWM"), "after": resident_mib()}


if __name__ == "__main__":
    if sys.argv[1] == "build":
        _build(sys.argv[2], Path(sys.argv[3]))
    else:
        print(json.dumps(_measured(sys.argv[1], Path(sys.argv[2]))))
