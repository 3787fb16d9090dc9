"""The main job on a real model: ResNet50 becomes a verified pipeline of four int8 segments.

Run it with `make demo`, or `python -m examples.demo`. Everything happens offline: the weights are
made here, deterministic and calibrated, so that the numbers inside the network vary as in a trained
one.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import respect_tf
from respect_tf.tflite import silenced

NUM_SEGMENTS = 4
FOLDER = Path("out") / "resnet50_pipeline"


def main() -> None:
    """Build, convert, report, save, load and predict."""
    started = time.perf_counter()
    print("Building ResNet50 with deterministic weights ...", flush=True)
    with silenced():  # TensorFlow prints twenty lines while it is imported
        from examples.applications import build_application, calibration_samples

        model = build_application("ResNet50")
        samples = calibration_samples("ResNet50", 10)
    pipeline = respect_tf.convert(model, NUM_SEGMENTS, samples)
    print(pipeline.report)

    # The same number of segments, cut in the order of the file: what one gets without a search.
    sliced = respect_tf.schedule(pipeline.graph, NUM_SEGMENTS, "slicing")
    ours, other = (respect_tf.predict(pipeline.graph, cut) for cut in (pipeline.schedule, sliced))
    print(
        f"\nOne result every {ours.interval_ms:.3f} ms on a Raspberry Pi 5; the best cut of the "
        f"file's own order would give one every {other.interval_ms:.3f} ms."
    )

    folder = pipeline.save(FOLDER, overwrite=True)
    scores = respect_tf.load(folder).predict(samples[:3])
    expected = model.predict(samples[:3], verbose=0)
    for number, (row, wanted) in enumerate(zip(np.asarray(scores), expected, strict=True)):
        print(
            f"image {number}: class {row.argmax()} with {row.max():.2f}; "
            f"the float model says {wanted.argmax()} with {wanted.max():.2f}"
        )
    print(f"\nSaved to {FOLDER} after {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
