"""Several models on some devices: what switching costs, fleets against what is obvious, and time.

    python -m benchmarks fleet

Models are architectures of `keras.applications`, whose graphs `respect_tf.estimate` derives.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks._models import TEN_MODELS
from benchmarks._tables import markdown, update_page, write_results

_HOST = "usb3-pi5"

# First inference and those after it, in ms, of MobileNetV2 with 965 classes: the first one brings
# the parameters, as every switch does.
_FIRST_INFERENCES = (
    ("Google's guide to the USB Accelerator", "usb3-pc", "max", 11.8, 2.9),
    ("Dev Board Mini, google-coral/edgetpu#793", "usb2-pi3", "std", 164.7, 19.1),
    ("Dev Board Mini, google-coral/edgetpu#497", "usb2-pi3", "std", 159.9, 18.6),
)
_CLASSES = 965
# Two models of unknown sizes that take turns on a Dev Board Micro (google-coral/coralmicro#48):
# alone, and after a switch, in ms.
_TURNS = (("the small model", 2.332, 13.145), ("the large model", 26.872, 175.877))

_FLEETS: dict[str, tuple[dict[str, float], int]] = {
    "ten models, 1/s each": (dict.fromkeys(TEN_MODELS, 1.0), 16),
    "ten models, 5/s each": (dict.fromkeys(TEN_MODELS, 5.0), 16),
    "one at 60/s, nine at 1/s": (dict.fromkeys(TEN_MODELS, 1.0) | {"ResNet50": 60.0}, 16),
    "camera: detect, classify, read": (
        {"MobileNetV2": 30.0, "MobileNet": 30.0, "EfficientNetB0": 10.0}, 8,
    ),
    "light ones": (
        {"MobileNet": 20.0, "MobileNetV2": 20.0, "MobileNetV3Small": 20.0, "EfficientNetB0": 5.0,
         "NASNetMobile": 5.0}, 8,
    ),
    "two heavy ones": ({"ResNet152": 30.0, "InceptionResNetV2": 20.0}, 16),
}  # fmt: skip
_SIZES = ((2, 4), (4, 8), (6, 16), (10, 16))


def main() -> None:
    """Write `fleet_switching`, `fleet_rivals` and `fleet_time`."""
    switching = switching_rows()
    write_results(
        "fleet_switching",
        "What switching between models on one device costs",
        switching,
        "A switch brings the parameters of a model that was compiled by itself again. Published: "
        "ms of an inference after a switch, less one without. Predicted: the host's link rate "
        "times the bytes that stay on chip. The Dev Board Micro's models are not named: the sizes "
        "are those that its figures mean at the link rates of USB 2 hosts (28.9 to 35 ms per "
        "MiB), and both are sizes that the chip's 7.9 MiB hold.",
    )
    rivals = [rivals_row(name, *given) for name, given in _FLEETS.items()]
    write_results(
        "fleet_rivals",
        "Fleets against what is obvious",
        rivals,
        f"Devices that are needed until every rate is met ({_HOST}, predicted), and how busy the "
        'busiest is; "no" where the rates are not met with as many as there may be. One each: a '
        "device per model. First fit: models in order of load, each onto the first device whose "
        "load stays below 1, co-compiled in that order. One device: all co-compiled. Simulated: "
        "the largest relative difference of a device's load in ten minutes of regular arrivals "
        "from the plan's.",
    )
    times = [time_row(models, devices) for models, devices in _SIZES]
    write_results(
        "fleet_time",
        "Time to plan a fleet",
        times,
        "CPU seconds: of the plans of each model by itself, which a fleet begins with, and of "
        "sharing out. Up to six models every partition is looked at.",
    )
    update_page("fleet", "\n\n".join(markdown(rows) for rows in (switching, rivals, times)))


def switching_rows() -> list[dict[str, Any]]:
    """Loads of published first inferences, and sizes that published turns mean."""
    from respect_tf import EdgeTpu, predict

    graph = _application("MobileNetV2", classes=_CLASSES)
    rows: list[dict[str, Any]] = []
    for source, preset, clock, first, later in _FIRST_INFERENCES:
        device = EdgeTpu.preset(preset, clock=clock)
        (stage,) = predict(graph, [0] * graph.num_ops, device).stages
        rows.append({
            "source": source,
            "model": f"MobileNetV2, {stage.cost.cached_bytes / 2**20:.2f} MiB on chip",
            "published ms": round(first - later, 1),
            "predicted ms": round(stage.load_ms, 1),
            "ratio": round(stage.load_ms / (first - later), 2),
        })  # fmt: skip
    for what, alone, after in _TURNS:
        added = after - alone
        rows.append({
            "source": "Dev Board Micro, google-coral/coralmicro#48",
            "model": f"{what}: {added / 35:.2f} to {added / 28.9:.2f} MiB",
            "published ms": round(added, 1),
            "predicted ms": "",
            "ratio": "",
        })  # fmt: skip
    return rows


def rivals_row(name: str, rates: Mapping[str, float], most: int) -> dict[str, Any]:
    """One fleet: planned, simulated, and against its rivals."""
    from respect_tf import plan_fleet

    graphs = {model: _application(model) for model in rates}
    fleet = plan_fleet(graphs, most, rates, device=_HOST, verbose=0)
    simulated = fleet.simulate(600.0, arrivals="regular")
    expected = _station_loads(fleet)
    error = max(abs(a / b - 1) for a, b in zip(simulated.busy, expected, strict=True))
    order = sorted(rates, key=lambda model: -_whole(graphs[model], 0).seconds(1.0) * rates[model])
    rivals = {
        "one each": [[model] for model in order],
        "first fit": _first_fit(graphs, rates, order),
        "one device": [order],
    }
    return {
        "fleet": name,
        "planned": _count(fleet.num_devices, fleet.load),
        "at least": fleet.device_bound,
        **{
            rival: "no" if len(held) > most else _count(len(held), _load(graphs, rates, held))
            for rival, held in rivals.items()
        },
        "simulated": f"{error:.2%}" if fleet.is_met else "",
    }


def _station_loads(fleet: Any) -> list[float]:
    """The plan's load of each station of `Fleet.simulate`."""
    loads: list[float] = []
    for group in fleet.groups:
        if len(group.models) > 1:
            loads.append(group.load)
            continue
        rate = fleet.rates[group.models[0]] / 1000.0
        loads += [
            ms * rate / count for ms, count in zip(group.stage_ms, group.replicas, strict=True)
        ]
    return loads


