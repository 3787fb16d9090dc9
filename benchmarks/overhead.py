"""What `convert` adds to TFLite's conversion of ResNet50, against the plain converter."""

from __future__ import annotations

import time

import respect_tf
from benchmarks._models import plain_conversion
from benchmarks._tables import markdown, update_page, write_results
from examples.applications import build_application, calibration_samples
from respect_tf.tflite import silenced

NUM_RUNS = 3


def main() -> None:
    """Measure and write `results/overhead.md`."""
    model = build_application("ResNet50")
    samples = calibration_samples("ResNet50", 10)
    rows = []
    for run in range(NUM_RUNS):
        started = time.perf_counter()
        with silenced():
            plain_conversion(model, samples)
        plain = time.perf_counter() - started
        started = time.perf_counter()
        pipeline = respect_tf.convert(model, 4, samples, objective="memory", verbose=0)
        total = time.perf_counter() - started
        inside = pipeline.conversion_seconds or 0.0
        rows.append(
            {
                "run": run,
                "plain TFLiteConverter s": plain,
                "respect_tf.convert s": total,
                "of which TFLite s": inside,
                "the rest s": total - inside,
                "the rest / TFLite": (total - inside) / inside,
                "convert / plain": total / plain,
            }
        )
    notes = """
ResNet50 in four segments, ten calibration samples, everything in one run. "plain" is
`tf.lite.TFLiteConverter.from_keras_model(model)` with full-integer settings and the same samples,
and its `convert()`: the code that `respect_tf.convert` replaces. "TFLite" is the time that
`respect_tf.convert` spends in TensorFlow, tracing the model and converting it, which the plain
converter does inside its `convert()` too. "the rest" is everything else: checking and mapping the
samples, the names, the 8-bit check, scheduling, cutting, the runner's rules, and the proof on three
inputs.
"""
    title = "What convert() adds to TFLite's conversion"
    write_results("overhead", title, rows, notes)
    update_page("overhead", markdown(rows))


if __name__ == "__main__":
    main()
