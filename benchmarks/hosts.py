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
from benchmarks._tables import markdown, update_page, write_results
from respect_tf.device import ChipCosts, DeviceCosts, EdgeTpu, Hosts, predict
from respect_tf.device._bus import PipelineTime
from respect_tf.device._calibrate import calibrate_rows
from respect_tf.device._chip import remember
from respect_tf.device._measurements import measurement_of
from respect_tf.device._transfers import stage_tensors
from respect_tf.graph import OpGraph

NUM_STAGES = (2, 3, 4, 5, 6)
_HOSTS = ("usb3-pc", "usb3-pi5", "usb3-pi4", "usb3-jetson")
# PCs differ by what outputs take: 12 to 45 ms per MiB.
_JUDGES = ("usb3-pc@12", "usb3-pc@21", "usb3-pc@45", "usb3-pi5", "usb3-pi4", "usb3-jetson")
_FAST = tuple(f"{judge} max" for judge in _JUDGES)
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
    update_page("hosts", f"{markdown(regret)}\n\n{markdown(simulated)}")


def regret_rows(graphs: Mapping[str, OpGraph]) -> list[dict[str, Any]]:
    """A row per way to cut: its regret on the hosts that it was made for, and on others."""
    regrets: dict[str, list[float]] = {}
    seconds: list[float] = []
    for graph, num_stages in itertools.product(graphs.values(), NUM_STAGES):
        case = _Case(graph, num_stages)

        def note(
            way: str, device: Any, judges: Sequence[str], case: _Case = case, **options: Any
        ) -> None:
            made = respect_tf.schedule(case.graph, case.num_stages, device=device, **options)
            regrets.setdefault(way, []).extend(case.regrets(made, judges))

        note("those hosts", case.devices(_JUDGES), _JUDGES)
        for host in _JUDGES:
            others = [other for other in _JUDGES if other != host]
            note("those hosts but one, on that one", case.devices(others), [host])
            note(f"{host} alone, bus shared", case.devices([host])[1], _JUDGES)
        started = time.process_time()
        note("usb3, the default, on those hosts", "usb3", _JUDGES)
        seconds.append(time.process_time() - started)
        note("usb3, on those hosts at both clocks", "usb3", [*_JUDGES, *_FAST])
        note("compiler", _HOSTS[0], _JUDGES, scheduler="compiler")
        note("balanced bytes", _HOSTS[0], _JUDGES, scheduler="exact", objective="memory")
    rows = [_row(f"made for {way}", values, "{:.1%}") for way, values in regrets.items()]
    return [*rows, _row("CPU seconds to cut for usb3 and to judge", seconds, "{:.2f} s")]


def _row(way: str, values: Sequence[float], shown: str) -> dict[str, Any]:
    return {
        "cut": way,
        "mean regret": shown.format(statistics.fmean(values)),
        "90 % are below": shown.format(float(np.quantile(values, 0.9))),
        "worst": shown.format(max(values)),
        "cases": len(values),
    }


class _Case:
    """A graph in a number of stages, and the optimum of each host that judges cuts of it."""

    def __init__(self, graph: OpGraph, num_stages: int) -> None:
        self.graph, self.num_stages = graph, num_stages
        self._judges = {name: _variants(name) for name in (*_JUDGES, *_FAST)}
        self._optima = {
            judge.name: _optimum(graph, num_stages, judge)
            for group in self._judges.values()
            for judge in group
        }

    def devices(self, hosts: Iterable[str]) -> list[EdgeTpu]:
        """The variants of some hosts: the bus of each free, and shared."""
        return [judge for host in hosts for judge in self._judges[host]]

    def regrets(self, cut: Any, hosts: Iterable[str]) -> list[float]:
        """What a cut costs above the optimum on each variant of some hosts."""
        judges = Hosts("judges", tuple(self.devices(hosts)))
        found = predict(self.graph, cut, judges).by_host
        return [one.interval_ms / self._optima[name] - 1 for name, one in found.items()]


