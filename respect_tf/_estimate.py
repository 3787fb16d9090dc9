"""`estimate()`: what an architecture gains from Edge TPUs, before it is trained or converted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from respect_tf._architecture import Origin, architecture_of
from respect_tf._plan import Plan, plan_of
from respect_tf._reporting import Verbosity
from respect_tf.device import DeviceLike
from respect_tf.planning import checked_devices
from respect_tf.scheduling import Objective


@dataclasses.dataclass(frozen=True, repr=False, kw_only=True)
class Estimate(Plan):
    """A `Plan` of an architecture. `str(estimate)` is a table.

    Attributes:
        origin: `"architecture"`, or `"conversion"` where a layer was not known.
        note: Why it had to be converted; empty otherwise.
    """

    origin: Origin
    note: str


def estimate(
    keras_model: Any,
    num_devices: int = 8,
    *,
    device: DeviceLike = "usb3",
    objective: str | Objective = "throughput",
    trained: bool = False,
    time_limit: float | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    trusted: bool = False,
    seed: int = 0,
    verbose: Verbosity = "auto",
) -> Estimate:
    """Plan for a Keras model without training, data or conversion.

    The op graph that TFLite would make is derived from the layers: batch normalisation folded,
    activations fused, padding, ops that Edge TPUs do not run rewritten. Where a layer is not known,
    that is said, and the model is converted with random data.

    Args:
        keras_model: A Keras 3 or tf_keras model, built, or the path of a file with one; everything
            else that `plan` takes is planned for likewise.
        num_devices: Number of Edge TPUs at most.
        device: See `respect_tf.schedule`.
        objective: See `respect_tf.plan`.
        trained: Whether weights that are still zero count as trained. TFLite removes sums with
            zeros, so a fresh model has fewer ops than the one that training makes of it.
        time_limit: Seconds for the search; None for no limit.
        custom_objects: See `respect_tf.convert`.
        trusted: See `respect_tf.convert`.
        seed: See `respect_tf.schedule`.
        verbose: 0 is silence.

    Returns:
        The plan, with the graph in `.graph`.

    Raises:
        ArgumentError: An argument is out of range.
        RespectError: The model cannot be read, or not be converted where that is needed.
    """
    num_devices = checked_devices(num_devices)
    found = architecture_of(
        keras_model,
        trained=trained,
        custom_objects=custom_objects,
        trusted=trusted,
        verbose=verbose,
    )
    options: dict[str, Any] = {
        "device": device,
        "objective": objective,
        "time_limit": time_limit,
        "seed": seed,
    }
    is_model = found.origin in ("architecture", "conversion", "tflite")
    return plan_of(
        Estimate,
        found,
        num_devices,
        source=(keras_model, None) if is_model else None,
        options=options,
        verbose=verbose,
        origin=found.origin,
        note=found.note,
    )
