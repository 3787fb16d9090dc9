"""The simulator against cases worked by hand, a recurrence, and the closed form."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_builder import ModelBuilder

from respect_tf import ArgumentError, OpGraph
from respect_tf.device import EdgeTpu, StageTimes, play, predict, stage_times
from respect_tf.run import GanttBar, simulate


def _times(busy, alone=None, **others):
    return StageTimes(busy_ms=busy, alone_ms=busy if alone is None else alone, **others)


def _starts(simulation):
    return simulation.start_ms.T.tolist()


# Cases worked by hand


def test_one_input_passes_one_stage_after_the_other():
    one = simulate([3, 5, 2], 1)
    assert _starts(one) == [[0], [3], [8]]
    assert one.latency_ms.tolist() == [10]
    assert one.interval_ms == 10
    assert one.utilisation == (0.3, 0.5, 0.2)


def test_a_fast_stage_waits_for_room_before_a_slow_one():
    # Stage 0: done with 0, 1, 2 at 1, 2, 3; 2 has no place in the queue until 1 leaves it at 5.
    four = simulate([1, 4], 4)
    assert _starts(four) == [[0, 1, 2, 5], [1, 5, 9, 13]]
    assert four.result_ms.tolist() == [5, 9, 13, 17]
    # The input queue holds one, so 1 enters when 0 has begun, 2 when 1 has, and so on.
    assert four.enter_ms.tolist() == [0, 0, 1, 2]
    assert four.interval_ms == 4


def test_a_larger_queue_lets_it_work_ahead():
    assert _starts(simulate([1, 4], 4, inner_queue_size=2))[0] == [0, 1, 2, 3]


def test_inputs_that_come_slowly_find_an_empty_pipeline():
    slow = simulate([2, 3], 4, arrival_rate=100)
    assert _starts(slow) == [[0, 10, 20, 30], [2, 12, 22, 32]]
    assert slow.latency_ms.tolist() == [5, 5, 5, 5]
    assert slow.interval_ms == 10
    assert slow.utilisation == pytest.approx((0.2, 0.3))


def test_inputs_that_come_too_fast_wait_before_the_pipeline():
    fast = simulate([10], 4, arrival_rate=200)
    assert fast.enter_ms.tolist() == [0, 5, 10, 15]
    assert fast.latency_ms.tolist() == [10, 15, 20, 25]
    small = simulate([10], 4, arrival_rate=200, input_queue_size=1)
    assert small.enter_ms.tolist() == [0, 5, 10, 20]  # the fourth has no room until 20
    assert small.latency_ms.tolist() == [10, 15, 20, 25]  # counted from 15 all the same


def test_the_first_inference_loads_parameters():
    loading = simulate([_times(2, load_ms=10), _times(2, load_ms=5)], 3)
    assert _starts(loading) == [[0, 12, 14], [12, 19, 21]]


def test_the_host_hands_over_one_after_the_other():
    # 0 reaches stage 0 at 1; its hand-over to stage 1 is asked for at 3, but at 1 the host began
    # with input 1 (until 2), and at 2 with nothing: so it takes from 3 to 4.
    two = simulate([_times(2, dispatch_ms=1)] * 2, 2)
    assert _starts(two) == [[1, 3], [4, 6]]
    assert two.result_ms.tolist() == [6, 8]


def test_transfers_share_the_bus():
    # Stage 1 begins with 0 when stage 0 begins with 1. Both take 2 ms of 3 over the bus: the one
    # that is later in the pipeline first, so stage 0 ends at 3 + 2 + 2 = 7.
    bus = simulate([_times(3, bus_ms=2)] * 2, 2)
    assert _starts(bus) == [[0, 3], [3, 7]]
    assert bus.end_ms.T.tolist() == [[3, 7], [6, 10]]


def test_transfers_are_slowed_while_others_are_in_the_pipeline():
    stages = [_times(4, alone=3), _times(6, alone=4)]
    assert simulate(stages, 1).latency_ms.tolist() == [7]
    assert simulate(stages, 2, arrival_rate=10).latency_ms.tolist() == [7, 7]
    # The first is still alone when stage 0 begins with it.
    assert _starts(simulate(stages, 2)) == [[0, 3], [3, 9]]


def test_whoever_takes_the_results_can_be_the_slowest():
    slow = simulate([1, 1], 4, pop_ms=5, output_queue_size=1)
    assert slow.result_ms.tolist() == [2, 7, 12, 17]
    # 2 ends at 4; its place in the output queue is free when 1 leaves it at 7.
    assert _starts(slow)[1] == [1, 2, 3, 7]
    assert _starts(simulate([1, 1], 4, pop_ms=5))[1] == [1, 2, 3, 4]


# Against a recurrence, which is another way to say the same where nothing is shared


def _recurrence(busy, arrivals, room):
    """Start and end of every input in every stage; stages hand on when there is room."""
    starts = np.zeros((len(arrivals), len(busy)))
    gone = np.zeros_like(starts)  # when the stage is rid of the input
    for n, arrival in enumerate(arrivals):
        given = arrival
        for k, time_ in enumerate(busy):
            starts[n, k] = max(given, gone[n - 1, k] if n else 0)
            gone[n, k] = starts[n, k] + time_
            if k + 1 < len(busy) and n >= room:
                gone[n, k] = max(gone[n, k], starts[n - room, k + 1])
            given = gone[n, k]
    return starts


_ms = st.integers(0, 40).map(lambda tenths: tenths / 4)


@given(
    st.lists(_ms, min_size=1, max_size=5),
    st.lists(_ms, min_size=1, max_size=30),
    st.integers(1, 3),
)
def test_starts_are_those_of_a_recurrence(busy, gaps, room):
    arrivals = np.cumsum(gaps)
    limits = [10**9, *[room] * (len(busy) - 1)]
    played = play([_times(one) for one in busy], arrivals, limits)
    expected = _recurrence(busy, arrivals, room)
    assert np.array_equal(played.start_ms.T, expected)
    assert np.array_equal(played.end_ms.T, expected + np.array(busy))


# Against the closed form


@st.composite
def _shared_stages(draw):
    stages = []
    dispatch = draw(_ms) / 8
    for _ in range(draw(st.integers(2, 6))):
        busy = draw(st.integers(1, 60)) / 4
        stages.append(
            _times(
                busy,
                alone=busy * draw(st.sampled_from([0.5, 0.9, 1])),
                bus_ms=busy * draw(st.sampled_from([0, 0.1, 0.5, 1])),
                cores_ms=busy * draw(st.sampled_from([0, 0, 0.25, 0.5])),
                dispatch_ms=dispatch,
                load_ms=draw(_ms),
            )
        )
    return stages


@settings(deadline=None)
@given(_shared_stages())
def test_a_full_pipeline_keeps_the_interval_of_the_closed_form(stages):
    slowest = max(stage.busy_ms for stage in stages)
    shared = [sum(s.bus_ms for s in stages), sum(s.dispatch_ms for s in stages)]
    shared.append(sum(s.cores_ms for s in stages))
    closed = max(slowest, *shared)
    full = simulate(stages, 600)
    assert full.interval_ms == pytest.approx(closed, rel=0.01)
    assert max(*full.utilisation, full.bus_utilisation, full.host_utilisation) > 0.98
    alone = sum(s.alone_ms + s.dispatch_ms + s.load_ms for s in stages)
    assert simulate(stages, 1).latency_ms[0] == pytest.approx(alone)


@pytest.fixture(scope="module")
def graph():
    builder = ModelBuilder()
    tensor = builder.input()
    for channels in (64, 512, 1024, 1024, 2048, 32):
        tensor = builder.conv(tensor, channels)
    return OpGraph.from_tflite(builder.build([tensor]))


@pytest.mark.parametrize("device", ["usb3", "usb2", "pcie"])
@pytest.mark.parametrize("stages", [[0] * 6, [0, 0, 0, 1, 1, 1], [0, 0, 1, 2, 2, 3]])
def test_a_predicted_pipeline_is_simulated_as_predicted(graph, device, stages):
    predicted = predict(graph, stages, device)
    full = simulate(predicted, 500)
    assert full.interval_ms == pytest.approx(predicted.interval_ms, rel=0.01)
    one = simulate(predicted, 2, arrival_rate=0.1)
    assert one.latency_ms[0] == pytest.approx(predicted.first_ms, rel=1e-9)
    assert one.latency_ms[1] == pytest.approx(predicted.latency_ms, rel=1e-9)
    assert sum(s.bus_ms for s in stage_times(predicted)) == pytest.approx(predicted.bus_ms)


def test_a_number_of_inputs_is_needed():
    with pytest.raises(ArgumentError, match="num_inputs must be a whole number"):
        simulate([_times(2)], None)


def test_a_slow_host_and_a_slow_bus_can_be_the_bottleneck(graph):
    for change in ({"stage_ms": 50.0}, {"bus_ms_per_mib": 3000.0}):
        device = dataclasses.replace(EdgeTpu.preset("usb3-pi5"), **change)
        predicted = predict(graph, [0, 0, 1, 2, 2, 3], device)
        assert predicted.interval_ms > max(s.cost.total_ms for s in predicted.stages) * 1.5
        full = simulate(predicted, 500)
        assert full.interval_ms == pytest.approx(predicted.interval_ms, rel=0.01)


# The rest


@settings(deadline=None, max_examples=40)
@given(
    _shared_stages(),
    st.sampled_from([None, 20.0, 200.0]),
    st.integers(1, 3),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([0, 1, 20]),
)
def test_every_input_keeps_its_order_and_every_device_has_one_at_a_time(
    stages, rate, inner, output, pop_ms
):
    done = simulate(
        stages,
        60,
        arrival_rate=rate,
        arrivals="poisson",
        inner_queue_size=inner,
        input_queue_size=2,
        output_queue_size=output,
        pop_ms=pop_ms,
        seed=3,
    )
    assert done.num_inputs == len(done.start_ms) == 60
    assert (done.arrival_ms <= done.enter_ms).all()
    assert (done.enter_ms <= done.start_ms[:, 0]).all()
    assert (done.end_ms[:, :-1] <= done.start_ms[:, 1:]).all()
    assert (done.end_ms[:, -1] <= done.result_ms).all()
    assert (done.end_ms[:-1] <= done.start_ms[1:]).all()
    assert (np.diff(done.result_ms) >= 0).all()
    assert all(0 <= part <= 1 + 1e-9 for part in done.utilisation)


def test_random_arrivals_have_the_rate_and_the_seed_decides():
    first, again, other = (
        simulate([1, 2], 20_000, arrival_rate=100, arrivals="poisson", seed=seed)
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first.arrival_ms, again.arrival_ms)
    assert not np.array_equal(first.arrival_ms, other.arrival_ms)
    assert first.frames_per_second == pytest.approx(100, rel=0.05)
    # M/D/1 before the second stage would wait s * r / (2 * (1 - r)) = 0.25 ms at r = 0.2; the
    # whole tandem takes what its slowest stage alone would, and 1 ms on top.
    assert first.latency_ms.mean() == pytest.approx(3.25, rel=0.02)
    assert first.latency_percentile(50) <= first.latency_percentile(99)


def test_the_figures_are_plain_values_and_the_text_names_them():
    done = simulate([3, 5], 100)
    figures = done.to_dict()["simulated"]
    assert figures["frames_per_second"] == pytest.approx(200)
    assert figures["stage_utilisation"] == pytest.approx([0.6, 1])
    assert "200 per second" in str(done)
    assert done.gantt(1, 1) == (GanttBar(0, 1, 3.0, 6.0), GanttBar(1, 1, 8.0, 13.0))
    assert len(done.gantt(95, 20)) == 10
    with pytest.raises(ValueError, match="read-only"):
        done.start_ms[0] = 1
    assert simulate([0], 3).to_dict()["simulated"]["frames_per_second"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"stages": []},
        {"stages": [-1]},
        {"stages": [float("nan")]},
        {"stages": ["1"]},
        {"num_inputs": 0},
        {"num_inputs": 1.5},
        {"arrival_rate": 0},
        {"arrival_rate": float("inf")},
        {"arrivals": "weekly"},
        {"input_queue_size": 0},
        {"inner_queue_size": -1},
        {"output_queue_size": True},
        {"pop_ms": -1},
    ],
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ArgumentError):
        simulate(**{"stages": [1, 2], **arguments})
    with pytest.raises(ArgumentError):
        simulate([1], 1).gantt(-1)
    with pytest.raises(ArgumentError):
        simulate([1], 1).latency_percentile(101)


def test_a_hundred_thousand_inputs():
    stages = [_times(busy, dispatch_ms=0.2, bus_ms=1) for busy in (3, 5, 4, 2)]
    done = simulate(stages, 100_000)
    assert done.interval_ms == pytest.approx(5, rel=1e-3)
