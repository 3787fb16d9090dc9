"""Pictures of a few shapes on a ground, with what is to be learned of them, made offline.

For the notebooks on detection and segmentation: each scene knows its boxes, classes and mask.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

SIZE = 64
CLASSES = ("disc", "square", "triangle")
_MOST = 3  # shapes in a scene


@dataclasses.dataclass(frozen=True, eq=False)
class Scenes:
    """Scenes.

    Attributes:
        images: uint8 [count, 64, 64, 3].
        masks: uint8 [count, 64, 64]: 0 is the ground, 1, 2 and 3 are the classes.
        boxes: Of each scene float64 [num_shapes, 4]: top, left, bottom, right, from 0 to 1.
        classes: Of each scene int64 [num_shapes], indices of `CLASSES`.
    """

    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]
    boxes: list[npt.NDArray[np.float64]]
    classes: list[npt.NDArray[np.int64]]


def draw_scenes(count: int, seed: int) -> Scenes:
    """Scenes of one to three shapes that do not overlap, under noise; a seed gives the same."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    images = np.empty((count, SIZE, SIZE, 3))
    masks = np.zeros((count, SIZE, SIZE), np.uint8)
    boxes, classes = [], []
    for image, mask in zip(images, masks, strict=True):
        ground = rng.uniform(0, 255, 3)
        tilt = rng.uniform(-60, 60, (2, 1))
        image[:] = ground + (tilt[0] * rows / SIZE + tilt[1] * columns / SIZE)[..., None]
        found, kinds = [], []
        for _ in range(rng.integers(1, _MOST + 1)):
            radius = rng.uniform(7, 13)
            y, x = rng.uniform(radius, SIZE - radius, 2)
            kind = int(rng.integers(len(CLASSES)))
            inside = _inside(kind, rows - y, columns - x, radius)
            if (mask[inside] > 0).any():
                continue  # it would overlap
            colour = rng.uniform(0, 255, 3)
            colour = np.where(abs(colour - ground).max() < 90, 255 - ground, colour)
            image[inside], mask[inside] = colour, kind + 1
            hit = np.nonzero(inside)
            found.append([hit[0].min(), hit[1].min(), hit[0].max() + 1, hit[1].max() + 1])
            kinds.append(kind)
        boxes.append(np.array(found) / SIZE)
        classes.append(np.array(kinds, np.int64))
    images += rng.normal(0, 12, images.shape)
    return Scenes(np.clip(images, 0, 255).astype(np.uint8), masks, boxes, classes)


def normalised(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """What the models take: float32 from -1 to 1."""
    return (images.astype(np.float32) - 127.5) / 127.5


def _inside(
    kind: int, y: npt.NDArray[np.float64], x: npt.NDArray[np.float64], radius: float
) -> npt.NDArray[np.bool_]:
    inside = (
        np.hypot(x, y) < radius,
        np.maximum(abs(x), abs(y)) < 0.85 * radius,
        (y < 0.8 * radius) & (abs(x) < (y + radius) / 1.8),
    )[kind]
    return np.asarray(inside)
