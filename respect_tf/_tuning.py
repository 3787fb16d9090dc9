"""`speed_limited()`: a search for architectures that keeps to those that are fast enough."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from respect_tf._errors import ArgumentError, DependencyError
from respect_tf._estimate import estimate
from respect_tf.device import DeviceLike, resolve_device
from respect_tf.planning import checked_devices


def speed_limited(
    build: Callable[[Any], Any],
    frames_per_second: float,
    *,
    num_devices: int = 1,
    device: DeviceLike = "usb3",
) -> Callable[[Any], Any]:
    """A KerasTuner `build` function that refuses models that would be too slow, untrained.

    "The best accuracy at 60 frames/s on two devices"::

        tuner = keras_tuner.RandomSearch(
            respect_tf.speed_limited(build, 60, num_devices=2), objective="val_accuracy"
        )

    A model that is too slow ends its trial as failed before it is trained, and the tuner goes on.
    The speed is `respect_tf.estimate`'s: of the best way to use the devices.

    Args:
        build: Takes hyperparameters and returns a Keras model.
        frames_per_second: What the model must give at least, predicted for the first host.
        num_devices: Number of Edge TPUs at most.
        device: See `respect_tf.schedule`.

    Returns:
        A function to give to a tuner.

    Raises:
        ArgumentError: `frames_per_second` is not above 0, or there is no such device.
        DependencyError: KerasTuner is not installed.
    """
    if isinstance(frames_per_second, bool) or not frames_per_second > 0:
        raise ArgumentError(f"frames_per_second must be above 0. Received: {frames_per_second!r}.")
    checked_devices(num_devices)
    resolve_device(device)
    try:
        errors: Any = importlib.import_module("keras_tuner.errors")
    except ImportError as error:
        raise DependencyError(
            "KerasTuner is not installed, which searches for architectures. Install it: "
            "pip install 'respect-tf[tuner]'."
        ) from error

    def build_fast(hyperparameters: Any) -> Any:
        model = build(hyperparameters)
        found = estimate(model, num_devices, device=device, trained=True, verbose=0).best
        if found.frames_per_second < frames_per_second:
            raise errors.FailedTrialError(
                f"The model would give {found.frames_per_second:.1f} frames/s on {num_devices} "
                f"Edge TPUs. Expected {frames_per_second:g} or more."
            )
        return model

    return build_fast
