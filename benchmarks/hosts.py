"""What the cut for an unknown host costs on hosts that it was not made for, and on simulated ones.

Regret is the interval of a cut on a host divided by that host's own optimum for as many stages,
minus 1. All times are the device model's; what differs is the host.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import respect_tf
from benchmarks._models import TEN_MODELS, int8_model
from benchmarks._tables import markdown, update_readme, write_results
from respect_tf.device import ChipCosts, DeviceCosts, EdgeTpu, Hosts, predict, resolve_device
from respect_tf.device._calibrate import calibrate_rows
from respect_tf.device._chip import remember
from respect_tf.device._measurements import measurement_of
from respect_tf.device._transfers import stage_tensors
from respect_tf.graph import OpGraph

NUM_STAGES = (2, 3, 4, 5, 6)
_HOSTS = ("usb3-pc", "usb3-pi5", "usb3-pi4", "usb3-jetson")
_PC_OUTPUTS = (12.0, 21.0, 45.0)  # ms per MiB: the PCs differ by that
_NUM_SIMULATED = 40
_SIMULATED_STAGES = (2, 4, 6)
_NOISE, _UNMODELLED = 0.02, 0.1
_MIB = 2**20


def main() -> None:
    """Measure and write `results/hosts_regret.md` and `results/hosts_simulated.md`."""
    graphs = {name: OpGraph.from_tflite(int8_model(name)) for name in TEN_MODELS}
    regret = regret_rows(graphs)
    write_results("hosts_regret", "Regret of cuts on USB 3 hosts", regret, _REGRET_NOTES)
    simulated = simulated_rows(graphs)
    write_results("hosts_simulated", "Hosts that nobody has measured", simulated, _SIMULATED_NOTES)
    update_readme("hosts", f"{markdown(regret)}\n\n{markdown(simulated)}")


def regret_rows(graphs: Mapping[str, OpGraph]) -> list[dict[str, Any]]:
    """A row per way to cut: its regret on the hosts that it was made for, and on others."""
    regrets: dict[str, list[float]] = {}
    worst: dict[str, list[float]] = {}
    seconds: list[float] = []

    def note(way: str, values: Sequence[float]) -> None:
        regrets.setdefault(way, []).extend(values)
        worst.setdefault(way, []).append(max(values))

    for graph, num_stages in itertools.product(graphs.values(), NUM_STAGES):
        case = _Case(graph, num_stages)
        started = time.process_time()
        default = respect_tf.schedule(graph, num_stages, device="usb3")
        seconds.append(time.process_time() - started)
        note("usb3, hosts of the set", case.regrets(default, _HOSTS))
        for host in _HOSTS:
            others = [one for one in resolve_device("usb3") if not one.name.startswith(host)]
            made = respect_tf.schedule(graph, num_stages, device=others)
            note("usb3 without the host, on that host", case.regrets(made, [host]))
            own = respect_tf.schedule(graph, num_stages, device=host)
            note(f"optimum of {host}, on all", case.regrets(own, _HOSTS))
        stock = respect_tf.schedule(graph, num_stages, "compiler", device="usb3-pi5")
        note("compiler", case.regrets(stock, _HOSTS))
        memory = respect_tf.schedule(graph, num_stages, "exact", objective="memory")
        note("balanced bytes", case.regrets(memory, _HOSTS))
    return [
        {
            "cut": way,
            "mean regret": f"{statistics.fmean(values):.1%}",
            "90 % are below": f"{float(np.quantile(values, 0.9)):.1%}",
            "worst": f"{max(values):.1%}",
            "cuts": len(worst[way]),
        }
        for way, values in regrets.items()
    ] + [
        {
            "cut": "CPU seconds of the cut for all of usb3: mean, largest",
            "mean regret": f"{statistics.fmean(seconds):.2f} s",
            "90 % are below": f"{float(np.quantile(seconds, 0.9)):.2f} s",
            "worst": f"{max(seconds):.2f} s",
            "cuts": len(seconds),
        }
    ]


class _Case:
    """A graph in a number of stages, and the optimum of each host that judges cuts of it."""

    def __init__(self, graph: OpGraph, num_stages: int) -> None:
        self._graph = graph
        self._judges = {host: _variants(host) for host in _HOSTS}
        self._optima = {
            judge.name: _optimum(graph, num_stages, judge)
            for group in self._judges.values()
            for judge in group
        }

    def regrets(self, cut: Any, hosts: Iterable[str]) -> list[float]:
        """What a cut costs above the optimum on each variant of some hosts."""
        group = [judge for host in hosts for judge in self._judges[host]]
        found = predict(self._graph, cut, Hosts("judges", tuple(group))).by_host
        return [one.interval_ms / self._optima[name] - 1 for name, one in found.items()]


def simulated_rows(graphs: Mapping[str, OpGraph]) -> list[dict[str, Any]]:
    """Hosts drawn from the ranges: the first cut, and the one after a benchmark run of it."""
    random = np.random.default_rng(0)
    first: list[float] = []
    second: list[float] = []
    names = list(graphs)
    for number in range(_NUM_SIMULATED):
        truth = _drawn(random)
        graph = graphs[names[number % len(names)]]
        real = _unmodelled(graph, truth, random)
        for num_stages in _SIMULATED_STAGES:
            optimum = _optimum(real, num_stages, truth)
            cut = respect_tf.schedule(graph, num_stages, device="usb3")
            first.append(predict(real, cut, truth).interval_ms / optimum - 1)
            rows = [
                *_measured(graph, real, cut.stages, truth, random),
                *_measured(graph, real, np.zeros(graph.num_ops, np.int64), truth, random),
            ]
            fitted = calibrate_rows(rows).device
            again = respect_tf.schedule(graph, num_stages, device=fitted)
            second.append(predict(real, again, truth).interval_ms / optimum - 1)
    return [
        {
            "cut": way,
            "mean regret": f"{statistics.fmean(values):.1%}",
            "90 % are below": f"{float(np.quantile(values, 0.9)):.1%}",
            "worst": f"{max(values):.1%}",
            "cuts": len(values),
        }
        for way, values in (("usb3", first), ("after one benchmark run and calibrate", second))
    ]


def _optimum(graph: OpGraph, num_stages: int, device: EdgeTpu) -> float:
    found = respect_tf.schedule(graph, num_stages, device=device)
    if found.cost is None or found.status != "optimal":
        raise AssertionError(found)
    return float(found.cost)


def _variants(host: str) -> list[EdgeTpu]:
    """What judges a cut for a host: both clocks, bus shared and free, and of PCs three outputs."""
    found = []
    for clock in ("std", "max"):
        device = EdgeTpu.preset(host, clock=clock)  # type: ignore[arg-type]
        outputs = _PC_OUTPUTS if host == "usb3-pc" else (device.output_ms_per_mib,)
        for output in outputs:
            per_request = output * device.request_bytes / _MIB * device.requests_in_flight
            for bus in (0.0, device.link_ms_per_mib):
                name = f"{host} {clock} {output:g} {bus:g}"
                found.append(
                    dataclasses.replace(
                        device, name=name, output_ms_per_request=per_request, bus_ms_per_mib=bus
                    )
                )
    return found


def _drawn(random: np.random.Generator) -> EdgeTpu:
    """A host with constants anywhere in the ranges of one that is known."""
    host, clock = _HOSTS[random.integers(len(_HOSTS))], ("std", "max")[random.integers(2)]
    device = EdgeTpu.preset(host, clock=clock)  # type: ignore[arg-type]
    names = ("fixed_ms", "link_ms_per_mib", "output_ms_per_request", "stage_ms")
    drawn = {name: float(random.uniform(*device.range_of(name))) for name in names}
    bus = float(random.uniform(0.0, drawn["link_ms_per_mib"]))
    return dataclasses.replace(device, name="simulated", bus_ms_per_mib=bus, **drawn)


def _unmodelled(graph: OpGraph, device: EdgeTpu, random: np.random.Generator) -> OpGraph:
    """The same graph, whose ops take up to a tenth more or less than the model says."""
    real = dataclasses.replace(graph)
    chip = ChipCosts.of(graph, device)
    factors = random.uniform(1 - _UNMODELLED, 1 + _UNMODELLED, graph.num_ops)
    remember(dataclasses.replace(chip, graph=real, chip_ms=chip.chip_ms * factors))
    return real


def _measured(
    graph: OpGraph,
    real: OpGraph,
    stages: npt.NDArray[Any],
    device: EdgeTpu,
    random: np.random.Generator,
) -> list[Any]:
    """Two noisy times of each stage, as a benchmark run gives them."""
    known, true = DeviceCosts.of(graph, device), DeviceCosts.of(real, device)
    stage_of = stages.astype(np.int64)
    rows = []
    for stage in range(int(stage_of.max()) + 1):
        ops = np.flatnonzero(stage_of == stage).tolist()
        entering, leaving = stage_tensors(graph, stage_of, stage)
        cost = known.stage(ops, entering, leaving)
        ms = true.stage(ops, entering, leaving).total_ms
        for _ in range(2):
            noisy = ms * float(random.normal(1.0, _NOISE))
            rows.append(measurement_of(known.chip, cost, leaving, noisy, reload=False))
    return rows


_REGRET_NOTES = """
Ten models, 2 to 6 stages. Each cut is judged on PC (12, 21 and 45 ms per MiB of outputs),
Raspberry Pi 5, Raspberry Pi 4 and Jetson Nano, with the bus shared and free, at both clocks.
"usb3" is the default: the cut of least worst regret over those hosts. "without the host" leaves
all variants of a host out of the set that the cut is made for, each host in turn, and judges it
there. "optimum of HOST" is the best cut for that host alone with a shared bus at the packaged
runtime's clock. All are proved optimal for what they were made for.
"""

_SIMULATED_NOTES = f"""
{_NUM_SIMULATED} hosts whose constants are drawn from the ranges of a known one, bus included, each
with one of the ten models in {", ".join(map(str, _SIMULATED_STAGES))} stages. Each op takes up to
{_UNMODELLED:.0%} more or less than its price. The benchmark run is a time for each stage and for
the whole model, each twice with {_NOISE:.0%} of noise; it says nothing about the shared bus.
"""


if __name__ == "__main__":
    main()
