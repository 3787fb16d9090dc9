"""The runner on the CPU loses nothing, hangs never and computes what the whole model computes."""

import contextlib
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_builder import ModelBuilder
from random_models import models, stages

from respect_tf import ArgumentError, OpGraph, RespectError, segment
from respect_tf._errors import RunnerError
from respect_tf.run import _backends as module
from respect_tf.run import create_runner
from respect_tf.segmentation import cut, quantize, random_inputs
from respect_tf.tflite import Interpreter, read_model


def _cpu_runner(segments, **options):
    return create_runner(segments, device="cpu", **options)


_WAIT = 600  # seconds after which a test gives up on a thread


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    left = [thread.name for thread in threading.enumerate() if "segment" in thread.name]
    assert not left


@pytest.fixture(scope="module")
def chain():
    """Four relus and convolutions, each a segment."""
    builder = ModelBuilder()
    tensor = builder.conv(builder.input())
    tensor = builder.conv(builder.relu(tensor))
    model = builder.build([builder.relu(tensor)])
    return model, segment(model, [0, 1, 2, 3])


@pytest.fixture(scope="module")
def branched():
    """Two inputs, both read late as well; three outputs, one float, one made early."""
    builder = ModelBuilder()
    first, second = builder.input(), builder.input()
    early = builder.relu(first)
    middle = builder.conv(builder.add(early, second))
    late = builder.add(middle, builder.add(first, second))
    model = builder.build([late, early, builder.dequantize(late)])
    return model, segment(model, [0, 0, 1, 2, 3, 3])


def _value(index):
    return np.full((1, 4, 4, 8), index % 256 - 128, np.int8) + np.arange(8, dtype=np.int8)


def _expected(model, count):
    whole = Interpreter(model)
    return [whole.run([_value(index)])[0] for index in range(count)]


