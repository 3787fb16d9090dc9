"""Which models share a device, which get their own, and how many: the best way to share out.

A fleet is a partition of the models into groups, and a number of devices for each group. A group's
devices, the bus and the host's own work are loaded by what its models ask for per second; loads of
groups are independent but for the bus and the host, whose loads add up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

# Of loads that are nearly equal, rounding must not decide.
_ROUND = 1e-12

_Way = TypeVar("_Way")


@dataclasses.dataclass(frozen=True)
class Use:
    """A way to serve some models by some devices.

    Attributes:
        device_load: Share of the time that the busiest of the devices works.
        bus_load: Share of the time that the bus of all devices is taken by it.
        host_load: Share of the time that the host's own work for it takes.
        streamed: Bytes of parameters that are streamed per second.
        number: Which way it is, for whoever listed it.
    """

    device_load: float
    bus_load: float
    host_load: float
    streamed: float
    number: int

    def is_as_good_as(self, other: Use) -> bool:
        """Whether nothing of the other one is less."""
        return (
            self.device_load <= other.device_load
            and self.bus_load <= other.bus_load
            and self.host_load <= other.host_load
            and self.streamed <= other.streamed
        )


@dataclasses.dataclass(frozen=True)
class Share:
    """Groups of models with their devices.

    Attributes:
        groups: (models as bits, number of devices, `Use.number`) of each group.
        total: Device load of the busiest; bus, host and streamed bytes in all.
    """

    groups: tuple[tuple[int, int, int], ...]
    total: Use

    @property
    def load(self) -> float:
        """Of the busiest device, of the bus or of the host, whichever is most."""
        return max(self.total.device_load, self.total.bus_load, self.total.host_load)


def best_share(
    num_models: int, num_devices: int, uses: Callable[[int, int], Iterable[Use]]
) -> Share | None:
    """The partition, and the devices of its groups, with the least load.

    Among equals, the one that streams less. Complete: it looks at every partition of the models, at
    every way to give its groups all `num_devices` devices, and at every use that no other one beats
    in all figures. There are 3**num_models pairs of groups and rests.

    Args:
        num_models: Number of models.
        num_devices: Number of devices, all of which get a group.
        uses: The ways to serve a group of models, as bits, by so many devices exactly; none where
            they cannot.

    Returns:
        None where no partition uses as many devices.
    """
    whole = (1 << num_models) - 1
    known: dict[tuple[int, int], list[Share]] = {(0, 0): [Share((), Use(0.0, 0.0, 0.0, 0.0, -1))]}
    listed: dict[tuple[int, int], list[Use]] = {}

    def of_group(group: int, devices: int) -> list[Use]:
        key = (group, devices)
        if key not in listed:
            listed[key] = _best_of(list(uses(group, devices)), lambda use: use)
        return listed[key]

    def shares(rest: int, devices: int) -> list[Share]:
        key = (rest, devices)
        if key in known:
            return known[key]
        found: list[Share] = []
        if rest and devices:
            first = rest & -rest
            others = rest ^ first
            part = others
            while True:  # every group that holds the first model of the rest
                group = part | first
                for count in range(1, devices + 1):
                    after = shares(rest ^ group, devices - count)
                    if after:
                        found += [
                            _joined(share, group, count, use)
                            for use in of_group(group, count)
                            for share in after
                        ]
                if part == 0:
                    break
                part = (part - 1) & others
            found = _best_of(found, lambda share: share.total)
        known[key] = found
        return found

    return min(
        shares(whole, num_devices),
        key=lambda share: (_rounded(share.load), share.total.streamed, share.groups),
        default=None,
    )


def _joined(share: Share, group: int, count: int, use: Use) -> Share:
    total = share.total
    return Share(
        (*share.groups, (group, count, use.number)),
        Use(
            max(total.device_load, use.device_load),
            total.bus_load + use.bus_load,
            total.host_load + use.host_load,
            total.streamed + use.streamed,
            -1,
        ),
    )


def _best_of(ways: Sequence[_Way], figures: Callable[[_Way], Use]) -> list[_Way]:
    """Those that no other one is as good as; of equals, the first."""
    kept: list[_Way] = []
    for way in sorted(ways, key=lambda way: _sort_key(figures(way))):
        if not any(figures(other).is_as_good_as(figures(way)) for other in kept):
            kept.append(way)
    return kept


def _sort_key(use: Use) -> tuple[float, float, float, float]:
    return use.device_load, use.bus_load, use.host_load, use.streamed


def _rounded(load: float) -> float:
    return round(load / _ROUND) * _ROUND
