"""What `convert` adds to TFLite's own conversion of ResNet50, in the same run."""

from __future__ import annotations

import time

import respect_tf
from benchmarks._tables import write_results
from examples.applications import build_application, calibration_samples

NUM_RUNS = 3


def main() -> None:
    """Measure and write `results/overhead.md`."""
    model = build_application("ResNet50")
    samples = calibration_samples("ResNet50", 10)
    rows = []
    for run in range(NUM_RUNS):
        started = time.perf_counter()
        pipeline = respect_tf.convert(model, 4, samples, objective="memory", verbose=0)
        total = time.perf_counter() - started
        own = total - pipeline.conversion_seconds
        rows.append(
            {
                "run": run,
                "convert s": total,
                "TFLite s": pipeline.conversion_seconds,
                "the rest s": own,
                "the rest / TFLite": own / pipeline.conversion_seconds,
            }
        )
    notes = """
"TFLite" is the time inside TensorFlow's own `convert()`; "the rest" is everything else that
`respect_tf.convert` does for ResNet50 in four segments: checking and mapping the samples, fixing
the batch, checking precision, scheduling, cutting, the runner's rules, and the proof on three
inputs.
"""
    write_results("overhead", "What convert() adds to TFLite's conversion", rows, notes)


if __name__ == "__main__":
    main()
