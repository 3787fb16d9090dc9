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
from examples.applications import build_application, calibration_samples

NUM_SEGMENTS = 4
FOLDER = Path("out") / "resnet50_pipeline"


def main() -> None:
    """Build, convert, report, save, load and predict."""
    started = time.perf_counter()
    model = build_application("ResNet50")
    samples = calibration_samples("ResNet50", 10)
    pipeline = respect_tf.convert(model, NUM_SEGMENTS, samples)
    print(pipeline.report)

    # The same number of segments, cut in the order of the file: what one gets without a search.
    sliced = respect_tf.schedule(pipeline.graph, NUM_SEGMENTS, "slicing", objective="memory")
    print(
        f"\nThe fullest stage holds {pipeline.schedule.cost:,} bytes of parameters. The optimum is "
        f"{pipeline.schedule.lower_bound:,}; the best cut of the file's own order has "
        f"{sliced.cost:,}."
    )

    folder = pipeline.save(FOLDER, overwrite=True)
    images = samples[:2]
    scores = respect_tf.load(folder).predict(images)
    for number, row in enumerate(np.asarray(scores)):
        best = np.argsort(row)[::-1][:3]
        print(f"image {number}: classes {best.tolist()} with {np.round(row[best], 4).tolist()}")
    print(f"\nSaved to {folder} after {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