def _count(devices: int, load: float) -> str:
    return f"{devices} ({load:.0%})" if load <= 1 else f"no ({load:.0%})"


@dataclasses.dataclass(frozen=True)
class _Whole:
    """A whole model on one device, in seconds of an inference."""

    own: float
    transfers: float
    bus: float
    kept_bytes: int

    def seconds(self, slowdown: float) -> float:
        return self.own + self.transfers * slowdown


@functools.cache
def _whole(graph: Any, taken: int) -> _Whole:
    from respect_tf import EdgeTpu, predict
    from respect_tf.device import with_less_room

    host = EdgeTpu.preset(_HOST)
    (stage,) = predict(graph, [0] * graph.num_ops, with_less_room(host, taken)).stages
    transfers = stage.cost.input_ms + stage.cost.output_ms
    return _Whole(
        (stage.total_ms - transfers) / 1000,
        transfers / 1000,
        host.bus_ms_per_mib * stage.cost.moved_bytes / 2**20 / 1000,
        stage.cost.cached_bytes,
    )


def _load(
    graphs: Mapping[str, Any], rates: Mapping[str, float], devices: Sequence[Sequence[str]]
) -> float:
    """Of the busiest device, or of the bus, if each device has these models, compiled so."""
    from respect_tf import EdgeTpu

    slowdown = EdgeTpu.preset(_HOST).slowdown(len(devices))
    loads, bus = [], 0.0
    for held in devices:
        taken, load = 0, 0.0
        for model in held:
            way = _whole(graphs[model], taken)
            load += way.seconds(slowdown) * rates[model]
            bus += way.bus * rates[model]
            taken += way.kept_bytes
        loads.append(load)
    return max(*loads, bus if len(devices) > 1 else 0.0)


def _first_fit(
    graphs: Mapping[str, Any], rates: Mapping[str, float], order: Sequence[str]
) -> list[list[str]]:
    """Each model onto the first device that it does not overload."""
    devices: list[list[str]] = []
    for model in order:
        for held in devices:
            if _load(graphs, rates, [[*held, model]]) <= 1.0:
                held.append(model)
                break
        else:
            devices.append([model])
    return devices


def time_row(num_models: int, num_devices: int) -> dict[str, Any]:
    """CPU seconds for so many of the ten models."""
    from respect_tf import plan_fleet
    from respect_tf.planning import plan_devices

    names = TEN_MODELS[:num_models]
    graphs = {name: _application(name) for name in names}
    started = time.process_time()
    for graph in graphs.values():
        plan_devices(graph, num_devices, device=_HOST)
    alone = time.process_time() - started
    started = time.process_time()
    plan_fleet(graphs, num_devices, dict.fromkeys(names, 5.0), device=_HOST, verbose=0)
    whole = time.process_time() - started
    return {
        "models": num_models,
        "devices": num_devices,
        "plans alone s": round(alone, 2),
        "whole s": round(whole, 2),
    }


@functools.cache
def _application(name: str, *, classes: int = 1000) -> Any:
    import keras

    from respect_tf.graph.lowering import lower

    build = getattr(keras.applications, name)
    model = build(weights=None, classes=classes)
    if None in model.input_shape[1:]:  # the application leaves its size open
        model = build(weights=None, classes=classes, input_shape=(224, 224, 3))
    return lower(model)
