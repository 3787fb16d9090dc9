import dataclasses
import functools
import itertools
import math

import numpy as np
import pytest
from schedule_reference import stage_parts

from respect_tf.device import DeviceCosts, EdgeTpu, Hosts, predict
from respect_tf.graph import OpGraph
from respect_tf.planning._search import PlanSearch
from respect_tf.scheduling import schedule

MIB = 1 << 20
MOST = 6


def random_graph(rng):
    """Up to 8 ops, of sizes that make some stages stream parameters and some wait for the bus."""
    num_ops = int(rng.integers(1, 9))
    pairs = list(itertools.combinations(range(num_ops), 2))
    density = rng.choice([0.25, 0.5, 0.8])
    edges = [pair for pair in pairs if rng.random() < density]
    return OpGraph.from_arrays(
        rng.integers(0, int(rng.choice([1, 3, 5])) * MIB, num_ops),
        rng.integers(0, int(rng.choice([1000, 400_000])), num_ops),
        np.array(edges, np.int64).reshape(-1, 2),
        macs=rng.integers(0, int(rng.choice([1, 10**9])), num_ops),
    )


def random_device(rng):
    name = rng.choice(["usb3-pi5", "usb3-pc", "usb2-pi3", "pcie-m2", "pcie-card"])
    device = EdgeTpu.preset(str(name))
    return dataclasses.replace(
        device,
        bus_ms_per_mib=float(rng.choice([0.0, device.link_ms_per_mib])),
        stage_ms=float(rng.choice([0.0, 0.25, 3.0])),
    )


def chains(graph):
    """All cuts: tuples of nested sets of ops, from the first stage to everything."""
    edges = graph.edges.tolist()
    every = frozenset(range(graph.num_ops))
    ideals = [
        frozenset(ops)
        for size in range(1, graph.num_ops + 1)
        for ops in itertools.combinations(range(graph.num_ops), size)
        if all(u in ops for u, v in edges if v in ops)
    ]

    def longer(last, length):
        if last == every:
            yield ()
        elif length < MOST:
            for ideal in ideals:
                if last < ideal:
                    yield from ((ideal, *rest) for rest in longer(ideal, length + 1))

    yield from longer(frozenset(), 0)


def distributions(num_stages, num_devices):
    """All numbers of devices for stages, of that sum."""
    for bars in itertools.combinations(range(1, num_devices), num_stages - 1):
        yield tuple(b - a for a, b in itertools.pairwise((0, *bars, num_devices)))


class Enumeration:
    """The least interval on some devices, by looking at all cuts and distributions."""

    def __init__(self, graph, devices):
        self.graph, self.devices = graph, devices
        numbers = {}  # of stages, by the ops before and up to their end
        cuts = {}
        for cut in chains(graph):
            row = [
                numbers.setdefault(stage, len(numbers))
                for stage in itertools.pairwise((frozenset(), *cut))
            ]
            cuts.setdefault(len(cut), []).append(row)
        self.cuts = {length: np.array(rows) for length, rows in cuts.items()}
        self.parts = [stage_parts(graph, self._stages(*stage), 1) for stage in numbers]

    def _stages(self, before, after):
        ops = range(self.graph.num_ops)
        return [0 if op in before else 1 if op in after else 2 for op in ops]

    @functools.cache  # noqa: B019 - lives as long as a test
    def stages(self, num_devices):
        """ms and bytes of all stages on each device. [num_hosts, num_stages] each."""
        costs = [DeviceCosts.of(self.graph, one, num_devices) for one in self.devices]
        found = [[each.stage(*part) for part in self.parts] for each in costs]
        return (
            np.array([[stage.total_ms for stage in row] for row in found]),
            np.array([[stage.moved_bytes for stage in row] for row in found]),
        )

    def least(self, num_devices, scales, most_replicas=MOST):
        """The least of the worst over hosts, with exactly so many devices at work."""
        times, moved = self.stages(num_devices)
        scales = np.array(scales)[:, None]
        costs, best = (times * scales).max(axis=0), math.inf
        for length, cuts in self.cuts.items():
            if length > num_devices:
                continue
            shared = np.zeros(len(cuts))
            if num_devices > 1:
                rates = np.array([one.bus_ms_per_mib for one in self.devices])[:, None] / MIB
                bus = (moved[:, cuts].sum(axis=2) * rates * scales).max(axis=0)
                host = max(one.stage_ms * s[0] for one, s in zip(self.devices, scales, strict=True))
                shared = np.maximum(bus, host * length)
            for replicas in distributions(length, num_devices):
                if max(replicas) <= most_replicas:
                    slowest = (costs[cuts] / np.array(replicas)).max(axis=1)
                    best = min(best, float(np.maximum(slowest, shared).min()))
        return best


