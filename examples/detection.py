"""Detection on Edge TPUs: boxes and scores from the pipeline, non-maximum suppression behind it.

    python -m examples.detection

TFLite's own post-processing op does not map to the Edge TPU, and a Keras model need not have it:
the pipeline ends with raw boxes and scores, and a few lines of numpy choose among them. The model
here is small and untrained; its anchors and the suppression are those of any single-shot detector.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import respect_tf

SIZE, GRID, CLASSES = 64, 8, 3


def main() -> list[dict[str, Any]]:
    """Build, convert, run and choose; what was found in the last picture."""
    pictures = np.random.default_rng(0).uniform(-1, 1, (16, SIZE, SIZE, 3)).astype(np.float32)
    pipeline = respect_tf.convert(build_detector(), 2, pictures, compile=False, verbose=0)
    found: list[dict[str, Any]] = []
    with pipeline.runner(verbose=0) as runner:
        result: Any = pipeline.predict(pictures[:4], runner=runner)
    for index in range(4):
        boxes = decode(result["boxes"][index], anchors())
        found = suppress(boxes, result["scores"][index], threshold=0.5, overlap=0.5)
        print(f"picture {index}: {len(found)} boxes")
    for one in found[:3]:
        print(f"class {one['class']}, score {one['score']:.2f}, box {np.round(one['box'], 2)}")
    return found


def build_detector() -> Any:
    """A small single-shot detector: [batch, 64, 64, 3] -> boxes [64, 4] and scores [64, 3]."""
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    tensor = image
    for filters in (8, 16, 32):
        tensor = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(
            tensor
        )
    boxes = keras.layers.Conv2D(4, 3, padding="same")(tensor)
    scores = keras.layers.Conv2D(CLASSES, 3, padding="same", activation="sigmoid")(tensor)
    boxes = keras.layers.Reshape((GRID * GRID, 4), name="boxes")(boxes)
    scores = keras.layers.Reshape((GRID * GRID, CLASSES), name="scores")(scores)
    return keras.Model(image, {"boxes": boxes, "scores": scores})


def anchors() -> np.ndarray:
    """One box per cell of the grid, [64, 4]: centre y, centre x, height, width, from 0 to 1."""
    centres = (np.arange(GRID) + 0.5) / GRID
    y, x = np.meshgrid(centres, centres, indexing="ij")
    size = np.full(GRID * GRID, 2.0 / GRID)
    return np.stack([y.ravel(), x.ravel(), size, size], axis=1)


def decode(offsets: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Boxes [n, 4] as top, left, bottom, right, from what the network says of each anchor.

    The factors are those of the SSD paper (Liu et al., 2016): 0.1 for centres, 0.2 for sizes.
    """
    centre = prior[:, :2] + 0.1 * offsets[:, :2] * prior[:, 2:]
    size = prior[:, 2:] * np.exp(np.clip(0.2 * offsets[:, 2:], -4, 4))
    return np.clip(np.concatenate([centre - size / 2, centre + size / 2], axis=1), 0, 1)


def suppress(
    boxes: np.ndarray, scores: np.ndarray, *, threshold: float, overlap: float
) -> list[dict[str, Any]]:
    """Non-maximum suppression, class by class.

    Args:
        boxes: [n, 4]: top, left, bottom, right.
        scores: [n, num_classes].
        threshold: The least score.
        overlap: Of two boxes that overlap by more than this share of their union, the one with the
            higher score is kept.

    Returns:
        The boxes that are kept, highest score first.
    """
    kept: list[dict[str, Any]] = []
    for number in range(scores.shape[1]):
        order = np.argsort(-scores[:, number], kind="stable")
        order = order[scores[order, number] >= threshold]
        while len(order):
            best, order = order[0], order[1:]
            kept.append({"class": number, "score": float(scores[best, number]), "box": boxes[best]})
            order = order[overlaps(boxes[best], boxes[order]) <= overlap]
    return sorted(kept, key=lambda one: -one["score"])


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box [4] with others [n, 4]."""
    corner = np.maximum(box[:2], others[:, :2])
    end = np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(end - corner, 0, None), axis=1)
    area = np.prod(box[2:] - box[:2])
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    return shared / np.maximum(area + areas - shared, 1e-12)


if __name__ == "__main__":
    main()
