"""Streams end, whatever ends them."""

import itertools
import threading

import numpy as np
import pytest
from model_builder import ModelBuilder

from respect_tf import ArgumentError, segment
from respect_tf._errors import RunnerError
from respect_tf.run import create_runner, stream
from respect_tf.tflite import Interpreter


@pytest.fixture(scope="module")
def model():
    builder = ModelBuilder()
    return builder.build([builder.conv(builder.relu(builder.input()))])


@pytest.fixture
def runner(model):
    parts = segment(model, [0, 1])
    with create_runner(parts, device="cpu", input_queue_size=1, output_queue_size=1) as made:
        yield made
    assert not [thread for thread in threading.enumerate() if "respect_tf" in thread.name]


def _inputs(count=None):
    for index in range(count) if count is not None else itertools.count():
        yield {"input_0": np.full((1, 4, 4, 8), index % 100, np.int8)}


def test_results_come_in_order(runner, model):
    whole = Interpreter(model)
    for result, tensors in zip(stream(runner, _inputs(50)), _inputs(50), strict=True):
        expected = whole.run([tensors["input_0"]])[0]
        assert np.array_equal(next(iter(result.values())), expected)


def test_no_inputs_give_no_results(runner):
    assert list(stream(runner, [])) == []


def test_an_endless_stream_can_be_left(runner):
    results = stream(runner, _inputs())
    assert len(list(itertools.islice(results, 20))) == 20
    results.close()


def test_a_wrong_input_is_told_after_the_results_before_it(runner):
    results = stream(runner, itertools.chain(_inputs(7), [{"input_0": np.zeros(3)}]))
    assert len(list(itertools.islice(results, 7))) == 7
    with pytest.raises(ArgumentError, match="shape"):
        next(results)


def test_what_the_inputs_raise_is_raised(runner):
    def broken():
        yield from _inputs(2)
        raise ZeroDivisionError

    results = stream(runner, broken())
    assert [next(results) is not None for _ in range(2)] == [True, True]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_runner_that_has_ended_takes_nothing(runner):
    runner.push({})
    with pytest.raises(RunnerError, match="ended"):
        list(stream(runner, _inputs(3)))