def simulated_rows(graphs: Mapping[str, OpGraph]) -> list[dict[str, Any]]:
    """Hosts drawn from the ranges: the first cut, and the one after a benchmark run of it."""
    random = np.random.default_rng(0)
    first: list[float] = []
    second: list[float] = []
    third: list[float] = []
    fourth: list[float] = []
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
            whole = _measured_pipeline(
                graph, real, cut, truth, np.random.default_rng([number, num_stages])
            )
            fitted = calibrate_rows(rows, pipelines=[whole]).device
            again = respect_tf.schedule(graph, num_stages, device=fitted)
            fourth.append(predict(real, again, truth).interval_ms / optimum - 1)
            known = dataclasses.replace(fitted, bus_ms_per_mib=truth.bus_ms_per_mib)
            again = respect_tf.schedule(graph, num_stages, device=known)
            third.append(predict(real, again, truth).interval_ms / optimum - 1)
    return [
        _row("usb3", first, "{:.1%}"),
        _row("after one benchmark run and calibrate", second, "{:.1%}"),
        _row("the same, and the time of the whole pipeline", fourth, "{:.1%}"),
        _row("the same, where the bus is known", third, "{:.1%}"),
    ]


def _optimum(graph: OpGraph, num_stages: int, device: EdgeTpu) -> float:
    found = respect_tf.schedule(graph, num_stages, device=device)
    if found.cost is None or found.status != "optimal":
        raise AssertionError(found)
    return float(found.cost)


def _variants(judge: str) -> list[EdgeTpu]:
    """A host with the bus of its devices free, and shared."""
    name, _, clock = judge.partition(" ")
    host, _, output = name.partition("@")
    device = EdgeTpu.preset(host, clock=clock or "std")  # type: ignore[arg-type]
    if output:
        per_mib = device.request_bytes / _MIB * device.requests_in_flight
        device = dataclasses.replace(device, output_ms_per_request=float(output) * per_mib)
    return [
        dataclasses.replace(device, name=f"{judge} {bus:g}", bus_ms_per_mib=bus)
        for bus in (0.0, device.link_ms_per_mib)
    ]


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


def _measured_pipeline(
    graph: OpGraph, real: OpGraph, cut: Any, device: EdgeTpu, random: np.random.Generator
) -> PipelineTime:
    """A noisy time of the whole pipeline, as the same run gives it."""
    chip = ChipCosts.of(graph, device)
    stage_of = cut.stages.astype(np.int64)
    segments = []
    for stage in range(int(stage_of.max()) + 1):
        ops = np.flatnonzero(stage_of == stage).tolist()
        segments.append((graph, chip.stage(ops, *stage_tensors(graph, stage_of, stage)), 1))
    ms = predict(real, cut, device).interval_ms * float(random.normal(1.0, _NOISE))
    return PipelineTime(ms, tuple(segments))


_REGRET_NOTES = """
Ten models, 2 to 6 stages. "Those hosts" are a PC with 12, 21 and 45 ms per MiB of outputs,
Raspberry Pi 5 and 4, and Jetson Nano, each with the bus of its devices free and shared, at the
clock of the packaged runtime. "but one" leaves one of the six out of the set, each in turn, and
judges the cut there. "usb3", the default, also has to serve the other clock, twice as fast, and
does not know PCs of 12 and 45 ms. All cuts but the compiler's are proved optimal for what they were
made for; of those for several hosts that is the worst regret and not the mean.
"""

_SIMULATED_NOTES = f"""
{_NUM_SIMULATED} hosts whose constants are drawn from the ranges of a known one, bus included, each
with one of the ten models in {", ".join(map(str, _SIMULATED_STAGES))} stages. Each op takes up to
{_UNMODELLED:.0%} more or less than its price. The benchmark run is a time for each stage and for
the whole model, each twice with {_NOISE:.0%} of noise; it says nothing about the shared bus, of
which `calibrate` assumes a quarter of the link's rate. `run_pipeline.py --benchmark` also writes
the time between results of the whole pipeline, which tells the bus where that is what limits it.
"""


if __name__ == "__main__":
    main()