@pytest.mark.parametrize("seed", range(200))
def test_plans_are_as_good_as_the_best_of_all_cuts_and_distributions(seed):
    rng = np.random.default_rng(seed)
    graph, device = random_graph(rng), random_device(rng)
    truth = Enumeration(graph, (device,))
    search = PlanSearch(graph, device, MOST)
    assert search.is_complete
    least = math.inf
    for num_devices in range(1, MOST + 1):
        least = min(least, truth.least(num_devices, (1.0,)))
        found = search.best(num_devices)
        assert found.cost == pytest.approx(least, rel=3e-9)
        assert found.lower_bound == pytest.approx(found.cost, rel=3e-9)
        assert sum(found.replicas) <= num_devices
        prediction = predict(graph, found.stages, device, replicas=found.replicas)
        assert prediction.interval_ms == pytest.approx(found.cost, rel=3e-9)


@pytest.mark.parametrize("seed", range(20))
def test_without_replicas_plans_are_the_best_pipelines(seed):
    rng = np.random.default_rng(seed)
    graph, device = random_graph(rng), random_device(rng)
    truth, search = Enumeration(graph, (device,)), PlanSearch(graph, device, MOST)
    least = math.inf
    for num_devices in range(1, min(MOST, graph.num_ops) + 1):
        least = min(least, truth.least(num_devices, (1.0,), most_replicas=1))
        found = search.best(num_devices, most_replicas=1)
        assert found.cost == pytest.approx(least, rel=3e-9)
        assert set(found.replicas) == {1}
        assert found.cost <= schedule(graph, num_devices, device=device).cost * (1 + 3e-9)


@pytest.mark.parametrize("seed", range(20))
def test_the_worst_ratio_of_several_hosts_is_the_least(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    first = EdgeTpu.preset("usb3-pi5")
    devices = (
        first,
        dataclasses.replace(first, name="slow outputs", output_ms_per_request=0.9),
        dataclasses.replace(first, name="shared", bus_ms_per_mib=first.link_ms_per_mib),
        dataclasses.replace(first, name="crowded", contention=((2, 0.2), (4, 0.9))),
    )
    hosts, truth = Hosts("four", devices), Enumeration(graph, devices)
    search = PlanSearch(graph, hosts, 4)
    for num_devices in (1, 2, 4):
        optima = [
            min(
                truth.least(count, tuple(float(one is device) for one in devices))
                for count in range(1, num_devices + 1)
            )
            for device in devices
        ]
        scales = tuple(1 / one for one in optima)
        least = min(truth.least(count, scales) for count in range(1, num_devices + 1))
        found = search.best(num_devices)
        assert found.optima == pytest.approx(optima, rel=3e-9)
        assert found.cost == pytest.approx(least, rel=5e-9)
        by_host = predict(graph, found.stages, hosts, replicas=found.replicas).by_host.values()
        worst = max(one.interval_ms / best for one, best in zip(by_host, optima, strict=True))
        assert worst == pytest.approx(found.cost, rel=5e-9)
