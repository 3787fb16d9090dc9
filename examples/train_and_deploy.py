"""From `tf.data` to a saved pipeline: train a small CNN, cut it for two Edge TPUs, compare.

Run it with `python -m examples.train_and_deploy`. It needs no download: the data set, drawings of
eight shapes under noise, is made here. What counts at the end is the accuracy on images that
training never saw, of the float model and of the int8 segments that go onto the devices.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

import respect_tf
from respect_tf.tflite import silenced

with silenced():  # TensorFlow prints twenty lines while it is imported
    import keras
    import tensorflow as tf

SIZE = 32
CLASSES = ("disc", "ring", "square", "frame", "triangle", "cross", "rows", "columns")
MEAN, STD = 127.5, 127.5  # raw pixels, 0 to 255, become -1 to 1
FOLDER = Path("out") / "shapes_pipeline"

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came out.

    Attributes:
        folder: Where the pipeline is saved.
        float_accuracy: Of the Keras model, as a fraction.
        int8_accuracy: Of the pipeline that was read back from the folder, likewise.
        agreement: On how many test images both name the same class, likewise.
    """

    folder: Path
    float_accuracy: float
    int8_accuracy: float
    agreement: float


def draw_shapes(count: int, seed: int) -> tuple[Images, Labels]:
    """Shapes of random place, size and colour under noise; uint8 [count, 32, 32, 3] and classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(CLASSES), size=count)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    images = np.empty((count, SIZE, SIZE, 3))
    for image, label in zip(images, labels, strict=True):
        y = rows - rng.uniform(13, 19)
        x = columns - rng.uniform(13, 19)
        radius = rng.uniform(7, 12)
        distance, edge = np.hypot(x, y), np.maximum(abs(x), abs(y))
        mask = {
            "disc": distance < radius,
            "ring": (distance < radius) & (distance > radius - 3),
            "square": edge < radius,
            "frame": (edge < radius) & (edge > radius - 3),
            "triangle": (y < radius) & (abs(x) < (y + radius) / 2),
            "cross": (np.minimum(abs(x), abs(y)) < 2.5) & (edge < radius),
            "rows": (edge < radius) & (rows % 6 < 3),
            "columns": (edge < radius) & (columns % 6 < 3),
        }[CLASSES[label]]
        ground, shape = rng.uniform(0, 255, (2, 3))
        shape = np.where(abs(shape - ground).max() < 80, 255 - ground, shape)
        image[:] = np.where(mask[..., None], shape, ground)
    images += rng.normal(0, 15, images.shape)
    return np.clip(images, 0, 255).astype(np.uint8), labels


def normalised(images: tf.Tensor) -> tf.Tensor:
    """What the model takes, float32 from -1 to 1, of raw pixels."""
    return (tf.cast(images, tf.float32) - MEAN) / STD


def training_data(images: Images, labels: Labels, batch: int, seed: int) -> tf.data.Dataset:
    """Shuffled batches, of which some are mirrored."""

    def mirrored(
        data: tuple[tf.Tensor, tf.Tensor], seeds: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return normalised(tf.image.stateless_random_flip_left_right(data[0], seeds)), data[1]

    data = tf.data.Dataset.from_tensor_slices((images, labels))
    data = data.shuffle(len(images), seed=seed).batch(batch)
    seeds = tf.data.Dataset.random(seed=seed).batch(2)  # a pair of them per batch
    return tf.data.Dataset.zip(data, seeds).map(mirrored).prefetch(2)


def build_model() -> keras.Model:
    """A CNN with a stem, two residual blocks and a classifier."""

    def block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
        y = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
        y = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(y)
        shortcut = keras.layers.Conv2D(filters, 1, name=f"{name}_shortcut")(x)
        y = keras.layers.ReLU(name=f"{name}_relu")(
            keras.layers.Add(name=f"{name}_add")([y, shortcut])
        )
        return keras.layers.MaxPooling2D(name=f"{name}_pool")(y)

    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(16, 5, strides=2, padding="same", use_bias=False, name="stem")(image)
    x = keras.layers.BatchNormalization(momentum=0.9, name="stem_norm")(x)
    x = keras.layers.ReLU(name="stem_relu")(x)
    x = block(block(x, 32, "first"), 64, "second")
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    scores = keras.layers.Dense(len(CLASSES), activation="softmax", name="scores")(x)
    return keras.Model(image, scores, name="shapes")


def train_and_deploy(
    folder: Path = FOLDER,
    *,
    num_segments: int = 2,
    num_images: int = 3000,
    epochs: int = 6,
    seed: int = 0,
) -> Outcome:
    """Train, convert, save, read back, and measure both accuracies.

    Args:
        folder: Where to save the pipeline; one that is there is replaced.
        num_segments: How many Edge TPUs it is for.
        num_images: How many images to train with; a quarter as many are for the test.
        epochs: How often to go through them.
        seed: Of data and weights.

    Returns:
        Where the pipeline is, and how good it is.
    """
    keras.utils.set_random_seed(seed)
    images, labels = draw_shapes(num_images, seed)
    test_images, test_labels = draw_shapes(num_images // 4, seed + 1)
    model = build_model()
    optimizer = keras.optimizers.Adam(3e-3)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    data = training_data(images, labels, 50, seed)
    model.fit(data, epochs=epochs, shuffle=False, verbose=2)  # the data set shuffles itself

    # Calibration samples come from a tf.data.Dataset too: single images or batches, as it suits.
    samples = tf.data.Dataset.from_tensor_slices(images[:100]).map(normalised).batch(10)
    pipeline = respect_tf.convert(
        model,
        num_segments,
        samples,
        metadata=respect_tf.Metadata(mean=MEAN, std=STD, labels=CLASSES),
        seed=seed,
    )
    print(pipeline.report)
    saved = pipeline.save(folder, overwrite=True)

    test_inputs = np.asarray(normalised(test_images))
    float_classes = model.predict(test_inputs, verbose=0).argmax(axis=-1)
    int8_classes = np.asarray(respect_tf.load(saved).predict(test_inputs)).argmax(axis=-1)
    return Outcome(
        folder=saved,
        float_accuracy=float((float_classes == test_labels).mean()),
        int8_accuracy=float((int8_classes == test_labels).mean()),
        agreement=float((float_classes == int8_classes).mean()),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, run, and print the accuracies."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to save the pipeline")
    parser.add_argument("--segments", type=int, default=2, help="how many Edge TPUs")
    parser.add_argument("--images", type=int, default=3000, help="how many images to train with")
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args(arguments)
    outcome = train_and_deploy(
        options.folder,
        num_segments=options.segments,
        num_images=options.images,
        epochs=options.epochs,
    )
    print(
        f"\naccuracy before: {outcome.float_accuracy:.1%} (float32, Keras)"
        f"\naccuracy after:  {outcome.int8_accuracy:.1%} (int8, {options.segments} segments)"
        f"\nboth agree on    {outcome.agreement:.1%} of the test images"
        f"\n\nSaved to {options.folder}. Next: respect-tf compile {options.folder}, copy the "
        "folder to the device, and there: python3 run_pipeline.py --input images.npy"
    )


if __name__ == "__main__":
    main()