def _within(seconds, function, *arguments):
    """Fail instead of hanging."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(function, *arguments).result(seconds)
    finally:
        pool.shutdown(wait=False)


class _Faulty(Interpreter):
    """An interpreter that fails at some runs, and waits where a test lets it."""

    fails: ClassVar = {}

    @staticmethod
    def hold(segment, run):
        """Waits before a run of a segment."""

    def __init__(self, content, **options):
        super().__init__(content, **options)
        self._segment, self._run = options["label"].partition(" '")[0], 0

    def run(self, inputs, **options):
        number, self._run = self._run, self._run + 1
        type(self).hold(self._segment, number)
        if self.fails.get(self._segment) == number:
            raise MemoryError("no memory left")
        return super().run(inputs, **options)


@pytest.fixture
def faulty(monkeypatch):
    kind = type("Faulty", (_Faulty,), {"fails": {}})
    monkeypatch.setattr(module, "Interpreter", kind)
    return kind


def test_results_are_the_whole_models_in_order(chain):
    model, segments = chain
    with _cpu_runner(segments) as runner:
        for index in range(40):
            runner.push({"input_0": _value(index)})
        runner.push({})
        for expected in _expected(model, 40):
            (result,) = runner.pop().values()
            assert np.array_equal(result, expected)
        assert runner.pop() is None
        assert runner.pop() is None
        assert [s.num_inferences for s in runner.statistics()] == [40] * 4
        assert all(0 < s.mean_ms <= s.longest_ms <= s.total_ms for s in runner.statistics())


def test_several_inputs_in_any_order_and_outputs_of_any_type(branched):
    model, segments = branched
    whole = Interpreter(model)
    with _cpu_runner(segments, input_names={"left": "input_0", "right": "input_1"}) as runner:
        names = [detail["name"] for detail in runner.interpreters()[-1].get_output_details()]
        for seed in range(5):
            first, second = random_inputs(OpGraph.from_tflite(model), 1, seed=seed)[0]
            runner.push({"input_1": second, "left": first})
            result = runner.pop()
            assert list(result) == [spec.name for spec in segments[-1].outputs]
            assert sorted(result) == sorted(names)
            assert [value.dtype for value in result.values()] == [np.int8, np.int8, np.float32]
            for value, expected in zip(result.values(), whole.run([first, second]), strict=True):
                assert value.tobytes() == expected.tobytes()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_random_models_and_schedules_are_bit_exact(data):
    model = data.draw(models())
    unpacked, graph = read_model(model), OpGraph.from_tflite(model)
    segments = cut(unpacked, graph, data.draw(stages(graph)), name="m")
    inputs = random_inputs(graph, 3, seed=0)
    whole = Interpreter(model)
    with _cpu_runner(segments, input_queue_size=1, output_queue_size=5) as runner:
        for sample in inputs:
            names = [spec.name for spec in segments[0].inputs]
            runner.push(dict(reversed(list(zip(names, sample, strict=True)))))
        for sample in inputs:
            for got, expected in zip(runner.pop().values(), whole.run(sample), strict=True):
                assert got.tobytes() == expected.tobytes()


def test_inputs_are_copied_whatever_their_layout(chain):
    model, segments = chain
    (expected,) = _expected(model, 1)
    with _cpu_runner(segments, input_queue_size=1) as runner:
        for value in (
            np.asfortranarray(_value(0)),
            np.repeat(_value(0), 2, axis=2)[:, :, ::2],
            _value(0)[0],
            _value(0)[:, ::-1][:, ::-1],
        ):
            runner.push({"input_0": value})
            value[...] = 0
            (result,) = runner.pop().values()
            assert np.array_equal(result, expected)


def test_floats_are_quantised(chain):
    model, segments = chain
    real = np.linspace(-7, 7, 128).reshape(1, 4, 4, 8)
    spec = segments[0].inputs[0]
    expected = Interpreter(model).run([quantize(real, "int8", spec.quantization)])[0]
    with _cpu_runner(segments) as runner:
        for kind in (np.float64, np.float32):
            runner.push({"input_0": real.astype(kind)})
            (result,) = runner.pop().values()
            assert np.array_equal(result, expected)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"input_0": np.zeros((1, 4, 4, 9), np.int8)}, r"Expected \(n, 4, 4, 8\)"),
        ({"input_0": np.zeros((2, 4, 4, 8), np.int8)}, "shape"),
        ({"input_0": np.zeros((1, 4, 4, 8), np.uint8)}, "int8, or finite floats.*uint8"),
        ({"input_0": np.full((1, 4, 4, 8), np.nan)}, "finite"),
        ({"nothing": _value(0)}, r"inputs are \['input_0'\]"),
        ({"input_0": _value(0), "more": _value(0)}, "inputs are"),
        ([_value(0)], "a dict of arrays"),
        (_value(0), "a dict of arrays"),
        (None, "a dict of arrays"),
    ],
)
def test_wrong_inputs_are_refused_and_do_no_harm(chain, tensors, message):
    model, segments = chain
    with _cpu_runner(segments) as runner:
        with pytest.raises(ArgumentError, match=message):
            runner.push(tensors)
        runner.push({"input_0": _value(0)})
        (result,) = runner.pop().values()
        assert np.array_equal(result, _expected(model, 1)[0])


def test_bad_arguments_are_refused(chain):
    with pytest.raises(ArgumentError, match="at least one segment"):
        _cpu_runner([])
    for size in (0, -1, 1.5, True, "2"):
        with pytest.raises(ArgumentError, match="queue"):
            _cpu_runner(chain[1], input_queue_size=size)
    with _cpu_runner(chain[1]) as runner:
        for change in (runner.set_input_queue_size, runner.set_output_queue_size):
            with pytest.raises(ArgumentError, match="queue"):
                change(0)
            change(3)
            change(None)


def test_pushes_after_the_end_are_refused(chain):
    with _cpu_runner(chain[1]) as runner:
        runner.push({"input_0": _value(0)})
        runner.push({})
        runner.push({})
        with pytest.raises(RuntimeError, match="ended"):
            runner.push({"input_0": _value(1)})
        assert runner.pop() is not None
        assert runner.pop() is None
    with pytest.raises(RespectError, match="ended"):
        runner.push({"input_0": _value(1)})


def test_ten_thousand_inputs_through_small_queues(chain):
    model, segments = chain
    count, pushers, poppers = 10_000, 4, 3
    expected = [value.tobytes() for value in _expected(model, 256)]
    with _cpu_runner(segments, input_queue_size=1, output_queue_size=1) as runner:

        def push(start):
            for index in range(start, count, pushers):
                runner.push({"input_0": _value(index)})

        def pop():
            results = []
            while (result := runner.pop()) is not None:
                results.append(next(iter(result.values())).tobytes())
            return results

        with ThreadPoolExecutor(pushers + poppers) as pool:
            popping = [pool.submit(pop) for _ in range(poppers)]
            for pushing in [pool.submit(push, start) for start in range(pushers)]:
                pushing.result()
            runner.push({})
            received = [result for future in popping for result in future.result()]
    wanted = [expected[index % 256] for index in range(count)]
    assert sorted(received) == sorted(wanted)
    assert all(s.num_inferences == count for s in runner.statistics())


@pytest.mark.parametrize("failing", [0, 1, 2, 3])
def test_a_failure_is_told_after_the_results_before_it(chain, faulty, failing):
    model, segments = chain
    faulty.fails = {f"segment {failing}": 5}
    runner = _cpu_runner(segments, input_queue_size=2)

    def push_for_ever():
        while True:
            runner.push({"input_0": _value(0)})

    with pytest.raises(RunnerError, match=rf"Segment {failing} failed at input 5 .*no memory left"):
        _within(_WAIT, push_for_ever)
    expected = _expected(model, 1)[0]
    for _ in range(5):
        (result,) = runner.pop().values()
        assert np.array_equal(result, expected)
    for _ in range(2):
        with pytest.raises(RunnerError, match="no memory left") as caught:
            _within(_WAIT, runner.pop)
        assert isinstance(caught.value.__cause__, MemoryError)
    with pytest.raises(RunnerError):
        runner.push({})
    _within(_WAIT, runner.close)


def test_waiting_threads_are_told_of_a_failure(chain, faulty):
    gate = threading.Event()
    faulty.fails, faulty.hold = {"segment 2": 0}, lambda *_: gate.wait(_WAIT)
    runner = _cpu_runner(chain[1])
    with ThreadPoolExecutor(3) as pool:
        popping = [pool.submit(runner.pop) for _ in range(3)]
        runner.push({"input_0": _value(0)})
        gate.set()
        for future in popping:
            assert isinstance(future.exception(_WAIT), RunnerError)
    runner.close()


def test_close_finishes_what_was_pushed_and_keeps_the_results(chain, faulty):
    model, segments = chain
    gate = threading.Event()
    faulty.hold = lambda *_: gate.wait(_WAIT)
    runner = _cpu_runner(segments, output_queue_size=1)
    for index in range(30):
        runner.push({"input_0": _value(index)})
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(runner.close)
        gate.set()
        closing.result(_WAIT)
    for expected in _expected(model, 30):
        (result,) = runner.pop().values()
        assert np.array_equal(result, expected)
    assert runner.pop() is None
    runner.close()


def test_discarding_finishes_what_runs_and_releases_who_waits(chain, faulty):
    gate = threading.Event()
    faulty.hold = lambda *_: gate.wait(_WAIT)
    runner = _cpu_runner(chain[1], input_queue_size=3, output_queue_size=1)

    def push_for_ever():
        while True:
            runner.push({"input_0": _value(0)})

    with ThreadPoolExecutor(3) as pool:
        pushing = [pool.submit(push_for_ever) for _ in range(2)]
        closing = pool.submit(runner.close, discard=True)
        for future in pushing:
            assert isinstance(future.exception(_WAIT), RunnerError)
        gate.set()
        closing.result(_WAIT)
    assert runner.pop() is None
    assert max(s.num_inferences for s in runner.statistics()) <= 1


def test_waiting_poppers_get_none_when_it_closes(chain):
    runner = _cpu_runner(chain[1])
    with ThreadPoolExecutor(2) as pool:
        popping = [pool.submit(runner.pop) for _ in range(2)]
        runner.close()
        assert [future.result(_WAIT) for future in popping] == [None, None]


def test_an_error_inside_with_discards(chain, faulty):
    gate = threading.Event()
    faulty.hold = lambda *_: gate.wait(_WAIT)
    runner = _cpu_runner(chain[1], input_queue_size=1)

    def push_until_it_is_closed():
        with contextlib.suppress(RunnerError):
            while True:
                runner.push({"input_0": _value(0)})
        gate.set()

    with ThreadPoolExecutor(1) as pool:
        pushing = pool.submit(push_until_it_is_closed)
        with pytest.raises(KeyError), runner:
            raise KeyError
        pushing.result(_WAIT)
    assert runner.statistics()[0].num_inferences <= 1


def test_a_runner_that_is_dropped_ends_its_threads(chain):
    runner = _cpu_runner(chain[1])
    for _ in range(20):
        runner.push({"input_0": _value(0)})
    del runner
    gc.collect()  # the fixture looks for threads


def test_queue_sizes_hold_back_and_can_be_changed(chain, faulty):
    ran = threading.Semaphore(0)
    faulty.hold = lambda *_: ran.release()
    runner = _cpu_runner(chain[1], input_queue_size=2, output_queue_size=1)
    with ThreadPoolExecutor(1) as pool:
        pushing = pool.submit(lambda: [runner.push({"input_0": _value(0)}) for _ in range(60)])
        for _ in range(4):  # so many runs there are until all is full
            assert ran.acquire(timeout=_WAIT)
        assert not pushing.done()
        # 1 result waits, each of four segments holds one, three queues between hold one, 2 wait.
        assert runner.statistics()[0].num_inferences <= 8
        runner.set_output_queue_size(None)
        runner.set_input_queue_size(None)
        pushing.result(_WAIT)
    runner.close()
    assert sum(runner.pop() is not None for _ in range(61)) == 60


def test_a_segment_that_tflite_refuses_starts_no_thread(chain):
    import dataclasses

    broken = [*chain[1][:-1], dataclasses.replace(chain[1][-1], content=b"no model")]
    with pytest.raises(RespectError, match="segment 3"):
        _cpu_runner(broken)


def test_segments_work_at_the_same_time(chain, faulty):
    """Input 3 is in segment 0 while input 0 is in segment 3, or the barrier breaks."""
    together = threading.Barrier(4)

    def hold(segment, run):
        if run + int(segment.removeprefix("segment ")) == 3:
            together.wait(_WAIT)

    faulty.hold = hold
    with _cpu_runner(chain[1]) as runner:
        for _ in range(8):
            runner.push({"input_0": _value(0)})
        assert all(runner.pop() for _ in range(8))
