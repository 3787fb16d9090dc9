"""Stages on several devices in the simulator."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from respect_tf._errors import ArgumentError
from respect_tf.device import EdgeTpu, StageTimes, _events, predict, under_load
from respect_tf.graph import OpGraph
from respect_tf.planning import plan_devices
from respect_tf.run import simulate

MIB = 1 << 20


def stage(ms, replicas=1, **options):
    return StageTimes(busy_ms=ms, alone_ms=ms, replicas=replicas, **options)


@pytest.mark.parametrize(
    ("stages", "interval"),
    [
        ([stage(6, 3)], 2.0),
        ([stage(6, 3), stage(1)], 2.0),
        ([stage(2), stage(9, 3), stage(1)], 3.0),
        ([stage(4, 2), stage(6, 3), stage(2)], 2.0),
        ([stage(4, 4, bus_ms=1.5), stage(1, bus_ms=1.5)], 3.0),
        ([stage(4, 4, dispatch_ms=1.0), stage(1, dispatch_ms=1.0)], 2.0),
    ],
)
def test_a_stage_gives_as_many_results_as_its_devices_make(stages, interval):
    found = simulate(stages, 600)
    assert found.interval_ms == pytest.approx(interval, rel=0.01)
    assert (np.diff(found.result_ms) >= 0).all()
    assert all(0 < part <= 1.0001 for part in found.utilisation)


def test_a_device_works_on_one_input_at_a_time():
    found = simulate([stage(2), stage(5, 3, load_ms=7), stage(1)], 50)
    for at in range(3):
        by_device = {}
        for bar in found.gantt(0, 50):
            if bar.stage == at:
                by_device.setdefault(bar.replica, []).append((bar.start_ms, bar.end_ms))
        assert len(by_device) == (3 if at == 1 else 1)
        for bars in by_device.values():
            assert all(end <= start + 1e-9 for (_, end), (start, _) in itertools.pairwise(bars))
    first = (found.end_ms - found.start_ms)[:, 1]
    assert (first[:3] >= 12).all()  # each device loads parameters once
    assert first[6:].max() < 6


@pytest.mark.parametrize("replicas", [0, -1, 1.5, True, "2"])
def test_numbers_of_devices_that_make_no_sense(replicas):
    with pytest.raises(ArgumentError, match="replicas"):
        stage(1.0, replicas)


@pytest.mark.parametrize("seed", range(12))
def test_the_simulator_agrees_with_plans(seed):
    rng = np.random.default_rng(seed)
    count = 10
    graph = OpGraph.from_arrays(
        rng.integers(0, 3 * MIB, count),
        rng.integers(0, 300_000, count),
        [(op, op + 1) for op in range(count - 1)],
        macs=rng.integers(0, 10**9, count),
    )
    name = ["usb3-pi5", "usb3-pc", "pcie-m2", "usb2-pi3"][seed % 4]
    device = dataclasses.replace(EdgeTpu.preset(name), stage_ms=float(rng.choice([0.0, 0.25])))
    for row in plan_devices(graph, 6, device=device).rows[1:]:
        found = predict(graph, row.schedule, device, replicas=row.replicas)
        assert simulate(found, 800).interval_ms == pytest.approx(row.interval_ms, rel=0.01)


_AMOUNTS = st.integers(0, 3 * MIB)


@st.composite
def _plans(draw):
    count = draw(st.integers(1, 7))
    graph = OpGraph.from_arrays(
        [draw(_AMOUNTS) for _ in range(count)],
        [draw(st.integers(0, 400_000)) for _ in range(count)],
        [pair for pair in itertools.combinations(range(count), 2) if draw(st.booleans())],
        macs=[draw(st.integers(0, 10**9)) for _ in range(count)],
    )
    device = EdgeTpu.preset(draw(st.sampled_from(["usb3-pi5", "usb2-pi3", "pcie-m2"])))
    device = dataclasses.replace(
        device,
        bus_ms_per_mib=draw(st.sampled_from([0.0, device.link_ms_per_mib])),
        stage_ms=draw(st.sampled_from([0.0, 0.25, 3.0])),
    )
    num_devices = draw(st.integers(1, 6))
    row = plan_devices(graph, num_devices, device=device).row(num_devices)
    return predict(graph, row.schedule, device, replicas=row.replicas)


@given(_plans(), st.floats(0.1, 0.95))
@settings(max_examples=40, deadline=None)
def test_plans_of_any_graph_are_as_fast_and_wait_as_long_as_they_say(plan, part):
    assert simulate(plan, 8000).interval_ms == pytest.approx(plan.interval_ms, rel=0.01)
    rate = part * 1000 / plan.interval_ms
    load = under_load(plan, rate)
    found = simulate(plan, 20_000, arrival_rate=rate, arrivals="poisson")
    waited = (found.result_ms - found.arrival_ms)[2000:]
    assert load.mean_ms == pytest.approx(waited.mean(), rel=1e-6)
    for percent, ms in load.percentiles_ms.items():
        assert ms == pytest.approx(np.percentile(waited, percent), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_events_in_c_are_those_of_the_plain_loop(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    stages = [
        StageTimes(
            busy_ms=float(rng.exponential(2)),
            alone_ms=float(rng.exponential(1)),
            dispatch_ms=float(rng.choice([0, 0.3])),
            bus_ms=float(rng.choice([0, 0.5])),
            load_ms=float(rng.choice([0, 4])),
            replicas=int(rng.integers(1, 4)),
        )
        for _ in range(int(rng.integers(1, 6)))
    ]
    options = {"arrival_rate": 300, "arrivals": "poisson", "input_queue_size": 3, "pop_ms": 0.2}
    for more in ({}, {**options, "output_queue_size": 1}):
        fast = simulate(stages, 300, **more)
        with monkeypatch.context() as patch:
            patch.setattr(_events, "loop", lambda function: function)
            slow = simulate(stages, 300, **more)
        for name in ("enter_ms", "start_ms", "end_ms", "result_ms"):
            np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name))
