"""Latency under load: textbook queues, and the simulator."""

import dataclasses
import math

import numpy as np
import pytest

from respect_tf._errors import ArgumentError
from respect_tf.device import EdgeTpu, predict, under_load
from respect_tf.graph import OpGraph
from respect_tf.run import simulate

MIB = 1 << 20
DEVICE = dataclasses.replace(EdgeTpu.preset("usb3-pi5"), stage_ms=0.0, bus_ms_per_mib=0.0)


@pytest.fixture(scope="module")
def graph():
    return OpGraph.from_arrays(
        [2 * MIB] * 4,
        [100_000] * 4,
        [(0, 1), (1, 2), (2, 3)],
        macs=[10**9, 3 * 10**9, 10**9, 10**8],
    )


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8])
def test_one_stage_is_a_queue_with_random_arrivals_and_one_server(graph, part):
    found = predict(graph, np.zeros(4, int), DEVICE)
    load = under_load(found, part * 1000 / found.interval_ms)
    # Pollaczek and Khinchine: mean wait of M/D/1.
    expected = found.latency_ms * (1 + part / (2 * (1 - part)))
    assert load.mean_ms == pytest.approx(expected, rel=0.05)
    assert load.percentiles_ms[50] <= load.percentiles_ms[90] <= load.percentiles_ms[99]


def test_inputs_that_are_far_apart_do_not_wait(graph):
    found = predict(graph, [0, 0, 1, 1], DEVICE)
    assert under_load(found, 1e-3).mean_ms == pytest.approx(found.latency_ms)


def test_more_than_a_pipeline_can_work_on(graph):
    found = predict(graph, [0, 0, 1, 1], DEVICE)
    load = under_load(found, 1000 / found.interval_ms)
    assert load.mean_ms == math.inf
    assert set(load.percentiles_ms.values()) == {math.inf}


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, True, "9", None])
def test_rates_that_make_no_sense(graph, rate):
    with pytest.raises(ArgumentError, match="arrivals_per_second"):
        under_load(predict(graph, [0, 0, 1, 1], DEVICE), rate)


@pytest.mark.parametrize("bus", [0.0, 10.0])
@pytest.mark.parametrize("stage_ms", [0.0, 1.0])
@pytest.mark.parametrize(
    ("stages", "replicas"),
    [
        ([0, 0, 0, 0], [1]),
        ([0, 0, 0, 0], [3]),
        ([0, 1, 1, 2], [1, 1, 1]),
        ([0, 1, 1, 2], [2, 3, 1]),
    ],
)
def test_the_simulator_agrees(graph, stages, replicas, stage_ms, bus):
    device = dataclasses.replace(DEVICE, stage_ms=stage_ms, bus_ms_per_mib=bus)
    found = predict(graph, stages, device, replicas=replicas)
    for part in (0.3, 0.7):
        rate = part * 1000 / found.interval_ms
        load = under_load(found, rate)
        simulation = simulate(found, 4000, arrival_rate=rate, arrivals="poisson")
        # The same inputs arrive in the simulation: what differs is how host and bus take turns.
        assert load.mean_ms == pytest.approx(float(simulation.latency_ms.mean()), rel=0.08)
        for percent in (50, 90):
            assert load.percentiles_ms[percent] == pytest.approx(
                simulation.latency_percentile(percent), rel=0.15
            )
