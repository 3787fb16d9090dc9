"""The best accuracy at 60 frames/s on two Edge TPUs: a small family of CNNs, searched.

Run it with `python -m examples.search_fast`, with `pip install 'respect-tf[tuner]'`. KerasTuner
proposes widths and depths; what would be too slow on the devices is refused before it is trained,
because `respect_tf.estimate` needs neither weights nor a conversion. The best model is then
converted for as many devices as it needs. Data are the drawings of `train_and_deploy`.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

import respect_tf
from examples.train_and_deploy import CLASSES, MEAN, SIZE, STD, draw_shapes

import keras  # isort: skip - after TensorFlow, which the import above silences

FRAMES_PER_SECOND = 60
NUM_DEVICES = 2
DEVICE = "usb2-pi3"  # a slow bus: parameters that do not fit on chip take long


@dataclasses.dataclass(frozen=True)
class Found:
    """What the search found.

    Attributes:
        trained: Hyperparameters and validation accuracy of what was trained, best first.
        refused: Hyperparameters of what would be too slow.
        model: The best model, trained.
        pipeline: The same for the devices, in int8.
        accuracy: Of the pipeline, on images that the search never saw.
    """

    trained: tuple[tuple[dict[str, int], float], ...]
    refused: tuple[dict[str, int], ...]
    model: keras.Model
    pipeline: respect_tf.Pipeline
    accuracy: float


def build(hyperparameters: Any) -> keras.Model:
    """A CNN of the family: blocks, each of twice as many channels, and a hidden layer."""
    width = hyperparameters.Choice("width", [8, 16])
    depth = hyperparameters.Choice("depth", [1, 2])
    hidden = hyperparameters.Choice("hidden", [32, 4096])
    image = x = keras.Input((SIZE, SIZE, 3), name="image")
    for block in range(depth):
        x = keras.layers.Conv2D(width * 2**block, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dense(hidden, activation="relu")(keras.layers.Flatten()(x))
    model = keras.Model(image, keras.layers.Dense(len(CLASSES), activation="softmax")(x))
    model.compile(
        keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def search(*, num_images: int = 1200, epochs: int = 6, seed: int = 0) -> Found:
    """Search, and deploy what is best.

    Args:
        num_images: How many images to train with; half as many each to choose and to test by.
        epochs: How often to go through them.
        seed: Of data, weights and the search.
    """
    import keras_tuner

    keras.utils.set_random_seed(seed)
    (x, y), (seen, named), (new, expected) = (
        (((images - MEAN) / STD).astype("float32"), labels)
        for images, labels in (
            draw_shapes(count, seed + place)
            for place, count in enumerate((num_images, num_images // 2, num_images // 2))
        )
    )
    fast = respect_tf.speed_limited(
        build, FRAMES_PER_SECOND, num_devices=NUM_DEVICES, device=DEVICE
    )
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.GridSearch(
            fast, "val_accuracy", max_trials=8, seed=seed, directory=folder,
            max_consecutive_failed_trials=8,
        )  # fmt: skip
        tuner.search(x, y, validation_data=(seen, named), epochs=epochs, verbose=0)
        trials = list(tuner.oracle.trials.values())
        (model,) = tuner.get_best_models(1)
    trained = [(dict(t.hyperparameters.values), float(t.score)) for t in trials if t.score]
    pipeline = respect_tf.convert(
        model, "auto", x[:100], num_devices=NUM_DEVICES, device=DEVICE, compile=False, verbose=0
    )
    answers = np.argmax(pipeline.predict(new), axis=-1)
    return Found(
        trained=tuple(sorted(trained, key=lambda item: -item[1])),
        refused=tuple(dict(t.hyperparameters.values) for t in trials if not t.score),
        model=model,
        pipeline=pipeline,
        accuracy=float(np.mean(answers == expected)),
    )


def main(arguments: Sequence[str] | None = None) -> Found:
    """Search, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1200, help="images to train with")
    parser.add_argument("--epochs", type=int, default=6, help="how often to go through them")
    given = parser.parse_args(arguments)
    found = search(num_images=given.images, epochs=given.epochs)
    for values, accuracy in found.trained:
        print(f"{_named(values)}: accuracy {accuracy:.1%}")
    for values in found.refused:
        print(f"{_named(values)}: too slow, not trained")
    frames = found.pipeline.prediction.frames_per_second
    print(f"int8 on {sum(found.pipeline.replicas)} Edge TPUs: accuracy {found.accuracy:.1%}, "
          f"{frames:.0f} frames/s predicted (wanted {FRAMES_PER_SECOND})")  # fmt: skip
    return found


def _named(values: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


if __name__ == "__main__":
    main()
