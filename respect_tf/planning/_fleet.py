"""`plan_fleet_of`: several models on some Edge TPUs, so that each is as fast as is asked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from respect_tf._errors import ArgumentError
from respect_tf.device import DeviceLike, EdgeTpu, devices_of, resolve_device
from respect_tf.graph import OpGraph
from respect_tf.planning._fleet_search import Share, best_share
from respect_tf.planning._fleet_uses import FleetGroup, FleetUses
from respect_tf.planning._plan import checked_devices

Aim = Literal["devices", "load"]

# Partitions of so many models are looked at one by one; of more, the lightest stay together.
# benchmarks constants: half -1 proofs; twice 1.12 times the time.
_MOST_ITEMS = 6


@dataclasses.dataclass(frozen=True)
class FleetPlan:
    """Which models share a device, which have their own, and which are pipelines.

    Attributes:
        device: The host that figures are for.
        rates: Inferences per second that are asked of each model.
        groups: Models with their devices; every device is in one group.
        bus_load: Share of the time that the bus of all devices is taken.
        host_load: Share of the time that the host's own work takes.
        device_bound: No way to meet the rates needs fewer devices.
        is_proved: Whether every partition of the models was looked at.
        max_devices: Number of devices that may be used.
        aim: What was asked for.
    """

    device: EdgeTpu
    rates: dict[str, float]
    groups: tuple[FleetGroup, ...]
    bus_load: float
    host_load: float
    device_bound: int
    is_proved: bool
    max_devices: int
    aim: Aim

    @property
    def num_devices(self) -> int:
        """Number of devices that are used."""
        return sum(group.num_devices for group in self.groups)

    @property
    def load(self) -> float:
        """Of the busiest device, of the bus or of the host, whichever is most."""
        return max(*(group.load for group in self.groups), self.bus_load, self.host_load)

    @property
    def is_met(self) -> bool:
        """Whether every rate is met."""
        return self.load <= 1.0

    def group_of(self, model: str) -> FleetGroup:
        """The group that a model is in.

        Raises:
            ArgumentError: There is no such model.
        """
        for group in self.groups:
            if model in group.models:
                return group
        raise ArgumentError(f"No model is called {model!r}. There are: {', '.join(self.rates)}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; every figure is under `"predicted"`."""
        return {
            "device": self.device.name,
            "rates": dict(self.rates),
            "num_devices": self.num_devices,
            "max_devices": self.max_devices,
            "is_met": self.is_met,
            "is_proved": self.is_proved,
            "device_bound": self.device_bound,
            "predicted": {
                "load": self.load,
                "bus_load": self.bus_load,
                "host_load": self.host_load,
            },
            "groups": [group.to_dict() for group in self.groups],
        }

    @property
    def has_fewest_devices(self) -> bool:
        """Whether no way to meet the rates is known to need fewer devices."""
        return self.is_proved or self.num_devices == self.device_bound


def plan_fleet_of(
    graphs: Mapping[str, OpGraph],
    num_devices: int,
    *,
    rates: Mapping[str, float],
    device: DeviceLike = "usb3",
    aim: Aim = "devices",
    seed: int = 0,
) -> FleetPlan:
    """Share devices out among models.

    A model may have devices of its own, as copies, a pipeline, or a pipeline with replicas; or it
    shares devices with others, compiled together, so that they share the memory too. Up to six
    models are looked at in every way; of more, the lightest are put together first, and
    `device_bound` says how far from the best that can be.

    Args:
        graphs: The models by name.
        num_devices: Number of Edge TPUs at most.
        rates: Inferences per second of each model.
        device: See `schedule`. Of several hosts, the first one's figures decide.
        aim: `"devices"`: every rate met with the fewest devices; `"load"`: the busiest device, bus
            or host as free as possible with up to all of them.
        seed: See `schedule`.

    Returns:
        The plan; where the rates cannot be met, the one that comes nearest, which says so.

    Raises:
        ArgumentError: There are no models or devices, or rates are missing, unknown or not above 0.
    """
    num_devices = checked_devices(num_devices)
    if not graphs:
        raise ArgumentError("A fleet needs models. Received none: pass {name: model}.")
    if aim not in ("devices", "load"):
        raise ArgumentError(f'The aim must be "devices" or "load". Received: {aim!r}.')
    asked = checked_rates(graphs, rates)
    host = devices_of(resolve_device(device))[0]
    uses = FleetUses(graphs, asked, host, num_devices, seed)
    bundles = _bundles(uses, len(graphs))
    best: tuple[Share, int] | None = None
    for count in range(1, num_devices + 1):
        share = best_share(
            len(bundles),
            count,
            lambda group, devices, at_work=count: uses.of(  # type: ignore[misc]
                _models_in(bundles, group), devices, at_work
            ),
        )
        if share is None:
            continue
        if best is None or share.load < best[0].load * (1 - 1e-9):
            best = share, count
        if aim == "devices" and share.load <= 1.0:
            best = share, count
            break
    if best is None:  # but for models that cannot share, one group on one device is always there
        apart = [name for name, alone in zip(graphs, uses.stands_alone, strict=True) if alone]
        raise ArgumentError(
            f"{num_devices} Edge TPU(s) are too few. {', '.join(apart)}: Google's compiler refuses "
            "an op of it, so that parts of it run on the host's CPU, and it shares no device. "
            f"Expected num_devices={uses.fewest_devices} or more, or models without such ops "
            "(respect-tf inspect names them)."
        )
    share, count = best
    groups = tuple(
        uses.group(_models_in(bundles, group), devices, number, count)
        for group, devices, number in share.groups
    )
    return FleetPlan(
        device=host,
        rates=asked,
        groups=groups,
        bus_load=share.total.bus_load,
        host_load=share.total.host_load,
        device_bound=max(uses.fewest_devices, math.ceil(uses.least_work() - 1e-9)),
        is_proved=len(bundles) == len(graphs),
        max_devices=num_devices,
        aim=aim,
    )


def checked_rates(models: Mapping[str, Any], rates: Mapping[str, float]) -> dict[str, float]:
    """Rates of all models, in their order.

    Raises:
        ArgumentError: One is missing, unknown, or no number above 0.
    """
    if not isinstance(rates, Mapping):
        raise ArgumentError(f"rates must be {{name: per second}}. Received: {rates!r}.")
    unknown = [name for name in rates if name not in models]
    missing = [name for name in models if name not in rates]
    if unknown or missing:
        raise ArgumentError(
            f"Each model needs a rate, and no one else. Models: {', '.join(models)}. "
            f"Without a rate: {', '.join(missing) or 'none'}; unknown: "
            f"{', '.join(map(str, unknown)) or 'none'}."
        )
    for name, rate in rates.items():
        number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
        if not number or not math.isfinite(rate) or rate <= 0:
            raise ArgumentError(
                f"The rate of '{name}' must be inferences per second, above 0. Received: {rate!r}."
            )
    return {name: float(rates[name]) for name in models}


def _bundles(uses: FleetUses, num_models: int) -> list[int]:
    """Models that stay together, as bits: one each, and of too many, the lightest."""
    bundles = [1 << model for model in range(num_models)]
    while len(bundles) > _MOST_ITEMS:
        bundles.sort(key=lambda bundle: (uses.is_alone(bundle), uses.work_of(bundle), bundle))
        if uses.is_alone(bundles[1]):
            break
        bundles = [bundles[0] | bundles[1], *bundles[2:]]
    return sorted(bundles)


def _models_in(bundles: list[int], group: int) -> int:
    return sum(bundle for number, bundle in enumerate(bundles) if group >> number & 1)
